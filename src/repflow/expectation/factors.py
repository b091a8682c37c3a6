"""A kernel split into common and private variance: K = A A^T + diag(D), so that z = A u + sqrt(D) e.

The private parts e_a are independent of everything, so functions of one z_a can be averaged over them beforehand, which
smooths their kinks, and only the few common variables u are left to integrate over. D is a common multiple of the
variances that inputs have given all the others, the largest that leaves the rest positive semidefinite: it is no less
than 1/N of them, and the rest has one dimension less than K.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Share of the largest eigenvalue of a correlation matrix below which a direction counts as absent.
_ABSENT = 1e-14
#: Share of a variance below which nothing is private.
_PRIVATE = 1e-11
_SINGULAR = 1e-13


@dataclass
class Factors:
    """K = A A^T + diag(D).

    Attributes
    ----------
    loading
        A, shape (N, r); its columns are ordered by how much functions of z vary along them, the most first.
    private
        D, shape (N,).
    """

    loading: Tensor
    private: Tensor


def factorise(kernel: Tensor, private: bool, smooth: bool) -> Factors:
    """Split a kernel (N, N), D = 0 unless ``private``; ``smooth`` functions vary on a scale of one by themselves."""
    variance = kernel.diagonal().clamp(min=0.0)
    size = variance.sqrt()
    inverse = torch.where(size > 0, 1.0 / size.clamp(min=1e-300), 0.0)
    correlation = kernel * inverse[:, None] * inverse
    share = _private_share(correlation) if private else torch.zeros_like(variance)
    rest = correlation - torch.diag(share)
    # In units in which functions of each z vary on a scale of one, smoothed ones on that of their private spread.
    own = 1.0 / variance.clamp(min=1.0) if smooth else torch.where(share > 0, 0.0, 1.0)
    unit = (share + own).sqrt()
    values, vectors = torch.linalg.eigh(rest / unit[:, None] / unit)
    values, vectors = values.flip(0), vectors.flip(1)
    keep = values > _ABSENT * values[:1].clamp(min=1e-300) * len(values)
    loading = size[:, None] * unit[:, None] * vectors[:, keep] * values[keep].sqrt()
    return Factors(loading, share * variance)


def _private_share(correlation: Tensor) -> Tensor:
    """D in units of the variances."""
    live = correlation.diagonal() > 0
    share = torch.zeros_like(correlation.diagonal())
    if not bool(live.any()):
        return share
    index = torch.nonzero(live).ravel()
    inner = correlation[index[:, None], index]
    values, vectors = torch.linalg.eigh(inner)
    if float(values[0]) <= _SINGULAR * float(values[-1]):
        # Inputs that depend on others linearly have no variance of their own; the rest may.
        null = values <= _SINGULAR * values[-1]
        bound = (vectors[:, null] ** 2).sum(1) > _PRIVATE
        free = torch.nonzero(~bound).ravel()
        if not len(free):
            return share
        given = torch.where(null, 0.0, 1.0 / values.clamp(min=1e-300))
        conditional = torch.zeros_like(values)
        conditional[free] = 1.0 / ((vectors**2) @ given)[free]
        scale = 1.0 / len(index)
        share[index] = torch.where(conditional * scale > _PRIVATE, conditional * scale * (1 - 1e-9), 0.0)
        return share
    conditional = 1.0 / ((vectors**2) @ (1.0 / values))
    root = conditional.sqrt()
    # Generalised eigenvalues of (K, diag(conditional)): the smallest is the largest common multiple.
    scale = float(torch.linalg.eigvalsh(inner / root[:, None] / root)[0])
    share[index] = torch.where(conditional * scale > _PRIVATE, conditional * scale, 0.0)
    return share
