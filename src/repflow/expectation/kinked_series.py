"""<s_1 s_2 s_3 s_4> of an activation with kinks or jumps: how each quadruple is cut into exact and smoothed parts.

A collinear pair is a function of one variable and is integrated with panels cut at its kinks. Of the other variables a
small share tau of the variance is averaged over, as large as the covariance allows without becoming indefinite; the
grid's step follows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.canonical import PAIRINGS, arranged, least_correlated_pairing, rearranged_columns
from repflow.expectation.kinked import COLLINEAR
from repflow.expectation.pair_series import Sides, product_series
from repflow.expectation.planar import outside_plane, planar_products
from repflow.expectation.single import hermite_coefficients, rule
from repflow.expectation.smoothing import Smoothed

_TOL = 1e-6
#: Steps in u, coarsest first. The share tau = (ratio step)^2 of the variances smooths a kink, or a jump, enough for
#: each: what is left of the bare grid's error is exp(-2 pi^2 ratio^2), 8e-4 and 3e-6.
_STEPS = (0.24, 0.12, 0.06, 0.03)
_RATIO, _JUMP_RATIO = 0.6, 0.8
#: Largest s, in z, for an activation that is curved between its kinks.
_NARROW = 0.1
#: Share of the variances outside a plane that is neglected.
_PLANE = 1e-13
#: Where nothing can be smoothed.
_BARE_STEP = 0.025
#: Errors of the bare grid at a step h, relative: for jumps along an axis, in units of h, as measured on the perceptron,
#: and for kinks along an axis, in units of h^2.
_JUMP_ERROR, _KINK_ERROR = 0.16, 0.1


def kinked_products(
    functions: Sequence[Activation], covariance: Tensor, arrangements: Sequence[tuple[int, ...]]
) -> tuple[Tensor, Tensor]:
    """<f_i(z_1) f_j(z_2) f_k(z_3) f_l(z_4)>, several (i, j, k, l) at once.

    Parameters
    ----------
    functions
        f_0, f_1, ..., with the same breakpoints.
    covariance
        Shape (M, 4, 4), in any order.
    arrangements
        Numbers of the functions, with each tuple all its permutations.

    Returns
    -------
    values, error
        Shape (M, C) each; the error estimates are relative to the Cauchy-Schwarz bound.
    """
    shape = len(covariance), len(arrangements)
    values, error = covariance.new_empty(shape), covariance.new_empty(shape)
    orders = (*PAIRINGS, *(order[2:] + order[:2] for order in PAIRINGS))
    moved = rearranged_columns(arrangements, orders).to(covariance.device)
    pairs = torch.stack([_collinear(covariance, order[0], order[1]) for order in orders])  # (6, M)
    opposite = pairs[[3, 4, 5, 0, 1, 2]]
    taken = (pairs & opposite).any(0)
    outside, _ = outside_plane(covariance)
    flat = ~taken & (outside <= _PLANE)
    if bool(flat.any()):
        values[flat] = planar_products(functions, covariance[flat], arrangements)
        error[flat] = outside[flat].sqrt()[:, None].expand(-1, shape[1])
    for single in ((True, True), (True, False), (False, False)):
        fits = pairs & opposite if single[1] else pairs & ~opposite if single[0] else ~pairs
        members = taken if single[1] else ~taken & pairs.any(0) if single[0] else ~pairs.any(0)
        chosen = torch.nonzero(members & ~flat).ravel()
        if not len(chosen):
            continue
        part = covariance[chosen]
        best = fits[:, chosen].long().argmax(0) if single[0] else least_correlated_pairing(part)
        part = arranged(part, orders, best)
        if single[1] and bool(_collinear(part, 0, 2).all()):
            found, short = _one_dimension(functions, part, arrangements), torch.zeros(shape[1:], dtype=torch.float64)
            short = short.to(part.device).expand_as(found)
        else:
            found, short = _smoothed(functions, part, single, arrangements)
        values[chosen], error[chosen] = found.gather(1, moved[best]), short.gather(1, moved[best])
    return values, error


def _collinear(covariance: Tensor, i: int, j: int) -> Tensor:
    product = covariance[:, i, i] * covariance[:, j, j]
    return product - covariance[:, i, j] ** 2 <= COLLINEAR * product


def _smoothed(
    functions: Sequence[Activation],
    covariance: Tensor,
    single: tuple[bool, bool],
    arrangements: Sequence[tuple[int, ...]],
) -> tuple[Tensor, Tensor]:
    """The series, each quadruple at the coarsest step that its covariance allows."""
    shape = len(covariance), len(arrangements)
    values, error = covariance.new_empty(shape), covariance.new_empty(shape)
    columns = [((o[0], o[1]), (o[2], o[3])) for o in arrangements]
    first = 2 * single[0] + 2 * single[1]
    variance = covariance.diagonal(dim1=1, dim2=2)
    unbounded = torch.full_like(values[:, 0], math.inf)
    room = _room(covariance, first) if first < 4 else unbounded
    # A curved activation is averaged by an expansion in s between its kinks: s stays small on the scale of its curves.
    curved = any(Smoothed(function).curved for function in functions)
    widest = variance.amax(1).sqrt() if curved else torch.zeros_like(unbounded)
    jumping = torch.tensor([any(not functions[i].continuous for i in o) for o in arrangements], device=values.device)
    ratio = _JUMP_RATIO if bool(jumping.any()) else _RATIO
    left = torch.ones(len(covariance), dtype=torch.bool, device=covariance.device)
    for step in (*_STEPS, _BARE_STEP):
        bare = step == _BARE_STEP or first == 4
        tau = 0.0 if bare else (ratio * step) ** 2
        chosen = torch.nonzero(left & (room >= tau) & (tau**0.5 * widest <= _NARROW)).ravel()
        left[chosen] = False
        if not len(chosen):
            continue
        share = torch.full((4,), tau, dtype=torch.float64, device=covariance.device)
        share[:first] = 0.0
        averaged = share * variance[chosen]
        sides = Sides(single, step, None if bare else averaged.sqrt().clamp(min=1e-150))
        thinned = covariance[chosen] - torch.diag_embed(averaged)
        found, short = product_series(functions, thinned, _TOL, columns, sides)
        if first < 4:
            grid = torch.where(jumping, _JUMP_ERROR * step, _KINK_ERROR * step**2)
            short = short + grid * (1.0 if bare else math.exp(-2 * (math.pi * ratio) ** 2))
        values[chosen], error[chosen] = found, short
    return values, error


def _room(covariance: Tensor, first: int) -> Tensor:
    """The largest share of the variances from ``first`` on that can be taken out, the rest staying positive
    semidefinite; (M,).
    """
    block = covariance[:, first:, first:]
    if first:
        # Given the collinear pair before it.
        lead = covariance[:, 0, 0].clamp(min=1e-300)
        block = block - covariance[:, first:, :1] * covariance[:, :1, first:] / lead[:, None, None]
    root = covariance.diagonal(dim1=1, dim2=2)[:, first:].clamp(min=1e-300).sqrt()
    scaled = block / root[:, :, None] / root[:, None, :]
    return torch.linalg.eigvalsh(scaled)[:, 0].clamp(min=0.0) * (1 - 1e-9)


def _one_dimension(
    functions: Sequence[Activation], covariance: Tensor, arrangements: Sequence[tuple[int, ...]]
) -> Tensor:
    """All four variables collinear: an integral over one of them, cut at every kink."""
    sigma = covariance.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt()
    lead = sigma.argmax(1)
    rows = torch.arange(len(lead), device=lead.device)
    ratio = covariance[rows, lead] / covariance[rows, lead, lead].clamp(min=1e-300)[:, None]  # z_i = ratio_i z_lead
    kinks = torch.tensor(functions[0].kinks, dtype=torch.float64, device=covariance.device)
    safe = torch.where(ratio.abs() > 0, ratio, 1e-300)
    quadrature = rule((kinks / safe[:, :, None]).flatten(1), covariance[rows, lead, lead])
    z = ratio[:, :, None] * quadrature.z[:, None, :]
    values = [function(z) for function in functions]
    products = [torch.stack([values[k][:, slot] for slot, k in enumerate(o)]).prod(0) for o in arrangements]
    return torch.stack([hermite_coefficients(quadrature, product, 1)[:, 0] for product in products], dim=1)
