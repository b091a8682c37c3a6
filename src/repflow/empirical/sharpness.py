"""The largest eigenvalue of a module's tangent kernel over all rows and outputs, by power iteration."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from repflow.empirical.call import Call
from repflow.empirical.twin import Parameters, Twin

#: Relative size of a finite step of all parameters together.
_STEP = 1e-3
#: Iterations at most, and the relative change of the eigenvalue at which they end.
_ITERATIONS, _TOLERANCE = 20, 3e-3


def largest_tangent_eigenvalue(
    twin: Twin, parameters: Parameters, call: Call, rates: Mapping[str, float], generator: torch.Generator
) -> float:
    """Largest eigenvalue of sum_g rate_g J_g J_g^T over rows, positions and outputs.

    Each product is a backward pass and a central difference along its result, so that nothing larger than the
    parameters is held. Over the number of rows and positions it is the sharpness of (1/2B) sum |f - y|^2 at small
    residuals, in the metric of the rates: gradient descent with these rates is stable below twice its inverse.

    Parameters
    ----------
    twin, parameters, call
        The module, its parameters (those that learn with ``requires_grad``), and the data.
    rates
        By tensor name; what is missing counts as 0.
    generator
        Of the first vector.
    """
    names = [name for name, tensor in parameters.items() if tensor.requires_grad and rates.get(name, 0.0) > 0]
    if not names:
        return 0.0
    held = [parameters[name] for name in names]
    with torch.enable_grad():
        output = twin.call(parameters, call)
    size = math.sqrt(sum(float(tensor.detach().double().square().sum()) for tensor in held)) or 1.0
    vector = torch.randn(output.shape, generator=generator).to(output)
    vector = vector / vector.norm()
    value = 0.0
    for _ in range(_ITERATIONS):
        found = torch.autograd.grad(output, held, vector, retain_graph=True, allow_unused=True)
        step = {name: rates[name] * g for name, g in zip(names, found, strict=True) if g is not None}
        length = math.sqrt(sum(float(part.double().square().sum()) for part in step.values()))
        if length == 0:
            return 0.0
        epsilon = _STEP * size / length
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                moved = {n: t + sign * epsilon * step[n] if n in step else t for n, t in parameters.items()}
                ends.append(twin.call(moved, call))
            image = (ends[0] - ends[1]) / (2 * epsilon)
        norm = float(image.norm())
        if not 0 < norm < math.inf:
            return norm
        vector, before, value = image / norm, value, norm
        if abs(value - before) < _TOLERANCE * value:
            break
    return value
