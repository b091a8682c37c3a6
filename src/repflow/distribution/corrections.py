"""The mean over G of a product of Gaussian densities, relative to the one at G = K: the corrections of order 1/n.

m neurons share one Gram matrix G = K + delta and are Gaussian given it. In coordinates in which K = 1, with M = sum_i
z_i z_i^T over the neurons, the log of the ratio of their densities at G and at K is

    l(delta) = sum_k (-1)^k [ m/(2k) tr delta^k - 1/2 tr(delta^k M) ]

and its mean over delta follows from the Taylor coefficients L1, L2, ... of l (each a symmetric form, affine in M):

    log E exp l = q1 + q2 + ...
    q1 = L1.G1 + 1/2 V.(L2 + L1 L1)
    q2 = L1.G2 + 1/2 (V1 + G1 G1).(L2 + L1 L1) + 1/6 (X + 3 G1 V).(L3 + 3 L2 L1 + L1 L1 L1)
         + 1/8 V V.(L4 + 4 L3 L1 + 3 L2 L2 + 6 L2 L1 L1 + L1 L1 L1 L1) - q1^2/2

q1 is of order 2 in M, so quartic in z, and q2 of order 3, sextic: in -1/2 q1^2 what is of order 4 cancels. Source: the
(1/n) expansion of the action, PDLT sections 4.1 and 4.4, here to the next order and without assuming which terms are
there.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.distribution.cumulants import GramCumulants


class Corrections:
    """q1 and q2 as functions of M, in coordinates in which K is the unit matrix.

    Parameters
    ----------
    cumulants
        Of W G W^T with W K W^T = 1.
    neurons
        m.
    """

    def __init__(self, cumulants: GramCumulants, neurons: int) -> None:
        self._m = float(neurons)
        self._c = cumulants
        self._unit = torch.eye(len(cumulants.kernel), dtype=torch.float64, device=cumulants.kernel.device)
        if cumulants.covariance1 is not None:
            self._D = _inner(cumulants.covariance1)

    def first(self, M: Float64[Tensor, "*batch N N"]) -> Float64[Tensor, "*batch"]:
        """q1, shape (...)."""
        V, mean = _known(self._c.covariance1), _known(self._c.mean1)
        B, H = self._forms(M)
        pulled = _apply(V, B)
        return _trace(mean, B) + 0.5 * (_trace(self._D, H) + _trace(pulled, B))

    def second(self, M: Float64[Tensor, "*batch N N"]) -> Float64[Tensor, "*batch"]:
        """q2, shape (...)."""
        c, m, D = self._c, self._m, self._D
        V, G1, X = _known(c.covariance1), _known(c.mean1), _known(c.third)
        G2, V1 = _known(c.mean2), _known(c.covariance2)
        B, H = self._forms(M)
        # L1(a) = tr(a B), L2(a, b) = tr(a b H)
        U = V1 + torch.einsum("ij,kl->ijkl", G1, G1)
        found = _trace(G2, B) + 0.5 * (_trace(_inner(U), H) + _trace(_apply(U, B), B))
        T = (
            X
            + torch.einsum("ij,klmn->ijklmn", G1, V)
            + torch.einsum("kl,ijmn->ijklmn", G1, V)
            + torch.einsum("mn,ijkl->ijklmn", G1, V)
        )
        chained = torch.einsum("ijjkkl->il", T)
        with_one = torch.einsum("ijklmn,...mn->...ijkl", T, B)
        found = (
            found
            + (
                3.0 * _trace(chained, M)
                - m * chained.trace()
                + 3.0 * _trace(torch.einsum("...ijjk->...ik", with_one), H)
                + torch.einsum("...ijkl,...ij,...kl->...", with_one, B, B)
            )
            / 6.0
        )
        Y = _apply(V, B)
        around = torch.einsum("ijkl,jk->il", V, D) + D @ D + torch.einsum("ijkl,jklm->im", V, V)
        fourth = m * around.trace() - 4.0 * _trace(around, M)
        sandwiched = torch.einsum("ijkl,...jk->...il", V, Y)
        third = _trace(D @ Y + Y @ D + sandwiched, M) - m * _trace(D, Y)
        twisted = torch.einsum("ijkl,...mi->...mjkl", V, H)
        crossed = torch.einsum("...mjkl,...nk->...mjnl", twisted, H)
        pairs = torch.einsum("...mjnl,jmln->...", crossed, V)
        two, one = _trace(D, H), _trace(Y, B)
        found = (
            found
            + (fourth + 4.0 * third + two**2 + 2.0 * pairs + 2.0 * two * one + 4.0 * _trace(Y @ Y, H) + one**2) / 8.0
        )
        return found - 0.5 * self.first(M) ** 2

    def _forms(self, M: Tensor) -> tuple[Tensor, Tensor]:
        """B and H, in terms of which L1(a) = tr(a B) and L2(a, b) = tr(a b H)."""
        return 0.5 * (M - self._m * self._unit), 0.5 * self._m * self._unit - M


def _known(tensor: Tensor | None) -> Tensor:
    """A cumulant that the order asked for needs."""
    assert tensor is not None, "the order asked for is above the cumulants'"
    return tensor


def _trace(a: Tensor, b: Tensor) -> Tensor:
    """tr(a b) over the last two axes, for symmetric b."""
    return (a * b).sum(dim=(-2, -1))


def _apply(V: Tensor, B: Tensor) -> Tensor:
    """sum_ij V_ijkl B_ij."""
    return torch.einsum("ijkl,...ij->...kl", V, B)


def _inner(V: Tensor) -> Tensor:
    """sum_j V_ijjk: the mean of delta delta."""
    return torch.einsum("ijjk->ik", V)
