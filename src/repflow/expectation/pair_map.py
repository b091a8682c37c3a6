"""The map K -> <sigma_a sigma_b> with its first and second derivatives in K, for all pairs of inputs.

<sigma_1 sigma_2> depends on K_11, K_22 and K_12 only, and d<f>/dK_12 = <d_1 d_2 f>, d<f>/dK_11 = <d_1 d_1 f>/2 (Price
1958), so nothing here needs an inverse of K. Smooth activations go through the Mehler series, those with kinks through
quadrature cut at the kinks, and some have closed forms. Pairs that coincide or are collinear, where a kinked
activation's derivatives in three variables do not exist, are functions of one variance and are differentiated as such.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.closed import closed_pair_map
from repflow.expectation.kinked import kinked_pair_map
from repflow.expectation.pair_moments import PairMoments
from repflow.expectation.single import hermite_coefficients, rule


@dataclass
class PairMap:
    """<sigma_a sigma_b> and its derivatives. Every tensor is (N, N); a quantity that was not asked for is None.

    Attributes
    ----------
    mean
        S_ab = <sigma_a sigma_b>.
    slope
        <sigma'_a sigma'_b>.
    d_self
        dS_ab/dK_aa for a != b (not symmetric: the first index is the input whose variance moves); 0 on the diagonal.
    d_cross
        dS_ab/dK_ab for a != b, and dS_aa/dK_aa on the diagonal.
    h_self, h_cross, h_self_other, h_self_cross
        Second derivatives of S_ab: in (K_aa, K_aa), (K_ab, K_ab), (K_aa, K_bb), (K_aa, K_ab). On the diagonal
        ``h_cross`` is d^2 S_aa/dK_aa^2 and the others are 0.
    """

    mean: Float64[Tensor, "N N"]
    slope: Float64[Tensor, "N N"] | None = None
    d_self: Float64[Tensor, "N N"] | None = None
    d_cross: Float64[Tensor, "N N"] | None = None
    h_self: Float64[Tensor, "N N"] | None = None
    h_cross: Float64[Tensor, "N N"] | None = None
    h_self_other: Float64[Tensor, "N N"] | None = None
    h_self_cross: Float64[Tensor, "N N"] | None = None


def pair_map(
    activation: Activation, kernel: Float64[Tensor, "N N"], derivatives: int = 0, slope: bool = False
) -> PairMap:
    """<sigma_a sigma_b> for N inputs with kernel K, with derivatives in K up to the given order.

    Parameters
    ----------
    activation
        sigma.
    kernel
        K, shape (N, N), symmetric and positive semidefinite; it may be singular.
    derivatives
        0, 1 or 2.
    slope
        Whether to compute <sigma'_a sigma'_b>.

    Returns
    -------
    PairMap

    Raises
    ------
    ValueError
        Second derivatives of an activation that jumps, for which no closed form is known.
    """
    closed = closed_pair_map(activation, kernel, derivatives, slope)
    if closed is not None:
        result = PairMap(**closed)
    elif activation.smooth:
        result = _smooth(activation, kernel, derivatives, slope)
    else:
        result = PairMap(**kinked_pair_map(activation, kernel, derivatives, slope))
    fill_diagonal(result, activation, kernel.diagonal())
    if slope:
        _fill_silent(result, activation, kernel.diagonal())
    return result


def fill_diagonal(result: PairMap, activation: Activation, variance: Tensor) -> None:
    """Diagonals as functions of one variance: S, dS/dK = <(s^2)''>/2 and d2S/dK2 = <(s^2)''''>/4."""
    quadrature = rule(activation, variance)
    squares = activation(quadrature.z) ** 2
    result.mean.diagonal().copy_(quadrature.mean(squares))
    if result.slope is not None:
        result.slope.diagonal().copy_(quadrature.mean(activation.derivative(quadrature.z) ** 2))
    if result.d_cross is None:
        return
    if activation.smooth:
        d = [activation.derivative(quadrature.z, k) for k in range(5 if result.h_cross is not None else 3)]
        first = quadrature.mean(d[0] * d[2] + d[1] ** 2)
        if result.h_cross is not None:
            fourth = 0.5 * quadrature.mean(d[0] * d[4] + 4 * d[1] * d[3] + 3 * d[2] ** 2)
            result.h_cross.diagonal().copy_(fourth)
    else:
        # The squares may have no second derivative at a kink: move it onto the Gaussian, <g''> = sqrt(2) b_2(g)/K.
        b = hermite_coefficients(quadrature, squares, 5)
        inverse = torch.where(variance > 0, 1.0 / variance.clamp(min=1e-300), torch.zeros_like(variance))
        first = b[:, 2] * inverse / 2**0.5
        if result.h_cross is not None:
            result.h_cross.diagonal().copy_(b[:, 4] * inverse**2 * 24**0.5 / 4)
    result.d_cross.diagonal().copy_(first)
    for other in (result.d_self, result.h_self, result.h_self_other, result.h_self_cross):
        if other is not None:
            other.diagonal().zero_()


def _fill_silent(result: PairMap, activation: Activation, variance: Tensor) -> None:
    """Inputs of variance 0 sit at z = 0: their sigma' is the derivative there, whichever side it belongs to."""
    silent = torch.nonzero(variance <= 0).ravel()
    if result.slope is None or not len(silent):
        return
    quadrature = rule(activation, variance)
    mean = quadrature.mean(activation.derivative(quadrature.z))
    result.slope[silent, :] = mean[silent, None] * mean
    result.slope[:, silent] = mean[:, None] * mean[silent]


def _smooth(activation: Activation, kernel: Tensor, derivatives: int, slope: bool) -> PairMap:
    expectation = PairMoments(activation, kernel, diagonal=False)
    result = PairMap(mean=expectation(0, 0))
    if slope or derivatives:
        product = expectation(1, 1)
        result.slope = product if slope else None
        if derivatives:
            result.d_cross = product.clone()
            result.d_self = 0.5 * expectation(2, 0)
    if derivatives == 2:
        result.h_cross = expectation(2, 2)
        result.h_self_other = 0.25 * result.h_cross
        result.h_self_cross = 0.5 * expectation(3, 1)
        result.h_self = 0.25 * expectation(4, 0)
    return result
