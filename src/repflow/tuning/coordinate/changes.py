"""How much each layer of a real model changes in a step of training: by its own parameters, and in all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from repflow.empirical.call import output_of
from repflow.tuning.wrapping import parameters_by_name


@dataclass
class Call:
    """One use of a module in a forward pass."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Tensor


@dataclass
class Use:
    """A module in a forward pass, with the parameters that act in it.

    Attributes
    ----------
    name
        Qualified name; empty for the model itself.
    module
        The module.
    parameters
        Names of its parameters relative to it: its own, and those of modules inside it that are never called (the
        output projection of ``nn.MultiheadAttention``).
    calls
        In order.
    """

    name: str
    module: nn.Module
    parameters: tuple[str, ...]
    calls: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class StepChanges:
    """What one optimiser step did.

    Attributes
    ----------
    loss
        Before the step.
    size
        rms(z) of each layer before the step.
    own
        rms of the change of z by the layer's own parameters, its inputs held.
    total
        rms of the change of z with everything that happens below it.
    """

    loss: float
    size: list[float]
    own: list[float]
    total: list[float]


def call_model(model: nn.Module, x: Any) -> Any:
    """The model on a tensor, a tuple of arguments, or a dictionary of keywords."""
    if isinstance(x, tuple):
        return model(*x)
    if isinstance(x, dict):
        return model(**x)
    return model(x)


def without_dropout(model: nn.Module) -> nn.Module:
    """Put the model in training mode with its dropout off, so that a change is not a draw; in place."""
    model.train()
    for part in model.modules():
        # nn.MultiheadAttention drops within itself and asks its own flag.
        if isinstance(part, (nn.modules.dropout._DropoutNd, nn.MultiheadAttention)):
            part.eval()
    return model


def uses_of(model: nn.Module, x: Any, names: Sequence[str]) -> tuple[list[Use], Any]:
    """The modules in which these parameters act, in order of execution, and the model's output.

    Parameters
    ----------
    model
        Run once, gradients on.
    x
        As for :func:`call_model`.
    names
        Of parameters, as in ``named_parameters(remove_duplicate=False)``. Those of modules that the forward pass never
        reaches act nowhere.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    seen: dict[int, Use] = {}
    with _watched(modules, seen):
        output = call_model(model, x)
    held: dict[int, list[str]] = {}
    for name in names:
        path = name.rpartition(".")[0]
        while id(modules[path]) not in seen and path:
            path = path.rpartition(".")[0]
        if path or "." not in name:  # else only the whole model was called above it: it was bypassed
            own = held.setdefault(id(modules[path]), [])
            relative = name[len(path) + 1 :] if path else name
            if relative not in own:
                own.append(relative)
    uses = [Use(use.name, use.module, tuple(held[key]), use.calls) for key, use in seen.items() if key in held]
    return uses, output


@contextmanager
def _watched(modules: dict[str, nn.Module], seen: dict[int, Use]) -> Iterator[None]:
    """Record every call of every module. Values are copied: a later step may work in place."""
    handles: list[Any] = []
    for name, module in {id(module): (name, module) for name, module in reversed(modules.items())}.values():

        def note(module: nn.Module, args: Any, kwargs: Any, output: Any, name: str = name) -> None:
            try:
                tensor = output_of(output)
            except TypeError:
                return
            call = Call(_copied(args), _copied(kwargs), tensor.detach().clone())
            seen.setdefault(id(module), Use(name, module, ())).calls.append(call)

        def enter(module: nn.Module, args: Any, name: str = name) -> None:
            # Taken up when entered, so that the order is that of execution; filled when it returns.
            seen.setdefault(id(module), Use(name, module, ()))

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(note, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for key in [key for key, use in seen.items() if not use.calls]:
            del seen[key]


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (tuple, list)):
        return type(value)(_copied(entry) for entry in value) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return value


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Any,
    y: Any,
    loss_fn: Callable[[Any, Any], Tensor],
    names: Sequence[str],
) -> tuple[list[Use], StepChanges]:
    """One step on a batch, with the changes of every layer.

    Raises
    ------
    ValueError
        The loss is not finite, or the model has another set of layers after the step.
    """
    uses, output = uses_of(model, x, names)
    loss = loss_fn(output, y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    before = {name: parameter.detach().clone() for name, parameter in parameters_by_name(model).items()}
    optimizer.step()
    own = [_own_change(use, before) for use in uses]
    with torch.no_grad():
        after, _ = uses_of(model, x, names)
    later = {use.name: use for use in after}
    total = [_difference(use.calls, [call.output for call in later[use.name].calls]) for use in uses]
    size = [_rms([call.output for call in use.calls]) for use in uses]
    return uses, StepChanges(float(loss.detach()), size, own, total)


def _own_change(use: Use, before: dict[str, Tensor]) -> float:
    """rms of what the module's own parameters change in its output, everything else as before the step."""
    prefix = f"{use.name}." if use.name else ""
    state = {
        name: parameter.detach() if name in use.parameters else before[prefix + name]
        for name, parameter in parameters_by_name(use.module).items()
    }
    with torch.no_grad():
        outputs = [
            output_of(functional_call(use.module, state, _copied(call.args), _copied(call.kwargs), tie_weights=False))
            for call in use.calls
        ]
    return _difference(use.calls, outputs)


def _difference(calls: list[Call], outputs: list[Tensor]) -> float:
    return _rms([new - call.output for call, new in zip(calls, outputs, strict=True)])


def _rms(tensors: list[Tensor]) -> float:
    count = sum(tensor.numel() for tensor in tensors)
    return (sum(float((tensor.double() ** 2).sum()) for tensor in tensors) / max(count, 1)) ** 0.5
