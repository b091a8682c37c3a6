"""The map K -> <sigma'_a sigma'_b> with its first and second derivatives in K.

sigma' is an activation like any other, with one derivative less: smooth ones go through the same Mehler series. Where
sigma has a kink, sigma' jumps. The derivatives in K then exist for every pair that is not collinear, with delta
functions at the jumps (:mod:`repflow.expectation.distributions`), and for a collinear pair as a function of one
variance. The slope of a scale-invariant activation is a step, whose map is the arcsine law.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.closed import Parts, step_map
from repflow.expectation.derived import derived
from repflow.expectation.distributions import distributional_pair_map
from repflow.expectation.pair_map import PairMap, fill_diagonal, pair_map
from repflow.expectation.single import rule


def slope_of(activation: Activation) -> Activation:
    """sigma' of a continuous activation.

    Raises
    ------
    ValueError
        The activation jumps, so that sigma' is a distribution.
    """
    if not activation.continuous:
        raise ValueError(
            f"activation {activation.name!r} jumps: sigma' contains a delta function and <sigma'_a sigma'_b> does not "
            "exist; finite-width corrections of the tangent kernel need a continuous activation"
        )
    return derived(activation, 1)


def slope_map(activation: Activation, kernel: Float64[Tensor, "N N"], derivatives: int = 0) -> PairMap:
    """<sigma'_a sigma'_b> for N inputs with kernel K, with derivatives in K up to the given order.

    Parameters
    ----------
    activation
        sigma, continuous.
    kernel
        K, shape (N, N), symmetric and positive semidefinite; it may be singular.
    derivatives
        0, 1 or 2.

    Returns
    -------
    PairMap
        ``mean`` is <sigma'_a sigma'_b>, and the derivatives are those of that; ``slope`` is None. Of a pair that is
        collinear the derivative in its one variance is booked under the first input, as in
        :func:`~repflow.expectation.pair_map.pair_map`; with a kink these are the only ones that exist.

    Raises
    ------
    ValueError
        The activation jumps, or ``derivatives`` is not 0, 1 or 2.
    """
    if derivatives not in (0, 1, 2):
        raise ValueError(f"derivatives must be 0, 1 or 2, got {derivatives!r}")
    slope = slope_of(activation)
    if activation.smooth:
        return pair_map(slope, kernel, derivatives)
    if activation.slopes is not None:
        parts: Parts = step_map(activation.slopes, kernel, derivatives)
        result = PairMap(**parts)
    else:
        result = PairMap(**distributional_pair_map(slope, kernel, derivatives))
    fill_diagonal(result, slope, kernel.diagonal())
    silent = kernel.diagonal() <= 0
    if bool(silent.any()):
        _constant(result, slope, kernel.diagonal(), silent)
    return result


def _constant(result: PairMap, slope: Activation, variance: Tensor, silent: Tensor) -> None:
    """Pairs with an input of variance 0, where sigma' is a constant, whichever side of a kink it belongs to."""
    quadrature = rule(slope, variance)
    mean = quadrature.mean(slope(quadrature.z))
    touched = silent[:, None] | silent[None, :]
    result.mean[touched] = torch.outer(mean, mean)[touched]
    first, second = (result.d_self, result.d_cross), (result.h_self, result.h_cross)
    for part in (*first, *second, result.h_self_other, result.h_self_cross):
        if part is not None:
            part[touched] = 0.0
