"""Sums over the steps of gradient descent of what the network still has to learn.

On (1/2B) sum |f - y|^2 the residual eps_j = (f_j - y_j)/B of an output decays at leading order as M^t eps_j(0), with M
= 1 - eta Theta/B and Theta the NTK of the batch. At initialisation f is Gaussian with the output's kernel K, so

    sum_j E[eps_j(t) eps_j(t')^T] = M^t C M^t' / B^2,      C = n_L K + sum_j y_j y_j^T
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Eigenvalues of the NTK below this share of the largest count as 0: its entries are known to about 1e-10.
NULL = 1e-8
#: What a direction that is not learnt may hold of the residual, for training to have an end.
_UNLEARNT = 1e-7
#: Steps are doubled until every factor mu^t is below this.
_ENDED = 1e-18


@dataclass(frozen=True)
class StepSums:
    """Sums over steps t = 0..T-1 in the eigenbasis of the batch's NTK.

    Attributes
    ----------
    basis
        Eigenvectors of Theta by columns, shape (B, B).
    single
        a_p = sum_t mu_p^t, shape (B,).
    ordered
        b_pq = sum_t sum_{t' < t} mu_p^t mu_q^t', shape (B, B).
    decay
        mu_p^T, what is left of each direction, shape (B,).
    size
        B.
    """

    basis: FloatArray
    single: FloatArray
    ordered: FloatArray
    decay: FloatArray
    size: int

    def of_outputs(self) -> FloatArray:
        """sum_t M^t / B, shape (B, B): what maps f(0) to the sum of residuals."""
        return np.asarray((self.basis * self.single) @ self.basis.T / self.size)

    def of_pairs(self, covariance: FloatArray) -> FloatArray:
        """sum_{t, t'} M^t C M^t' / B^2 for a symmetric C."""
        return self._transformed(covariance, np.outer(self.single, self.single))

    def of_ordered_pairs(self, covariance: FloatArray) -> FloatArray:
        """sum_t sum_{t' < t} M^t C M^t' / B^2; rows belong to the later step t."""
        return self._transformed(covariance, self.ordered)

    def remaining(self, covariance: FloatArray) -> float:
        """tr M^T C M^T after the last step: B^2 sum_j E|eps_j(T)|^2."""
        held = ((self.basis.T @ covariance) * self.basis.T).sum(1)
        return float(held @ self.decay**2)

    def _transformed(self, covariance: FloatArray, weights: FloatArray) -> FloatArray:
        inside = self.basis.T @ covariance @ self.basis * weights
        return np.asarray(self.basis @ inside @ self.basis.T / self.size**2)


def step_sums(ntk: FloatArray, covariance: FloatArray, learning_rate: float, steps: int | None) -> StepSums:
    """The sums for ``steps`` steps, by doubling; ``None`` is training to its end.

    Parameters
    ----------
    ntk
        Theta on the batch, shape (B, B).
    covariance
        C, shape (B, B): what there is to learn, which decides whether training has an end.
    learning_rate
        eta.
    steps
        T, 0 or more, or None.

    Raises
    ------
    ValueError
        ``steps`` is None, and training has no end: the rate is beyond the edge, or the NTK is singular in a direction
        that the residual has.
    """
    values, basis = np.linalg.eigh(0.5 * (ntk + ntk.T))
    learnt = values > NULL * max(float(values[-1]), 0.0)
    factors = 1.0 - learning_rate * np.where(learnt, values, 0.0) / len(ntk)
    learnt &= factors < 1.0  # a rate so small that a direction does not move at all
    if steps is None:
        _check_end(factors, learnt, basis, covariance, learning_rate)
        slowest = float(np.abs(factors[learnt]).max(initial=0.0))
        steps = 2
        while slowest**steps > _ENDED:
            steps *= 2
        single, ordered, decay = _run(np.where(learnt, factors, 0.0), steps)
        # Nothing is held by the directions that are not learnt, and nothing moves along them.
        single, ordered = np.where(learnt, single, 0.0), ordered * np.outer(learnt, learnt)
    else:
        single, ordered, decay = _run(factors, steps)
    return StepSums(basis, single, ordered, decay, len(ntk))


def _check_end(
    factors: FloatArray, learnt: NDArray[np.bool_], basis: FloatArray, covariance: FloatArray, learning_rate: float
) -> None:
    if bool((np.abs(factors[learnt]) >= 1.0).any()):
        raise ValueError(
            f"learning_rate is {learning_rate:g}, at or beyond the edge of stability: training has no end; give a "
            "number of steps, or a smaller rate"
        )
    held = ((basis.T @ covariance) * basis.T).sum(1)
    if bool((held[~learnt] > _UNLEARNT * max(float(held.sum()), 1e-300)).any()):
        raise ValueError(
            "steps must be a number here: the NTK is singular on these inputs (equal inputs with different targets, or "
            "more inputs than it can tell apart), so that training has no end"
        )


_Run = tuple[FloatArray, FloatArray, FloatArray]


def _run(factors: FloatArray, steps: int) -> _Run:
    """(a, b, mu^T) of :class:`StepSums`, from the binary digits of the number of steps."""
    ones, zeros = np.ones_like(factors), np.zeros((len(factors), len(factors)))
    found: _Run = (0.0 * ones, zeros, ones)
    for digit in bin(steps)[2:]:
        found = _joined(found, found)
        if digit == "1":
            found = _joined(found, (ones, zeros, factors))
    return found


def _joined(first: _Run, second: _Run) -> _Run:
    """A run of s steps after one of r: a = a_r + mu^r a_s, b = b_r + mu_p^r (a_s,p a_r,q + mu_q^r b_s)."""
    (a, b, decay), (a2, b2, decay2) = first, second
    return a + decay * a2, b + decay[:, None] * (np.outer(a2, a) + decay * b2), decay * decay2
