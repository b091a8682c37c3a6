"""How far a step of each tensor alone changes the last features, all tensors at once by random functionals of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from repflow.empirical.call import Call
from repflow.empirical.response import Features
from repflow.empirical.twin import Parameters, Twin


def reaches(
    twin: Twin,
    parameters: Parameters,
    call: Call,
    features: Features,
    directions: Mapping[str, Sequence[Tensor]],
    generator: torch.Generator,
    functionals: int = 8,
) -> dict[str, list[float]]:
    """rms(dh)/rms(h) for dh the derivative of the last features along each direction of each tensor.

        |dh|^2 = E_u (u . dh)^2,      u . dh = d(u . h)/dtheta . direction

    with u Gaussian of the features' shape: one backward pass serves all tensors. This is a tensor's change relative to
    the stream where the module stands in a residual branch. One draw of u carries a relative error of sqrt(2), so that
    averages over draws of the parameters are meant.

    Returns
    -------
    dict
        By name, one number a direction.
    """
    names = [name for name in directions if parameters[name].requires_grad]
    sums = {name: [0.0] * len(directions[name]) for name in names}
    with torch.enable_grad():
        last = features.read(*twin.watch(parameters, call))
        size = float(last.detach().double().square().sum())
        if not last.requires_grad or size == 0:
            return {name: [0.0] * len(steps) for name, steps in directions.items()}
        for number in range(functionals):
            u = torch.randn(last.shape, generator=generator).to(last)
            found = torch.autograd.grad(
                last, [parameters[n] for n in names], u, retain_graph=number < functionals - 1, allow_unused=True
            )
            for name, gradient in zip(names, found, strict=True):
                if gradient is not None:
                    for i, step in enumerate(directions[name]):
                        sums[name][i] += float((gradient * step).sum()) ** 2
    return {name: [math.sqrt(total / functionals / size) for total in totals] for name, totals in sums.items()}
