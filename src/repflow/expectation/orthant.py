"""Orthant probabilities of four Gaussian variables: <s_1 s_2 s_3 s_4> of the perceptron.

With signs e_i = sgn z_i, <theta theta theta theta> = (1 + sum_{i<j} <e_i e_j> + <e_1 e_2 e_3 e_4>)/16, the odd moments
being zero, and <e_i e_j> = (2/pi) asin rho_ij (Sheppard 1899). The last moment is integrated along the path that
switches the covariances between the pairs (1, 2) and (3, 4) on (Plackett 1954):

    d<e_1 e_2 e_3 e_4>/dt = sum_{i in 12, j in 34} rho_ij 4 p_ij(0, 0) <e_k e_l | z_i = z_j = 0>,

a smooth integrand in one variable, with every factor in closed form.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_NODES = 96
_COLLINEAR = 1e-12


def _arcsine(x: Tensor) -> Tensor:
    return 2 / math.pi * torch.asin(x.clamp(-1.0, 1.0))


def four_signs(correlation: Tensor) -> Tensor:
    """<e_1 e_2 e_3 e_4> for correlation matrices (M, 4, 4), integrated over the pairs (1, 2) and (3, 4); shape (M,)."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    v = torch.as_tensor(0.5 * (nodes + 1), device=correlation.device)
    # t = 1 - (1 - v)^3 takes out the root singularity at t = 1, where a pair across becomes collinear.
    t = 1 - (1 - v) ** 3
    w = torch.as_tensor(0.5 * weights, device=correlation.device) * 3 * (1 - v) ** 2
    r12, r34 = correlation[:, 0, 1, None], correlation[:, 2, 3, None]
    total = _arcsine(r12[:, 0]) * _arcsine(r34[:, 0])
    for i, k in ((0, 1), (1, 0)):
        for j, m in ((2, 3), (3, 2)):
            rij, rkm = correlation[:, i, j, None] * t, correlation[:, k, m, None] * t
            rim, rkj = correlation[:, i, m, None] * t, correlation[:, k, j, None] * t
            open_ = (1 - rij**2).clamp(min=1e-30)
            # Covariance of (k, m) given z_i = z_j = 0.
            kk = 1 - (r12**2 + rkj**2 - 2 * rij * r12 * rkj) / open_
            mm = 1 - (rim**2 + r34**2 - 2 * rij * rim * r34) / open_
            km = rkm - (r12 * rim + rkj * r34 - rij * (r12 * r34 + rkj * rim)) / open_
            scale = (kk.clamp(min=0.0) * mm.clamp(min=0.0)).sqrt()
            given = torch.where(scale > 1e-14, km / scale.clamp(min=1e-14), 0.0)
            rate = correlation[:, i, j, None] * 2 / (math.pi * open_.sqrt()) * _arcsine(given)
            total = total + (rate * w).sum(1)
    # Signs of a collinear pair multiply to a constant, where the integrand would be 0/0.
    for own, other in ((r12[:, 0], r34[:, 0]), (r34[:, 0], r12[:, 0])):
        total = torch.where(own.abs() > 1 - _COLLINEAR, torch.sign(own) * _arcsine(other), total)
    return total


def four_steps(covariance: Tensor) -> Tensor:
    """Probability that four Gaussian variables of mean zero are all positive, covariances (M, 4, 4); shape (M,).

    A variable of variance 0 is never positive.
    """
    variance = covariance.diagonal(dim1=1, dim2=2)
    root = variance.clamp(min=1e-300).sqrt()
    correlation = (covariance / root[:, :, None] / root[:, None, :]).clamp(-1.0, 1.0)
    pairings = torch.tensor([[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2]], device=covariance.device)
    within = torch.stack([correlation[:, p[0], p[1]].abs() + correlation[:, p[2], p[3]].abs() for p in pairings], dim=1)
    order = pairings[within.argmax(1)]  # the pairs that are correlated most stay together
    rows = correlation.gather(1, order[:, :, None].expand(-1, -1, 4))
    arranged = rows.gather(2, order[:, None, :].expand(-1, 4, -1))
    first, second = torch.triu_indices(4, 4, offset=1, device=covariance.device)
    pairs = _arcsine(correlation[:, first, second]).sum(1)
    probability = (1 + pairs + four_signs(arranged)) / 16
    return torch.where((variance > 0).all(1), probability, 0.0)
