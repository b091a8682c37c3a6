"""Quadrature over a few independent standard normal variables: a rule for each axis, and their pruned product.

An axis along which a function hardly varies takes a Gauss-Hermite rule of few nodes, one along which it varies on a
scale below one the trapezoid rule, whose error falls exponentially for analytic functions against the Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from repflow.blocks import generator

_GAUSS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20, 24)
_TRAPEZOID = (30, 36, 44, 54, 66, 80, 98, 120, 150, 185, 230, 280, 350, 430, 530, 650, 800, 1000, 1250, 1600, 2000)
#: Half-range of the trapezoid rule: u^6 beyond it has weight 5e-13.
_REACH = 8.5
#: Numbers of nodes of the rules, coarsest first.
LADDER = _GAUSS + _TRAPEZOID
#: Nodes whose weight is below exp(-_PRUNED) of the largest one are left out.
_PRUNED = 40.0


@lru_cache(maxsize=len(LADDER))
def axis(step: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the rule number ``step`` of :data:`LADDER`, weights with the Gaussian in them."""
    count = LADDER[step]
    if count <= _GAUSS[-1]:
        nodes, weights = np.polynomial.hermite_e.hermegauss(count)
        return torch.as_tensor(nodes), torch.as_tensor(weights / math.sqrt(2 * math.pi))
    u = np.linspace(-_REACH, _REACH, count)
    return torch.as_tensor(u), torch.as_tensor(np.exp(-0.5 * u * u) / math.sqrt(2 * math.pi) * (u[1] - u[0]))


def product(steps: Sequence[int], most: int) -> tuple[Tensor, Tensor] | None:
    """The product rule of one ladder step an axis, nodes of negligible weight left out.

    Parameters
    ----------
    steps
        For each axis a number in :data:`LADDER`.
    most
        Nodes above which to give up.

    Returns
    -------
    tuple or None
        Nodes (n, r) and weights (n,), or None where there are more than ``most``.
    """
    nodes, weights = torch.zeros(1, 0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    floor = -_PRUNED
    logarithm = torch.zeros(1, dtype=torch.float64)
    for step in steps:
        u, w = axis(step)
        relative = (w / w.max()).clamp(min=1e-300).log()
        if len(nodes) * len(u) > 20 * most:
            return None
        total = logarithm[:, None] + relative
        rows, columns = torch.nonzero(total >= floor, as_tuple=True)
        if len(rows) > most:
            return None
        nodes = torch.cat([nodes[rows], u[columns, None]], dim=1)
        weights, logarithm = weights[rows] * w[columns], total[rows, columns]
    return nodes, weights


def scrambled(dimension: int, logarithm: int, replicates: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Randomised quasi-Monte Carlo: scrambled Sobol points through the normal distribution's quantiles.

    Parameters
    ----------
    dimension
        r.
    logarithm
        2^this points each.
    replicates, seed
        Independent scramblings, whose spread is the error estimate.
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    found = []
    for replicate in range(replicates):
        points = qmc.Sobol(dimension, seed=generator(seed, replicate)).random_base2(logarithm)
        nodes = torch.as_tensor(ndtri(np.clip(points, 1e-16, 1 - 1e-16)))
        found.append((nodes, torch.full((len(nodes),), 1.0 / len(nodes), dtype=torch.float64)))
    return found
