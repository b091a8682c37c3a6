"""A module's forward pass as a list of calls, recorded while it runs once on a copy.

Every function of torch that a forward pass calls is seen by a ``TorchFunctionMode``, with the tensors that went in and
came out; edges are tensor identities. So branches on values, keyword arguments, dictionaries and dataclasses need no
special care, as they would in symbolic tracing. What torch doesn't show (a scripted function, a custom
``autograd.Function``) is closed by hooks: a tensor of unknown origin comes from the module that was running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from repflow.graph.arguments import Arguments, map_tensors, tensors_in
from repflow.isolation import bare_copy, first_line, random_state_kept

#: Written for functions of Python's operators: ``x += y`` is an addition.
_FOLDED = {
    **{"radd": "add", "rmul": "mul", "iadd": "add", "isub": "sub", "imul": "mul"},
    **{"itruediv": "div", "idiv": "div", "truediv": "div", "true_divide": "div", "divide": "div"},
    **{"multiply": "mul", "subtract": "sub"},
}


@dataclass(frozen=True)
class Ref:
    """A value in place of a tensor among a call's arguments."""

    value: int


@dataclass(eq=False)
class Value:
    """One tensor of the forward pass.

    Attributes
    ----------
    index
        Its number.
    origin
        ``"input"``, ``"parameter"``, ``"constant"`` or ``"computed"``.
    name
        Of the input or parameter.
    shape, dtype
        Of the tensor.
    call, slot
        Number of the call that made it, and which of its results it is.
    random
        Whether a parameter went into it.
    tensor
        What it was; kept for values without parameters, and for all where they were asked for.
    """

    index: int
    origin: str
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    call: int | None = None
    slot: int = 0
    random: bool = False
    tensor: Tensor | None = field(default=None, repr=False)


@dataclass(eq=False)
class Call:
    """One function call of the forward pass.

    Attributes
    ----------
    index
        Its number, in order of execution.
    function, operation
        What was called, and its plain name: ``"add"`` for ``torch.add``, ``x + y`` and ``x.add_(y)``; ``"opaque"``
        with no function where only the result was seen.
    module
        Path of the innermost module that was running.
    args, kwargs
        With a :class:`Ref` in place of each tensor.
    inputs, outputs
        Numbers of the values that went in and came out.
    """

    index: int
    function: Callable[..., Any] | None
    operation: str
    module: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...] = ()

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)


@dataclass(eq=False)
class Tape:
    """A recorded forward pass: values, calls, numbers of what was returned, paths of modules, whether any drops out."""

    values: list[Value] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    modules: tuple[str, ...] = ()
    dropout: bool = False


def operation_name(function: Callable[..., Any]) -> str:
    """The plain name of a function of torch: without underscores, in-place and reflected forms folded."""
    name = getattr(function, "__name__", "opaque")
    if name == "__get__":  # a property: x.T
        name = getattr(getattr(function, "__self__", None), "__name__", "opaque")
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
    name = name.strip("_") or name
    return _FOLDED.get(name, name)


class _Recorder(TorchFunctionMode):
    """Writes every call with a tensor to the tape."""

    def __init__(self, tape: Tape, known: dict[int, int], keep: bool) -> None:
        super().__init__()
        self.tape = tape
        self.known = known  # id of a tensor -> number of its value
        self.held: list[Tensor] = []  # a number is for life: no id is given twice while recording
        self.keep = keep
        self.running: list[tuple[str, tuple[int, ...]]] = [("", ())]

    def add(self, tensor: Tensor, origin: str, name: str = "", random: bool = False) -> Value:
        """A new value."""
        value = Value(len(self.tape.values), origin, name, tuple(tensor.shape), tensor.dtype, random=random)
        if self.keep or not random or origin == "parameter":
            value.tensor = tensor
        self.tape.values.append(value)
        self.known[id(tensor)] = value.index
        self.held.append(tensor)
        return value

    def number(self, tensor: Tensor) -> int:
        """The value that a tensor is; one that was never seen comes from the module that is running."""
        if id(tensor) not in self.known:
            if tensor.is_floating_point():
                name, inputs = self.running[-1]
                latest = self.tape.calls[-1].outputs if self.tape.calls else ()
                self._write(None, "opaque", name, (), {}, tuple(dict.fromkeys((*inputs, *latest))), [tensor], {})
            else:
                self.add(tensor, "constant")
        return self.known[id(tensor)]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call, and write down what went in and came out."""
        kwargs = dict(kwargs or {})
        inputs = list(tensors_in((args, kwargs)))
        before = {id(tensor): tensor._version for tensor in inputs if not tensor.is_inference()}
        kept = {id(t): t.clone() for t in inputs if self._may_be_written(func, kwargs) and id(t) in self.known}
        seen = {id(tensor): self.known.get(id(tensor)) for tensor in inputs}
        result = func(*args, **kwargs)
        if "dropout" in operation_name(func):
            self.tape.dropout = True
        results = list(tensors_in(result))
        written = [t for t in inputs if id(t) in before and t._version != before[id(t)]]
        new = [t for t in results if id(t) not in seen or any(t is w for w in written)]
        if func is torch.Tensor.__setitem__ and written:
            new = written[:1]
        if not new:
            return result  # a shape, a number, or one of its own arguments
        numbers = {id(t): self.number(t) for t in inputs}
        for tensor in written:  # what the value was before it was overwritten
            old = self.tape.values[numbers[id(tensor)]]
            if old.tensor is tensor:
                old.tensor = kept.get(id(tensor))
        refs = map_tensors((args, kwargs), lambda t: Ref(numbers[id(t)]))
        self._write(
            func, operation_name(func), self.running[-1][0], refs[0], refs[1], tuple(dict.fromkeys(numbers.values())),
            new, {id(t): t for t in written},
        )  # fmt: skip
        return result

    @staticmethod
    def _may_be_written(func: Callable[..., Any], kwargs: Mapping[str, Any]) -> bool:
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__")
        return in_place or name.startswith("__i") or name == "__setitem__" or bool(kwargs.get("inplace"))

    def _write(
        self,
        function: Callable[..., Any] | None,
        operation: str,
        module: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: tuple[int, ...],
        results: list[Tensor],
        written: Mapping[int, Tensor],
    ) -> None:
        random = any(self.tape.values[number].random for number in inputs) or function is None
        call = Call(len(self.tape.calls), function, operation, module, args, kwargs, inputs)
        outputs = []
        storages = {t.untyped_storage().data_ptr() for t in written.values()}
        if storages and not results[0].is_meta:  # other views of what was overwritten are no longer what they were
            for tensor in [t for t in self.held if t.untyped_storage().data_ptr() in storages]:
                number = self.known.get(id(tensor))
                if number is not None and self.tape.values[number].origin != "parameter":
                    del self.known[id(tensor)]
        for slot, tensor in enumerate(results):
            value = self.add(tensor, "computed", random=random)
            value.call, value.slot = call.index, slot
            outputs.append(value.index)
        call.outputs = tuple(outputs)
        self.tape.calls.append(call)


def _attributes(module: nn.Module) -> Iterator[Tensor]:
    """Buffers, and tensors that are plain attributes."""
    yield from module.buffers()
    for part in module.modules():
        yield from tensors_in({k: v for k, v in vars(part).items() if not k.startswith("_")})


@contextmanager
def _following(copy: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Hooks on a copy that say which module is running, and close gaps in what was recorded."""
    handles = []

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            recorder.running.append((name, tuple(recorder.number(t) for t in tensors_in((args, kwargs)))))

        return hook

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        for tensor in tensors_in(output):
            recorder.number(tensor)
        recorder.running.pop()

    for name, part in copy.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue
        handles.append(part.register_forward_pre_hook(enter(name), with_kwargs=True))
        handles.append(part.register_forward_hook(leave, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def record(
    module: nn.Module, arguments: Arguments, parameters: Mapping[str, Tensor] | None = None, keep: bool = False
) -> Tape:
    """Run a module once, at evaluation, and write down what it computes.

    The run is of a copy with parameters of its own, since a forward pass may write to them (``nn.Embedding`` with a
    ``max_norm`` does); nothing of the module changes.

    Parameters
    ----------
    module
        Any module.
    arguments
        What it is called with.
    parameters
        Tensors to use instead of its parameters, by name.
    keep
        Whether to keep every value, not only those without parameters.

    Raises
    ------
    ValueError
        The module has a lazy parameter, cannot be copied, its forward pass fails, or it returns no tensor.
    """
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise ValueError(f"module has a lazy parameter {name!r}: pass a batch through it once first")
    tape = Tape()
    with random_state_kept(), torch.no_grad():
        copy = bare_copy(module)
        _own_parameters(copy)
        recorder = _Recorder(tape, {}, keep)
        held = dict(copy.named_parameters(remove_duplicate=False)) | dict(parameters or {})
        for name, tensor in held.items():
            if id(tensor) not in recorder.known:
                recorder.add(tensor, "parameter", name, random=True)
        for tensor in _attributes(copy):
            if id(tensor) not in recorder.known:
                recorder.add(tensor, "constant")
        arguments = arguments.moved(_device(module))
        for name, tensor in arguments.named():
            recorder.add(tensor, "input", name)
        tape.modules = tuple(name for name, _ in copy.named_modules())
        try:
            with _following(copy, recorder), recorder:
                if parameters is None:
                    result = copy(*arguments.args, **arguments.kwargs)
                else:
                    result = torch.func.functional_call(copy, dict(parameters), arguments.args, arguments.kwargs)
        except Exception as error:  # the user's forward pass may raise anything
            raise ValueError(f"module {type(module).__name__} fails on x: {first_line(error)}") from error
        tape.outputs = tuple(recorder.known[id(t)] for t in tensors_in(result) if id(t) in recorder.known)
    if not tape.outputs:
        raise ValueError(f"module {type(module).__name__} returns no tensor, but {type(result).__name__}")
    return tape


def _own_parameters(copy: nn.Module) -> None:
    """Give a copy that shares its parameters clones of them, tied where they are tied."""
    clones: dict[int, nn.Parameter] = {}
    for part in copy.modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue
        for name, held in part._parameters.items():
            if held is None:
                continue
            if id(held) not in clones:
                clones[id(held)] = nn.Parameter(held.detach().clone(), held.requires_grad)
            part._parameters[name] = clones[id(held)]


def _device(module: nn.Module) -> torch.device | None:
    return next((parameter.device for parameter in module.parameters()), None)
