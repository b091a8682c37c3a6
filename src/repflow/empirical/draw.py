"""One draw of a module's parameters: gradients, and what each tensor does to its module and the last features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from repflow.empirical.call import Call
from repflow.empirical.kernels import gram, tangent_kernels
from repflow.empirical.response import Features, response
from repflow.empirical.sites import Site, entries_seen, own_change, row_square
from repflow.empirical.twin import Parameters, Passage, Twin

#: The loss's derivative by the output, from the output and a generator; the same shape.
Pull = Callable[[Tensor, torch.Generator], Tensor]


@dataclass
class TensorDraw:
    """One parameter tensor in one draw.

    Attributes
    ----------
    gradient
        Root mean square of an entry's gradient.
    sgd, sign
        rms(dz)/rms(z) of its own module's output, inputs held, for a step of one gradient and of one sign of it.
    row, size
        Mean over output entries of |dz/dtheta|^2, and the mean square of z.
    kernel
        Its part of the tangent kernel, (N, N).
    """

    gradient: float = 0.0
    sgd: float = math.nan
    sign: float = math.nan
    row: float = math.nan
    size: float = math.nan
    kernel: Tensor | None = None


@dataclass
class SiteDraw:
    """One site in one draw: the kernel of its output, and the gradient's root mean square there."""

    kernel: Tensor
    mean_square: float
    gradient: float


@dataclass
class Draw:
    """What one draw of the parameters shows; ``failures`` names what could not be measured, and why."""

    tensors: dict[str, TensorDraw]
    sites: dict[str, SiteDraw]
    unit_response: float = 0.0
    feature_squares: Tensor | None = None
    failures: dict[str, str] = field(default_factory=dict)


def gradients(
    twin: Twin, parameters: Parameters, call: Call, pull: Pull, generator: torch.Generator
) -> tuple[dict[str, Tensor], list[Passage], list[Tensor | None]]:
    """Gradient of the loss by parameter, and by each module's output in the order of the passages returned."""
    names = [name for name, tensor in parameters.items() if tensor.requires_grad]
    with torch.enable_grad():
        output, passages = twin.watch(parameters, call)
        cotangent = pull(output.detach(), generator).to(output)
        outputs = [p.output for p in passages if p.output is not None and p.output.requires_grad]
        found = torch.autograd.grad(
            output, [*(parameters[name] for name in names), *outputs], cotangent, allow_unused=True
        )
    own = {name: g.detach() for name, g in zip(names, found, strict=False) if g is not None}
    behind = iter(found[len(names) :])
    return own, passages, [next(behind) if p.output is not None and p.output.requires_grad else None for p in passages]


def measure_draw(
    twin: Twin,
    parameters: Parameters,
    call: Call,
    sites: Sequence[Site],
    features: Features,
    pull: Pull,
    generator: torch.Generator,
    stepping: Sequence[str] = (),
    axis: int = -1,
    kernels: bool = True,
) -> Draw:
    """Measure one draw.

    Parameters
    ----------
    twin
        Of the module.
    parameters
        By name, the learning ones with ``requires_grad``.
    call
        The data.
    sites
        From :func:`repflow.empirical.sites.find_sites`.
    features
        The last ones.
    pull
        Of the loss.
    generator
        Of everything random in the measurement.
    stepping
        Tensors that take part in ``unit_response``: the relative change of the last features when each of them steps
        along its gradient until its own module's output has changed by its own size.
    axis
        Of the output over its n_L values.
    kernels
        Whether tangent kernels are measured.
    """
    twin.batch_statistics(parameters, call)
    own, passages, behind = gradients(twin, parameters, call, pull, generator)
    draw = Draw({name: TensorDraw() for name in parameters}, {})
    for name, gradient in own.items():
        draw.tensors[name].gradient = _rms(gradient)
    for site in sites:
        try:
            _measure_site(site, parameters, passages, behind, own, generator, draw)
        except Exception as error:  # a user's module may refuse to run alone, in any way
            draw.failures[site.path] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    direction = {}
    for name in stepping:
        change = draw.tensors[name].sgd
        if name in own and change > 0:  # NaN compares false
            direction[name] = -own[name] / change
        elif name in own and math.isnan(change) and (size := _rms(parameters[name])) > 0 and _rms(own[name]) > 0:
            direction[name] = -own[name] * (size / _rms(own[name]))  # used outside any module: its own size
    draw.unit_response = response(twin, parameters, call, direction, features)
    with torch.no_grad():
        last = features.read(*twin.watch(parameters, call)).double()
    draw.feature_squares = last.flatten(1).square().mean(1).cpu()
    if kernels:
        for name, kernel in tangent_kernels(twin, parameters, call, generator, axis).items():
            draw.tensors[name].kernel = kernel
    return draw


def _measure_site(
    site: Site,
    parameters: Parameters,
    passages: list[Passage],
    behind: list[Tensor | None],
    own: dict[str, Tensor],
    generator: torch.Generator,
    draw: Draw,
) -> None:
    calls = [passages[number] for number in site.calls]
    outputs = [call.output for call in calls if call.output is not None]
    size = sum(float(z.detach().double().square().mean()) for z in outputs) / len(outputs)
    pulled = [g for number in site.calls if (g := behind[number]) is not None]
    force = math.sqrt(sum(float(g.double().square().mean()) for g in pulled) / len(pulled)) if pulled else 0.0
    grams = [gram(z) for z in outputs]
    mean = sum(grams[1:], start=grams[0]) / len(grams) if len({g.shape for g in grams}) == 1 else grams[0]
    draw.sites[site.path] = SiteDraw(mean, size, force)
    if size == 0:
        return
    for local, name in site.tensors.items():
        if name not in own:
            continue
        entry = draw.tensors[name]
        values = {}
        for kind, step in (("sgd", own[name]), ("sign", own[name].sign())):
            squares = [
                float(own_change(site, call, parameters, local, step).double().square().mean()) for call in calls
            ]
            values[kind] = math.sqrt(sum(squares) / len(squares) / size)
        row = sum(row_square(site, call, parameters, local, generator) for call in calls) / len(calls)
        if math.isnan(entry.row) or row * entry.size > entry.row * size:  # of several modules, where it does most
            entry.row, entry.size = row, size
            entry.sgd, entry.sign = values["sgd"], values["sign"]


def fan_in(sites: Sequence[Site], passages: Sequence[Passage], parameters: Parameters) -> dict[str, int]:
    """Entries of each tensor that one entry of its module's output depends on; 1 for what no module holds alone."""
    generator = torch.Generator().manual_seed(0)
    found = dict.fromkeys(parameters, 1)
    for site in sites:
        for local, name in site.tensors.items():
            seen = entries_seen(site, passages[site.calls[0]], parameters, local, generator)
            found[name] = max(found[name], seen)
    return found


def _rms(tensor: Tensor) -> float:
    return float(tensor.detach().double().square().mean().sqrt()) if tensor.numel() else 0.0
