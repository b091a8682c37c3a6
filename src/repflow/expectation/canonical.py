"""Canonical coordinates of two pairs of Gaussian variables: z_12 = A u, z_34 = B w with <u_k w_k'> = c_k delta_kk'.

Whitening each pair and rotating by the singular vectors of the cross-covariance (Hotelling 1936) leaves two canonical
correlations 1 >= c_1 >= c_2 >= 0, so that a four-point expectation becomes a sum over products of two Hermite
coefficients, weighted by c_1^j c_2^k. Nothing is divided by a determinant: a direction without variance is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Share of a pair's variance below which its second direction counts as absent.
_ABSENT = 1e-14


@dataclass
class Canonical:
    """Loadings of the four variables and the canonical correlations.

    Attributes
    ----------
    first, second
        A and B, shape (M, 2, 2): ``first[m, i, k]`` multiplies u_k in z_i.
    correlation
        (c_1, c_2), shape (M, 2).
    """

    first: Tensor
    second: Tensor
    correlation: Tensor


def principal(k: Tensor) -> tuple[Tensor, Tensor]:
    """Loadings V sqrt(lambda) of 2 x 2 covariances (M, 2, 2), and their pseudo-inverses."""
    values, vectors = torch.linalg.eigh(k)
    values, vectors = values.flip(-1), vectors.flip(-1)
    keep = values > _ABSENT * values[:, :1].clamp(min=1e-300)
    root = torch.where(keep, values.clamp(min=0.0), 0.0).sqrt()
    inverse = torch.where(keep, 1.0 / torch.where(keep, root, 1.0), 0.0)
    return vectors * root[:, None, :], vectors * inverse[:, None, :]


def canonical(covariance: Tensor) -> Canonical:
    """Canonical coordinates of the pairs (1, 2) and (3, 4) of four variables, covariance of shape (M, 4, 4)."""
    a, a_inverse = principal(covariance[:, :2, :2])
    b, b_inverse = principal(covariance[:, 2:, 2:])
    cross = a_inverse.mT @ covariance[:, :2, 2:] @ b_inverse
    u, c, vt = torch.linalg.svd(cross)
    return Canonical(a @ u, b @ vt.mT, c.clamp(max=1.0))


#: The ways to pair four variables.
PAIRINGS = ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2))


def arrange(covariance: Tensor, order: tuple[int, ...]) -> Tensor:
    """Covariances (M, 4, 4) with the variables in another order."""
    return covariance[:, list(order)][:, :, list(order)]


def least_correlated_pairing(covariance: Tensor) -> Tensor:
    """Number in PAIRINGS of the pairing with the smallest c_1, for covariances (M, 4, 4); shape (M,)."""
    return torch.stack([largest_correlation(arrange(covariance, order)) for order in PAIRINGS]).argmin(0)


def arranged(covariance: Tensor, orders: Sequence[tuple[int, ...]], which: Tensor) -> Tensor:
    """Covariances (M, 4, 4), each in the order ``orders[which[m]]``."""
    order = torch.tensor(orders, device=covariance.device)[which]
    rows = covariance.gather(1, order[:, :, None].expand(-1, -1, 4))
    return rows.gather(2, order[:, None, :].expand(-1, 4, -1))


def rearranged_columns(arrangements: Sequence[tuple[int, ...]], orders: Sequence[tuple[int, ...]]) -> Tensor:
    """Where the column of each arrangement of four functions goes when the variables are taken in another order, shape
    (orders, C); with each arrangement all its permutations are listed.
    """
    place = {tuple(arrangement): number for number, arrangement in enumerate(arrangements)}
    return torch.tensor([[place[tuple(o[i] for i in order)] for o in arrangements] for order in orders])


def largest_correlation(covariance: Tensor) -> Tensor:
    """c_1 of the pairs (1, 2) and (3, 4), shape (M,)."""
    _, a = principal(covariance[:, :2, :2])
    _, b = principal(covariance[:, 2:, 2:])
    cross = a.mT @ covariance[:, :2, 2:] @ b
    # Singular values of a 2 x 2 matrix: half the sum and difference of two hypotenuses.
    p, q = cross[:, 0, 0], cross[:, 0, 1]
    r, s = cross[:, 1, 0], cross[:, 1, 1]
    return (0.5 * (torch.hypot(p + s, q - r) + torch.hypot(p - s, q + r))).clamp(max=1.0)
