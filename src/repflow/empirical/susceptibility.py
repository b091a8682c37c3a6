"""Susceptibilities between modules that follow each other, by perturbing what the first returns.

For a chain these are the effective theory's, of the preactivations of one layer by those of the layer before:

    chi_parallel = dK'/dK,      chi_perpendicular = |J w|^2/|w|^2  per feature, for w perpendicular to z

with C_W d<s^2>/dK and C_W <s's'> as their values at infinite width (PDLT section 5.1). The derivatives along z and
perpendicular to it are central differences, one forward pass each way, cut off once the second module has run.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.empirical.call import Call
from repflow.empirical.sites import Site
from repflow.empirical.twin import Parameters, Passage, StopForwardError, Twin

_STEP = 1e-2


@dataclass(frozen=True)
class Susceptibility:
    """Between the site before and this one; NaN where the first one's output does not reach the second's."""

    parallel: float
    perpendicular: float


def susceptibilities(
    twin: Twin, parameters: Parameters, call: Call, sites: Sequence[Site], generator: torch.Generator
) -> dict[str, Susceptibility]:
    """By path of the second site; the first has none."""
    found = {}
    with torch.no_grad():
        for before, after in itertools.pairwise(sites):
            base = _run(twin, parameters, call, before, after, None)
            if base is None:
                continue
            z, _ = base
            rows = z.flatten(1)
            w = torch.randn(rows.shape, generator=generator).to(rows)
            overlap = (w * rows).sum(1, keepdim=True) / rows.square().sum(1, keepdim=True).clamp(min=1e-30)
            w = w - overlap * rows
            w = w * (rows.norm(dim=1, keepdim=True) / w.norm(dim=1, keepdim=True).clamp(min=1e-30))
            ends: dict[str, list[Tensor]] = {}
            for kind, direction in (("along", z), ("across", w.reshape(z.shape))):
                pair = [_run(twin, parameters, call, before, after, z + sign * _STEP * direction) for sign in (1, -1)]
                ends[kind] = [end[1].double() for end in pair if end is not None]
            if any(len(pair) < 2 for pair in ends.values()):
                continue
            kernels = [float(end.square().mean()) for end in ends["along"]]
            size = float(z.double().square().mean())
            moved = float(((ends["across"][0] - ends["across"][1]) / (2 * _STEP)).square().mean())
            reached = moved > 0 or kernels[0] != kernels[1]
            found[after.path] = Susceptibility(
                (kernels[0] - kernels[1]) / (4 * _STEP * size) if reached and size > 0 else math.nan,
                moved / size if reached and size > 0 else math.nan,
            )
    return found


def _run(
    twin: Twin, parameters: Parameters, call: Call, before: Site, after: Site, value: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """Outputs of the two sites' first calls, the first's replaced by ``value``; None where either returns no tensor."""
    first, second = before.calls[0], after.calls[0]
    seen: dict[int, Tensor] = {}

    def leave(passage: Passage, number: int) -> None:
        if number in (first, second) and passage.output is not None:
            seen[number] = passage.output
        if number == second:
            raise StopForwardError

    def exchange(passage: Passage, number: int) -> Tensor | None:
        return value if number == first and value is not None else None

    with contextlib.suppress(StopForwardError):
        twin.watch(parameters, call, on_leave=leave, exchange=exchange)
    if first not in seen or second not in seen or seen[first].ndim < 2:
        return None
    return seen[first], seen[second]
