"""Sites: the modules that hold parameters, in order of execution, and what their own parameters do to their output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from repflow.empirical.call import output_of
from repflow.empirical.twin import Parameters, Passage, Twin

#: Size of a finite step relative to the parameter; outputs linear in it are exact to rounding.
_STEP = 1e-2
#: Entries of an output whose dependence on a parameter is looked at.
_PROBES = 3


@dataclass(frozen=True)
class Site:
    """A module without parameters further inside, as it was called.

    Attributes
    ----------
    path, kind
        Qualified name, and name of the class.
    order
        Place among the sites, from 0, by first call.
    tensors
        The module's own parameters: local name to name in the model.
    calls
        Numbers of its calls among the passages of a forward pass.
    """

    path: str
    kind: str
    order: int
    tensors: dict[str, str]
    calls: tuple[int, ...]


def find_sites(twin: Twin, passages: Sequence[Passage]) -> list[Site]:
    """The sites of a forward pass, in order of execution."""
    calls: dict[str, list[int]] = {}
    for number, passage in enumerate(passages):
        if passage.output is not None and own_tensors(twin, passage.module):
            calls.setdefault(passage.path, []).append(number)
    return [
        Site(
            path,
            type(passages[numbers[0]].module).__name__,
            order,
            own_tensors(twin, passages[numbers[0]].module),
            tuple(numbers),
        )
        for order, (path, numbers) in enumerate(calls.items())
    ]


def own_tensors(twin: Twin, module: nn.Module) -> dict[str, str]:
    """Local to model names of a module's parameters; none where modules inside it hold parameters too."""
    inside = any(
        part is not module and any(p is not None for p in part._parameters.values()) for part in module.modules()
    )
    if inside:
        return {}
    return {
        local: twin.canonical[id(parameter)]
        for local, parameter in module._parameters.items()
        if parameter is not None and id(parameter) in twin.canonical
    }


def own_output(passage: Passage, local: dict[str, Tensor]) -> Tensor:
    """The module's output with other values of its own parameters, its inputs held."""
    args = tuple(entry.detach() if isinstance(entry, Tensor) else entry for entry in passage.args)
    kwargs = {k: entry.detach() if isinstance(entry, Tensor) else entry for k, entry in passage.kwargs.items()}
    return output_of(functional_call(passage.module, local, args, kwargs))


def own_change(site: Site, passage: Passage, parameters: Parameters, local: str, direction: Tensor) -> Tensor:
    """Derivative of the module's output along a direction of one of its tensors, inputs held, by central differences.

    Differences rather than forward-mode derivatives: not every operation has the latter.
    """
    values = {name: parameters[full].detach() for name, full in site.tensors.items()}
    length = _rms(direction)
    with torch.no_grad():
        if length == 0:
            return torch.zeros_like(own_output(passage, values))
        step = _STEP * (_rms(values[local]) or 1.0) / length
        ahead = own_output(passage, {**values, local: values[local] + step * direction})
        behind = own_output(passage, {**values, local: values[local] - step * direction})
    return (ahead - behind) / (2 * step)


def row_square(
    site: Site, passage: Passage, parameters: Parameters, local: str, generator: torch.Generator, draws: int = 2
) -> float:
    """Mean over output entries of |d output / d tensor|^2, a sum over the tensor's entries, by random cotangents."""
    values = {name: parameters[full].detach() for name, full in site.tensors.items()}
    values[local] = values[local].clone().requires_grad_()
    with torch.enable_grad():
        output = own_output(passage, values)
        total = 0.0
        for draw in range(draws):
            signs = torch.randint(2, output.shape, generator=generator).to(output) * 2 - 1
            (back,) = torch.autograd.grad(
                output, values[local], signs, retain_graph=draw < draws - 1, allow_unused=True
            )
            total += 0.0 if back is None else float(back.double().square().sum())
    return total / draws / output.numel()


def entries_seen(site: Site, passage: Passage, parameters: Parameters, local: str, generator: torch.Generator) -> int:
    """Entries of a tensor that one entry of the module's output depends on: the fan-in of a weight, 1 for a bias.

    Looked at with Gaussian inputs in place of the module's own, which may hold zeros; integer inputs stay.
    """
    tensor = parameters[site.tensors[local]]
    whole = max(tensor.numel() // max(size, 1) for size in (tensor.shape[0], tensor.shape[-1])) if tensor.ndim else 1

    def dense(entry: object) -> object:
        if isinstance(entry, Tensor) and entry.is_floating_point():
            return torch.randn(entry.shape, generator=generator, dtype=torch.float32).to(entry)
        return entry

    probe = Passage(
        passage.path,
        passage.module,
        tuple(map(dense, passage.args)),
        {key: dense(entry) for key, entry in passage.kwargs.items()},
        passage.begin,
    )
    values = {
        name: torch.randn(parameters[full].shape, generator=generator).to(parameters[full])
        for name, full in site.tensors.items()
    }
    values[local].requires_grad_()
    seen = 0
    try:
        with torch.enable_grad():
            output = own_output(probe, values).flatten()
            for place in torch.randint(output.numel(), (_PROBES,), generator=generator).tolist():
                (back,) = torch.autograd.grad(output[place], values[local], retain_graph=True, allow_unused=True)
                seen = max(seen, 0 if back is None else int((back != 0).sum()))
    except Exception:  # a user's module may refuse such inputs, in any way: its shape then has to do
        seen = 0
    if tensor.ndim <= 1:
        return 1
    return min(seen, whole) if seen else tensor.numel() // tensor.shape[0]


def _rms(tensor: Tensor) -> float:
    return float(tensor.detach().double().square().mean().sqrt()) if tensor.numel() else 0.0
