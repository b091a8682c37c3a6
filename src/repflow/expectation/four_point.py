"""<s^(i)_a s^(j)_b s^(k)_c s^(l)_d> for quadruples of inputs: which method serves which pattern of repetitions.

A quadruple of one or two different inputs is an integral of one or two dimensions and is taken as such. Of more, it is
a series of the products of its two pairs: computed once a pair and rotated for smooth activations, smoothed for those
with kinks; for activations that are straight on either side of 0 it is a moment of signs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.canonical import PAIRINGS, arranged, least_correlated_pairing, rearranged_columns
from repflow.expectation.derived import derived
from repflow.expectation.homogeneous import homogeneous_moments
from repflow.expectation.kinked_series import kinked_products
from repflow.expectation.orthant import four_steps
from repflow.expectation.pair_series import Sides, product_series
from repflow.expectation.pair_tables import trapezoid_error
from repflow.expectation.rotated import rotated_series
from repflow.expectation.single import rule
from repflow.expectation.two_inputs import two_inputs

#: Derivative orders of the four factors.
Orders = tuple[int, int, int, int]

_TOL = 1e-10
#: Relative error above which a quadruple is taken again with more terms.
_RESOLVED = 1e-9
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
    ordered, _ = representatives(kernel)[quadruples].sort(dim=1)
    unique, back = torch.unique(ordered, dim=0, return_inverse=True)
    values, error = quadruple_moments(activation, kernel, unique, [(0, 0, 0, 0)])
    return FourPoint(values[back, 0], error[back, 0])


def representatives(kernel: Tensor) -> Tensor:
    """For each input the first one that is equal to it: the same variance, which is also their covariance."""
    variance = kernel.diagonal()
    scale = _SAME * torch.maximum(variance[:, None], variance[None, :])
    same = ((kernel - variance[:, None]).abs() <= scale) & ((kernel - variance[None, :]).abs() <= scale)
    same.fill_diagonal_(True)
    return same.long().argmax(1)


def quadruple_moments(
    activation: Activation, kernel: Tensor, quadruples: Tensor, arrangements: Sequence[Orders]
) -> tuple[Tensor, Tensor]:
    """Expectations of several arrangements of derivatives over each quadruple.

    Parameters
    ----------
    activation
        sigma; the derivatives have to exist.
    kernel
        K, shape (N, N).
    quadruples
        Inputs in ascending order, those that coincide by one number, shape (Q, 4).
    arrangements
        Orders (i, j, k, l), with each tuple all its permutations.

    Returns
    -------
    values, error
        Shape (Q, C) each; the errors are relative to the Cauchy-Schwarz bound prod <(s^(o))^4>^(1/4).
    """
    plain = set(arrangements) == {(0, 0, 0, 0)}
    covariance = _gather(kernel, quadruples)
    if plain and activation.registered and activation.name == "sin":
        return _exact(_sines(covariance))
    if plain and activation.registered and activation.name == "perceptron":
        return _exact(four_steps(covariance))
    if activation.slopes is not None and not activation.smooth:
        values, short = homogeneous_moments(activation, covariance, arrangements)
        return values, short[:, None].expand_as(values)
    return _by_pattern(activation, kernel, quadruples, arrangements)


def _exact(values: Tensor) -> tuple[Tensor, Tensor]:
    return values[:, None], torch.zeros_like(values)[:, None]


def _gather(kernel: Tensor, indices: Tensor) -> Tensor:
    """Covariances (M, k, k) of the listed inputs (M, k)."""
    return kernel[indices[:, :, None], indices[:, None, :]]


def _sines(covariance: Tensor) -> Tensor:
    """<sin sin sin sin> as a sum of <cos(z_1 +- z_2 +- z_3 +- z_4)> = exp(-Var/2)."""
    signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64, device=covariance.device)] * 3)
    signs = torch.cat([torch.ones_like(signs[:, :1]), signs], dim=1)  # (8, 4)
    variance = torch.einsum("si,mij,sj->ms", signs, covariance, signs)
    return (signs.prod(1) * torch.exp(-0.5 * variance)).sum(1) / 8.0


def _by_pattern(
    activation: Activation, kernel: Tensor, quadruples: Tensor, arrangements: Sequence[Orders]
) -> tuple[Tensor, Tensor]:
    """By the number of different inputs and the kind of activation."""
    values = kernel.new_empty(len(quadruples), len(arrangements))
    error = torch.zeros_like(values)
    bound = _bounds(activation, kernel, quadruples, arrangements)
    changes = (quadruples[:, 1:] != quadruples[:, :-1]).sum(1)
    few, many = torch.nonzero(changes <= 1).ravel(), torch.nonzero(changes > 1).ravel()
    values[few], error[few] = two_inputs(activation, kernel, quadruples[few], arrangements)
    if not activation.smooth:
        covariance = _gather(kernel, quadruples[many])
        silent = covariance.diagonal(dim1=1, dim2=2) <= 0
        for mask in torch.unique(silent, dim=0):
            chosen = torch.nonzero((silent == mask).all(1)).ravel()
            found, share = _kinked(activation, covariance[chosen], arrangements, mask.tolist())
            values[many[chosen]], error[many[chosen]] = found, share * bound[many[chosen]]
        return values, _ratio(error, bound)
    if len(many):
        values[many], error[many] = _smooth(activation, kernel, quadruples[many], arrangements, bound[many])
    grid = trapezoid_error(activation, kernel.diagonal(), max(max(o) for o in arrangements))
    return values, _ratio(error, bound) + grid


def _smooth(
    activation: Activation, kernel: Tensor, quadruples: Tensor, arrangements: Sequence[Orders], bound: Tensor
) -> tuple[Tensor, Tensor]:
    """Values and errors (M, C): a table for each pair, and quadruple by quadruple what its degrees do not resolve."""
    covariance = _gather(kernel, quadruples)
    pairing = least_correlated_pairing(covariance)
    order = torch.tensor(PAIRINGS, device=kernel.device)[pairing]
    columns = [((o[0], o[1]), (o[2], o[3])) for o in arrangements]
    moved = rearranged_columns(arrangements, PAIRINGS).to(kernel.device)[pairing]
    found, short = rotated_series(activation, kernel, quadruples.gather(1, order), columns, _TOL)
    values, error = found.gather(1, moved), short.gather(1, moved)
    left = torch.nonzero((_ratio(error, bound) > _RESOLVED).any(1)).ravel()
    if len(left):
        functions = [derived(activation, k) for k in range(max(max(o) for o in arrangements) + 1)]
        part = arranged(covariance[left], PAIRINGS, pairing[left])
        found, share = product_series(functions, part, _TOL, columns, Sides())
        # Relative to the norms of the pairs' products, which are below the bound.
        short = share.gather(1, moved[left]) * bound[left]
        better = short < error[left]
        values[left] = torch.where(better, found.gather(1, moved[left]), values[left])
        error[left] = torch.where(better, short, error[left])
    return values, error


def _ratio(error: Tensor, bound: Tensor) -> Tensor:
    """Of the bound; an expectation whose bound is 0 is 0."""
    return torch.where(bound > 0, error / bound.clamp(min=1e-300), 0.0)


def _bounds(activation: Activation, kernel: Tensor, quadruples: Tensor, arrangements: Sequence[Orders]) -> Tensor:
    """prod <(s^(o))^4>^(1/4), shape (Q, C)."""
    quadrature = rule(activation, kernel.diagonal())
    fourth = {
        order: quadrature.mean(activation.derivative(quadrature.z, order) ** 4).pow(0.25)
        for order in {order for orders in arrangements for order in orders}
    }
    columns = []
    for orders in arrangements:
        slots = torch.stack([fourth[order][quadruples[:, slot]] for slot, order in enumerate(orders)])
        columns.append(slots.prod(0))
    return torch.stack(columns, dim=1)


def _kinked(
    activation: Activation, covariance: Tensor, arrangements: Sequence[Orders], silent: list[bool]
) -> tuple[Tensor, Tensor]:
    """Values and relative errors (M, C); an input of variance 0 contributes the constant s^(o)(0)."""
    highest = max(max(orders) for orders in arrangements)
    functions = [derived(activation, order) for order in range(highest + 1)]
    constants = [float(activation.derivative(torch.zeros(1, dtype=torch.float64), k)[0]) for k in range(highest + 1)]
    if any(silent):
        functions.append(Activation("one", torch.ones_like, activation.breakpoints))
    one = highest + 1
    replaced = [tuple(one if quiet else o for o, quiet in zip(orders, silent, strict=True)) for orders in arrangements]
    needed = sorted({p for orders in replaced for p in itertools.permutations(orders)})
    copied = [slot if not quiet else silent.index(False) for slot, quiet in enumerate(silent)]
    found, short = kinked_products(functions, covariance[:, copied][:, :, copied], needed)
    column = torch.tensor([needed.index(orders) for orders in replaced], device=covariance.device)
    factor = torch.tensor(
        [math.prod(constants[o] for o, quiet in zip(orders, silent, strict=True) if quiet) for orders in arrangements],
        dtype=torch.float64,
        device=covariance.device,
    )
    return found[:, column] * factor, short[:, column]
