"""Rotating a bivariate Hermite series: inside one degree, by phases between two fixed orthogonal matrices.

The functions h_j(u_1) h_k(u_2) with j + k = d transform among themselves when u is rotated. In the basis
zeta^(d-m) zetabar^m with zeta = (u_1 + i u_2)/sqrt(2), a rotation by theta multiplies by exp(i theta (d - 2m)). The
matrix between the two bases is i^k V_km with V the symmetric Krawtchouk matrix, the d-th symmetric power of
[[1, 1], [1, -1]]/sqrt(2), also known as Wigner's d-matrix at pi/2. Coefficients being real, m and d - m are conjugate,
and even k meet real parts only, odd k imaginary ones: two real matrices of half the size.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=2048)
def _krawtchouk(degree: int) -> np.ndarray:
    """V_km for m <= d/2, k = 0..d, shape (d + 1, d // 2 + 1), columns by frequency d - 2m ascending."""
    frequency = np.arange(degree % 2, degree + 1, 2)
    m = (degree - frequency) // 2
    log_binomial = [
        math.lgamma(degree + 1) - math.lgamma(i + 1) - math.lgamma(degree - i + 1) - degree * math.log(2) for i in m
    ]
    v = np.zeros((degree + 1, len(m)))
    v[0] = np.exp(0.5 * np.asarray(log_binomial))
    # J_x v = (d/2 - m) v, component by component: it grows out of k = 0 up to the middle, which is the stable way.
    half = degree // 2
    for k in range(half):
        below = math.sqrt(k * (degree - k + 1)) * v[k - 1] if k else 0.0
        v[k + 1] = (frequency * v[k] - below) / math.sqrt((k + 1) * (degree - k))
    sign = np.where(m % 2, -1.0, 1.0)
    for k in range(half + 1, degree + 1):
        v[k] = sign * v[degree - k]
    return v


@lru_cache(maxsize=2048)
def matrices(degree: int, device: str) -> tuple[Tensor, Tensor]:
    """The orthogonal maps from real and imaginary parts to even and odd k.

    Returns
    -------
    even, odd
        Shapes (d // 2 + 1, d // 2 + 1) and (d // 2 + 1, (d + 1) // 2): row t belongs to the frequency d mod 2 + 2t,
        columns to k = 0, 2, ... and k = 1, 3, .... The row of frequency 0 of ``odd`` is zero.
    """
    v = _krawtchouk(degree)
    scale = np.full(v.shape[1], math.sqrt(2.0))
    if degree % 2 == 0:
        scale[0] = 1.0
    even, odd = (v[0::2] * scale).T.copy(), (v[1::2] * scale).T.copy()
    even *= (-1.0) ** np.arange(even.shape[1])
    odd *= (-1.0) ** np.arange(odd.shape[1])
    if degree % 2 == 0:
        odd[0] = 0.0
    return torch.as_tensor(even, device=device), torch.as_tensor(odd, device=device)


def to_harmonics(coefficients: Tensor, degree: int) -> Tensor:
    """Real and imaginary parts of one degree.

    Parameters
    ----------
    coefficients
        Of h_j(u_1) h_k(u_2), shape (..., d + 1) by k.
    degree
        d.

    Returns
    -------
    Tensor
        Shape (..., 2, d // 2 + 1).
    """
    even, odd = matrices(degree, str(coefficients.device))
    return torch.stack([coefficients[..., 0::2] @ even.T, coefficients[..., 1::2] @ odd.T], dim=-2)
