"""<s_a s_b s_c s_d> for quadruples of inputs: which method serves which pattern of repeated inputs.

A quadruple with repeated entries is an integral of fewer dimensions and is taken as such: (a, a, a, a) one, (a, a, a,
b) and (a, a, b, b) two, (a, a, b, c) three.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.canonical import least_correlated
from repflow.expectation.kinked import COLLINEAR
from repflow.expectation.kinked_series import kinked_four_point
from repflow.expectation.mehler import Series, correlations
from repflow.expectation.orthant import four_steps
from repflow.expectation.pair_series import Sides, pair_series
from repflow.expectation.single import rule
from repflow.expectation.split import split_expectations

_TOL_SMOOTH = 1e-9
#: Relative difference of covariances below which two inputs count as equal.
_SAME = 1e-13


@dataclass
class FourPoint:
    """Values of <s_a s_b s_c s_d> and error estimates.

    Attributes
    ----------
    values
        Shape (M,).
    error
        Estimated error relative to the Cauchy-Schwarz bound prod_i <s_i^4>^(1/4), shape (M,).
    """

    values: Float64[Tensor, " M"]
    error: Float64[Tensor, " M"]


def four_point(activation: Activation, kernel: Float64[Tensor, "N N"], quadruples: Int64[Tensor, "M 4"]) -> FourPoint:
    """<s_a s_b s_c s_d> under z ~ N(0, K) for a list of quadruples.

    Parameters
    ----------
    activation
        sigma.
    kernel
        K, shape (N, N).
    quadruples
        Indices, shape (M, 4), in any order; the value is symmetric in them.

    Returns
    -------
    FourPoint
    """
    # Inputs that coincide are one input: the pattern of repetitions then shows in the indices.
    ordered, _ = _representatives(kernel)[quadruples].sort(dim=1)
    unique, back = torch.unique(ordered, dim=0, return_inverse=True)
    values = kernel.new_empty(len(unique))
    error = kernel.new_zeros(len(unique))
    quadrature = rule(activation, kernel.diagonal())
    fourth = quadrature.mean(activation(quadrature.z) ** 4)
    bound = fourth[unique].clamp(min=1e-300).pow(0.25).prod(1)
    if activation.name == "sin" and activation.registered:
        values = _sines(kernel, unique)
    elif activation.name == "perceptron" and activation.registered:
        values = four_steps(_gather(kernel, unique))
    else:
        _by_pattern(activation, kernel, unique, fourth, values, error)
    return FourPoint(values[back], (error / bound)[back])


def _representatives(kernel: Tensor) -> Tensor:
    """For each input the first one that is equal to it: the same variance, which is also their covariance."""
    variance = kernel.diagonal()
    scale = _SAME * torch.maximum(variance[:, None], variance[None, :])
    same = ((kernel - variance[:, None]).abs() <= scale) & ((kernel - variance[None, :]).abs() <= scale)
    same.fill_diagonal_(True)
    return same.long().argmax(1)


def _by_pattern(
    activation: Activation, kernel: Tensor, quadruples: Tensor, fourth: Tensor, values: Tensor, error: Tensor
) -> None:
    equal = quadruples[:, 1:] == quadruples[:, :-1]
    code = equal[:, 0] * 4 + equal[:, 1] * 2 + equal[:, 2] * 1
    chosen = code == 7
    values[chosen] = fourth[quadruples[chosen, 0]]
    series = Series(activation, kernel.diagonal())
    for power in (1, 2, 3):
        series.add(str(power), _power(activation, power))
    rho = correlations(kernel)
    for pattern, first, second, powers in ((6, 0, 3, (3, 1)), (3, 3, 0, (3, 1)), (5, 0, 3, (2, 2))):
        chosen = torch.nonzero(code == pattern).ravel()
        a, b = quadruples[chosen, first], quadruples[chosen, second]
        values[chosen], error[chosen] = _two(activation, kernel, series, rho, a, b, powers)
    for pattern, order in ((4, (0, 2, 3)), (2, (1, 0, 3)), (1, (2, 0, 1))):
        chosen = torch.nonzero(code == pattern).ravel()
        values[chosen], error[chosen] = _three(activation, kernel, quadruples[chosen][:, list(order)])
    chosen = torch.nonzero(code == 0).ravel()
    values[chosen], error[chosen] = _four(activation, kernel, quadruples[chosen])


def _power(activation: Activation, power: int) -> Callable[[Tensor], Tensor]:
    return lambda z: activation(z) ** power


def _two(
    activation: Activation, kernel: Tensor, series: Series, rho: Tensor, a: Tensor, b: Tensor, powers: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """<s_a^p s_b^q>."""
    values, unresolved = series.pairs(str(powers[0]), str(powers[1]), a, b, rho[a, b], _TOL_SMOOTH)
    error = torch.zeros_like(values)
    for number in torch.nonzero(unresolved).ravel().tolist():
        i, j = int(a[number]), int(b[number])
        order = powers if kernel[i, i] >= kernel[j, j] else powers[::-1]
        if kernel[i, i] < kernel[j, j]:
            i, j = j, i
        if float((1 - rho[i, j]) * (1 + rho[i, j])) < COLLINEAR:  # one dimension
            values[number] = _collinear(activation, kernel, i, j, order)
            continue
        found = split_expectations(
            [_power(activation, order[0])],
            [_power(activation, order[1])],
            activation.kinks,
            kernel[i, i].reshape(1),
            kernel[j, j].reshape(1),
            kernel[i, j].reshape(1),
        )
        values[number] = found[0][0][0]
    return values, error


def _collinear(activation: Activation, kernel: Tensor, i: int, j: int, powers: tuple[int, int]) -> Tensor:
    variance = kernel[i, i].reshape(1)
    ratio = torch.sign(kernel[i, j]) * (kernel[j, j] / kernel[i, i]).sqrt()
    kinks = torch.tensor(activation.kinks, dtype=torch.float64, device=kernel.device)
    quadrature = rule(torch.cat([kinks, kinks / ratio])[None, :], variance)
    z = quadrature.z
    return quadrature.mean(activation(z) ** powers[0] * activation(ratio * z) ** powers[1])[0]


def _three(activation: Activation, kernel: Tensor, triples: Tensor) -> tuple[Tensor, Tensor]:
    """<s_a^2 s_b s_c>."""
    if not len(triples):
        return kernel.new_empty(0), kernel.new_empty(0)
    covariance = _gather(kernel, triples[:, [0, 0, 1, 2]])
    if activation.smooth:
        values, share = pair_series(activation, covariance, _TOL_SMOOTH, Sides(single=(True, False)))
        return values, share * values.abs()
    return kinked_four_point(activation, covariance)


def _four(activation: Activation, kernel: Tensor, quadruples: Tensor) -> tuple[Tensor, Tensor]:
    """<s_a s_b s_c s_d>, all different: paired so that the pairs are correlated least."""
    if not len(quadruples):
        return kernel.new_empty(0), kernel.new_empty(0)
    covariance = _gather(kernel, quadruples)
    if not activation.smooth:
        return kinked_four_point(activation, covariance)
    values, share = pair_series(activation, least_correlated(covariance), _TOL_SMOOTH)
    return values, share * values.abs()


def _gather(kernel: Tensor, indices: Tensor) -> Tensor:
    """Covariances (M, k, k) of the listed inputs (M, k)."""
    return kernel[indices[:, :, None], indices[:, None, :]]


def _sines(kernel: Tensor, quadruples: Tensor) -> Tensor:
    """<sin sin sin sin> as a sum of <cos(z_1 +- z_2 +- z_3 +- z_4)> = exp(-Var/2)."""
    covariance = kernel[quadruples[:, :, None], quadruples[:, None, :]]
    signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64, device=kernel.device)] * 3)
    signs = torch.cat([torch.ones_like(signs[:, :1]), signs], dim=1)  # (8, 4)
    variance = torch.einsum("si,mij,sj->ms", signs, covariance, signs)
    return (signs.prod(1) * torch.exp(-0.5 * variance)).sum(1) / 8.0
