"""Hermite series of the products s^(i)_a s^(j)_b of pairs of inputs, in the harmonic basis of each pair's own frame.

A pair's coefficients are computed once, in its principal axes, and serve every quadruple that the pair belongs to:
the canonical coordinates of a quadruple differ from the principal axes of its pairs by one rotation each, which is a
phase for every harmonic (:mod:`repflow.expectation.harmonics`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.canonical import principal
from repflow.expectation.harmonics import to_harmonics
from repflow.expectation.single import hermite_values, rule

Product = tuple[int, int]

_STEP_Z = 0.25  # trapezoid step in z: exp(-2 pi / 0.25) for a pole at distance one, as arctan has it
_CHUNK = 250_000  # grid points at a time
_QUANTUM = 1.25  # node counts are rounded up on this geometric scale, so that few batches differ


def derivatives(activation: Activation, z: Tensor, highest: int) -> list[Tensor]:
    """sigma, sigma', ..., up to order ``highest`` at z: one pass of automatic differentiation for all of them."""
    if highest == 0 or not activation.differentiable:
        return [activation.derivative(z, order) for order in range(highest + 1)]
    with torch.enable_grad():
        x = z.detach().requires_grad_(True)
        found = [activation.function(x)]
        for order in range(1, highest + 1):
            if not found[-1].requires_grad:  # a polynomial of lower degree
                found.append(torch.zeros_like(z))
                continue
            (slope,) = torch.autograd.grad(found[-1].sum(), x, create_graph=order < highest)
            found.append(slope)
    return [value.detach() + torch.zeros_like(z) for value in found]


@dataclass
class PairTable:
    """Series of pair products to one degree.

    Attributes
    ----------
    harmonics
        For each degree d the parts of its harmonics, shape (P, F, 2, d // 2 + 1) for P pairs and F products.
    norm
        <(s^(i)_a s^(j)_b)^2>, shape (P, F).
    tail
        Share of the norm that the degrees up to d leave out, shape (P, F, D + 1).
    """

    harmonics: list[Tensor]
    norm: Tensor
    tail: Tensor


@lru_cache(maxsize=128)
def _axis(degree: int, nodes: int, device: str) -> tuple[Tensor, Tensor]:
    """Weights w(u) of the trapezoid rule in units of du = 1 and w h_m(u), m <= degree; shapes (q,), (D + 1, q)."""
    reach = _reach(degree)
    u = torch.linspace(-reach, reach, nodes, dtype=torch.float64, device=device)
    w = torch.exp(-0.5 * u * u) / math.sqrt(2 * math.pi) * (2 * reach / (nodes - 1))
    return u, hermite_values(u, degree + 1) * w


def _reach(degree: int) -> float:
    """Half-range in u: the Hermite functions of high degree live further out, where exp(-u^2/4) has to be small."""
    return 9.0 if degree <= 32 else 10.5


def _node_count(scale: Tensor, degree: int) -> Tensor:
    reach = _reach(degree)
    step = (_STEP_Z / scale.clamp(min=1e-300)).clamp(max=2 * math.pi / (math.sqrt(degree) + 8.0))
    grade = torch.ceil(torch.log(2 * reach / step / 16.0).clamp(min=0.0) / math.log(_QUANTUM) - 1e-9)
    return torch.ceil(16.0 * _QUANTUM**grade).long() | 1


def pair_table(activation: Activation, covariance: Tensor, products: Sequence[Product], degree: int) -> PairTable:
    """The table of pairs with covariances (P, 2, 2).

    Parameters
    ----------
    activation
        sigma, smooth.
    covariance
        Of each pair, shape (P, 2, 2); singular ones are welcome.
    products
        Orders (i, j) of s^(i)_a s^(j)_b.
    degree
        Highest degree D.

    Returns
    -------
    PairTable
    """
    loading, _ = principal(covariance)
    count, kinds, device = len(covariance), len(products), covariance.device
    harmonics = [covariance.new_empty(count, kinds, 2, d // 2 + 1) for d in range(degree + 1)]
    norm = covariance.new_empty(count, kinds)
    kept = covariance.new_empty(count, kinds, degree + 1)
    nodes = torch.stack([_node_count(loading[:, :, axis].abs().amax(1), degree) for axis in (0, 1)], dim=1)
    flat = loading[:, :, 1].abs().amax(1) == 0.0
    nodes[:, 1] = torch.where(flat, 1, nodes[:, 1])  # one variable
    highest = max(max(product) for product in products)
    # Flat places of the coefficients with j + k = d, by k.
    by_degree = [d * (degree + 1) - degree * torch.arange(d + 1, device=device) for d in range(degree + 1)]
    step = max(1, _CHUNK // int(nodes.prod(1).max()))
    for n1, n2 in torch.unique(nodes, dim=0).tolist():
        members = torch.nonzero((nodes[:, 0] == n1) & (nodes[:, 1] == n2)).ravel()
        u1, h1 = _axis(degree, n1, str(device))
        if n2 == 1:
            u2, h2 = u1.new_zeros(1), u1.new_zeros(degree + 1, 1)
            h2[0] = 1.0
        else:
            u2, h2 = _axis(degree, n2, str(device))
        for part in members.split(step):
            a = loading[part]
            z = a[:, :, 0, None, None] * u1[:, None] + a[:, :, 1, None, None] * u2
            values = derivatives(activation, z, highest)
            product = torch.stack([values[i][:, 0] * values[j][:, 1] for i, j in products], dim=1)
            norm[part] = ((product * product) @ h2[0]) @ h1[0]
            coefficients = ((h1 @ product) @ h2.T).flatten(2)
            for d, entries in enumerate(by_degree):
                same = coefficients[:, :, entries]
                kept[part, :, d] = (same * same).sum(2)
                harmonics[d][part] = to_harmonics(same, d)
    scale = norm.clamp(min=1e-300)[:, :, None]
    tail = ((norm[:, :, None] - kept.cumsum(2)) / scale).clamp(min=0.0)
    return PairTable(harmonics, norm, tail)


def trapezoid_error(activation: Activation, variance: Tensor, highest: int) -> float:
    """Disagreement of the trapezoid rule of these tables with panels of Gauss-Legendre about <(s^(k))^2>, relative,
    over the variances (N,) and the orders k up to ``highest``: an error estimate for poles closer than expected. A
    table's products have two factors, so the square is as hard as they are.
    """
    scale = variance.clamp(min=0.0).sqrt()
    u, h = _axis(0, int(_node_count(scale.max(), 0)), str(variance.device))
    fine = rule(activation, variance)
    worst = 0.0
    pairs = zip(
        derivatives(activation, scale[:, None] * u, highest), derivatives(activation, fine.z, highest), strict=True
    )
    for coarse, exact in pairs:
        mean = fine.mean(exact**2)
        gap = ((coarse**2 @ h[0]) - mean).abs() / mean.clamp(min=1e-300)
        worst = max(worst, float(torch.where(mean > 0, gap, 0.0).max()))
    return worst
