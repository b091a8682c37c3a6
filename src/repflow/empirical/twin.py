"""A module's twin: the same forward pass as a function of a dictionary of parameters, watched module by module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from repflow.empirical.attention import open_attention
from repflow.empirical.call import Call, first_tensor, output_of
from repflow.isolation import bare_copy, first_line

Parameters = dict[str, Tensor]


@dataclass
class Passage:
    """One call of one module within a forward pass.

    Attributes
    ----------
    path
        Qualified name of the module.
    module
        In the twin.
    args, kwargs
        Of the call; tensors keep their place in autograd's graph.
    begin, end
        Numbers of the call and of its return among all such events: ``a`` lies within ``b`` if b.begin < a.begin and
        a.end < b.end.
    output
        The first floating tensor that it returned, or None.
    """

    path: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    begin: int
    end: int = -1
    output: Tensor | None = None

    @property
    def input(self) -> Tensor | None:
        """The first floating tensor among the arguments."""
        return first_tensor(self.args, self.kwargs)


#: Told of a call when it begins or ends; its number among the calls is the second argument.
Observer = Callable[[Passage, int], None]
#: Another output for a call that returned a tensor, or None to leave it.
Exchange = Callable[[Passage, int], "Tensor | None"]


class Twin:
    """A copy of a module's structure that runs with any parameters; nothing that it does reaches the module.

    It runs in evaluation mode (no dropout), except that batch normalisation takes its statistics from the data it is
    measured on. Numbers narrower than float32 are widened.

    Parameters
    ----------
    module
        Of any kind. Parameters, buffers, gradients, flags and hooks stay as they are.

    Attributes
    ----------
    module
        The copy.
    parameters
        The module's own values by name, detached, each tied parameter once.
    canonical
        The name in ``parameters`` of each parameter object of the copy, by ``id``.
    learns
        Names of the parameters that require a gradient.
    dtype
        Of floating inputs.

    Raises
    ------
    ValueError
        The module cannot be copied, has no parameter, or holds one without data.
    """

    def __init__(self, module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            if parameter.is_meta:
                raise ValueError(f"module is on the meta device: parameter {name!r} has no data to measure with")
            if isinstance(parameter, nn.UninitializedParameter):
                raise ValueError(f"module has a lazy parameter {name!r}: pass a batch through it once first")
        self.module = bare_copy(module)
        named = dict(self.module.named_parameters())
        if not named:
            raise ValueError(f"module {type(module).__name__} has no parameter: there is nothing to measure")
        self.learns = {name for name, parameter in named.items() if parameter.requires_grad}
        self.canonical = {id(parameter): name for name, parameter in named.items()}
        wide = {parameter.dtype for parameter in named.values() if parameter.is_floating_point()}
        self.dtype = torch.float64 if torch.float64 in wide else torch.float32
        self.parameters: Parameters = {name: self._widened(parameter.detach()) for name, parameter in named.items()}
        open_attention(self.module)
        self._norms: list[_BatchNorm] = []
        for part in self.module.modules():
            if isinstance(part, nn.TransformerEncoder):  # its shortcut for padded rows passes our modules by
                part.enable_nested_tensor = part.use_nested_tensor = False
            if isinstance(part, _BatchNorm) and part.track_running_stats:
                part.momentum = 1.0
                self._norms.append(part)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = self._widened(buffer)
        self._passages: list[Passage] | None = None
        self._open: list[Passage] = []
        self._events = 0
        self._on_enter: Observer | None = None
        self._on_leave: Observer | None = None
        self._exchange: Exchange | None = None
        self._telling = False
        for path, part in self.module.named_modules():
            part.register_forward_pre_hook(self._entering(path), with_kwargs=True)
            part.register_forward_hook(self._leaving, with_kwargs=True)

    def call(self, parameters: Mapping[str, Tensor], call: Call) -> Tensor:
        """The output with these parameters."""
        return output_of(functional_call(self.module, dict(parameters), call.args, call.kwargs))

    def watch(
        self,
        parameters: Mapping[str, Tensor],
        call: Call,
        on_enter: Observer | None = None,
        on_leave: Observer | None = None,
        exchange: Exchange | None = None,
    ) -> tuple[Tensor, list[Passage]]:
        """The output, and every call of a module on the way, in order of entry.

        ``on_enter`` is told before a module runs, and may change the parameters in place; ``on_leave`` after it ran;
        ``exchange`` may put another tensor in the place of what a module returned.

        Raises
        ------
        PartialForwardError
            The forward pass failed; it holds the calls up to there.
        """
        self._passages, self._open, self._events = [], [], 0
        self._on_enter, self._on_leave, self._exchange = on_enter, on_leave, exchange
        passages = self._passages
        try:
            return self.call(parameters, call), passages
        except StopForwardError:
            raise
        except Exception as error:  # a user's forward pass may raise anything
            where = self._open[-1].path if self._open else ""
            finished = [passage for passage in passages if passage.end >= 0]
            raise PartialForwardError(where, first_line(error), finished) from error
        finally:
            self._passages = self._on_enter = self._on_leave = self._exchange = None

    def batch_statistics(self, parameters: Mapping[str, Tensor], call: Call) -> None:
        """Give batch normalisation the statistics of these data, as it would have in training."""
        if not self._norms:
            return
        with self.norms_in_training(), torch.no_grad():
            self.call(parameters, call)

    def norms_in_training(self) -> _Training:
        """A context in which batch normalisation uses the statistics of the batch."""
        return _Training(self._norms)

    def _widened(self, tensor: Tensor) -> Tensor:
        narrow = tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64)
        return tensor.to(torch.float32) if narrow else tensor

    def _entering(self, path: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._passages is None or self._telling:
                return
            passage = Passage(path, part, args, kwargs, self._events)
            self._events += 1
            self._passages.append(passage)
            self._open.append(passage)
            self._tell(self._on_enter, passage, len(self._passages) - 1)

        return hook

    def _leaving(self, part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], returned: Any) -> Any:
        if self._passages is None or self._telling:
            return None
        passage = self._open.pop()
        passage.end, self._events = self._events, self._events + 1
        try:
            passage.output = output_of(returned)
        except TypeError:
            passage.output = None
        number = next(i for i in range(len(self._passages) - 1, -1, -1) if self._passages[i] is passage)
        self._tell(self._on_leave, passage, number)
        if not isinstance(returned, Tensor):
            return None
        other = self._exchange(passage, number) if self._exchange is not None else None
        if other is None and any(parameter is not None for parameter in part._parameters.values()):
            other = returned.clone()  # what comes after may add to it in place
        return other

    def _tell(self, observer: Observer | None, passage: Passage, number: int) -> None:
        if observer is None:
            return
        self._telling = True  # what the observer runs is no part of the forward pass
        try:
            observer(passage, number)
        finally:
            self._telling = False


class StopForwardError(Exception):
    """Raised by an observer that has seen enough of a forward pass."""


class PartialForwardError(ValueError):
    """A forward pass that failed.

    Attributes
    ----------
    where
        The innermost module that was running; "" for the model itself.
    reason
        First line of what it raised.
    passages
        The calls that had returned.
    """

    def __init__(self, where: str, reason: str, passages: list[Passage]) -> None:
        at = f"in {where!r}" if where else "in the model's own forward"
        super().__init__(f"model fails on x {at}: {reason}")
        self.where, self.reason, self.passages = where, reason, passages


class _Training:
    def __init__(self, parts: list[_BatchNorm]) -> None:
        self._parts = parts

    def __enter__(self) -> None:
        for part in self._parts:
            part.training = True

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.training = False
