"""Deep and wide at once: the whole law of one input's Gram entry at depth L = tau n, in the K* = 0 class.

The expansion in 1/n at fixed depth has terms (L/n)^k. All of them at once: let n and L grow with tau = L/n fixed, at
critical couplings C_W = (1 + c/n)/sigma'(0)^2, C_b = 0, with sigma smooth at 0. Once K is small a layer does

    G' = G [1 - alpha G + c/n + (2/n)^(1/2) w],        w of mean 0 and variance 1,

(F(K) = K - alpha K^2 + ..., and C2/K^2 = 2 as for a linear layer), so that u = n alpha G obeys the stochastic
differential equation du = (c u - u^2) dtau + sqrt(2) u dB. It comes from K = O(1), which is u = infinity at tau = 0,
and its solution from there is

    1/u = A_tau,     A_tau = int_0^tau exp[(1 - c) t + sqrt(2) B_t] dt        (in law)

an exponential functional of Brownian motion. **Nothing of sigma is left but alpha**, which sets the unit of G: one law
for the whole class. At small tau: K = 1/(alpha L), E[A/tau] = 1 + (2 - c) tau/2, Var G/K^2 = 2 tau/3 (PDLT section
5.4's V/(n K^2)). E[A] = (exp[(2 - c) tau] - 1)/(2 - c) exactly. At large tau, log A grows as (1 - c) tau for c < 1.

The scale-invariant class has such a limit too: log G is Gaussian of mean -nu tau/2 and variance nu tau, nu = V/(K^2 l).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

FloatArray = NDArray[np.float64]

_START = 1e-3  # tau where the Gaussian of small tau is handed over: its own error is of order tau
_STEP_LOG_TAU, _CELL = 0.01, 0.005
_LARGEST = 6.0


@dataclass(frozen=True)
class DoubleScaling:
    """The law of w = log(G/K), K = 1/(alpha L) the kernel of infinite width, at L = tau n.

    Made by :func:`double_scaling`.

    Attributes
    ----------
    ratio
        tau = L/n.
    shift
        c.
    log_gram
        Cell centres of w, shape (M,).
    probability
        Of each cell, shape (M,).
    """

    ratio: float
    shift: float
    log_gram: FloatArray
    probability: FloatArray

    def expect(self, values: FloatArray) -> float:
        """Expectation of values at the cells, shape (M,)."""
        return float(self.probability @ values)

    @property
    def mean(self) -> float:
        """E[G]/K."""
        return self.expect(np.exp(self.log_gram))

    @property
    def variance(self) -> float:
        """Var G/K^2."""
        return self.expect(np.exp(2.0 * self.log_gram)) - self.mean**2

    @property
    def mean_log(self) -> float:
        """E[log(G/K)]."""
        return self.expect(self.log_gram)

    @property
    def variance_log(self) -> float:
        """Var[log G]."""
        return self.expect((self.log_gram - self.mean_log) ** 2)

    @property
    def median(self) -> float:
        """Median of G, over K."""
        return math.exp(self._quantile(self.probability, 0.5))

    @property
    def half_of_mean(self) -> float:
        """Share of networks, those with the largest G, that carries half of the mean of G."""
        carried = self.probability * np.exp(self.log_gram)
        threshold = self._quantile(carried / carried.sum(), 0.5)
        edges = self.log_gram + 0.5 * _CELL
        return float(1.0 - np.interp(threshold, edges, np.cumsum(self.probability)))

    def _quantile(self, probability: FloatArray, share: float) -> float:
        below = np.cumsum(probability)
        some = probability > 1e-14  # strictly increasing there
        return float(np.interp(share, below[some], self.log_gram[some] + 0.5 * _CELL))


def double_scaling(ratios: float | list[float] | FloatArray, shift: float = 0.0) -> list[DoubleScaling]:
    """The law of G at each L/n, in the limit of deep and wide networks of the K* = 0 class (smooth at 0).

    The Fokker-Planck equation of w = log(u tau) in s = log tau, dw = [1 - e^w + (c - 1) e^s] ds + sqrt(2 e^s) dB, by
    finite volumes and Crank-Nicolson steps from the Gaussian of small tau.

    Parameters
    ----------
    ratios
        L/n, one number or more, from 0.01 to 6, in any order.
    shift
        c in C_W = (1 + c/n)/sigma'(0)^2, from -2 to 2; 0 for the critical couplings of order 0, 2/3 for those of order
        1 that keep the mean at K for small L/n.

    Returns
    -------
    list of DoubleScaling
        In the order given.

    Raises
    ------
    ValueError
        A number is out of its range.
    """
    wanted = np.atleast_1d(np.asarray(ratios, dtype=np.float64))
    if wanted.ndim != 1 or not len(wanted) or not ((wanted >= 0.01) & (wanted <= _LARGEST)).all():
        raise ValueError(f"ratios must hold values of L/n from 0.01 to {_LARGEST:g}, got {ratios!r}")
    if not -2.0 <= shift <= 2.0:
        raise ValueError(f"shift must be from -2 to 2, got {shift!r}")
    largest = float(wanted.max())
    # log A has drift up to 1 - c and a spread of sqrt(2 tau): nine standard deviations on each side and that drift.
    reach = 9.0 * math.sqrt(2.0 * max(largest, 0.2))
    low = -(1.0 + abs(1.0 - shift)) * largest - reach
    edges = np.arange(low, min(reach, 0.5 * reach + 4.0) + abs(shift) * largest, _CELL)
    centre = 0.5 * (edges[1:] + edges[:-1])
    mean = -((2.0 - shift) / 2.0 - 1.0 / 3.0) * _START
    p = np.exp(-0.75 * (centre - mean) ** 2 / _START)
    p /= p.sum()
    s, found = math.log(_START), {}
    for goal in np.unique(wanted):
        steps = max(1, math.ceil((math.log(goal) - s) / _STEP_LOG_TAU))
        step = (math.log(goal) - s) / steps
        for _ in range(steps):
            p = _advance(p, edges, s + 0.5 * step, step, shift)
            s += step
        found[float(goal)] = DoubleScaling(float(goal), float(shift), centre, p)
    return [found[float(goal)] for goal in wanted]


def _advance(p: FloatArray, edges: FloatArray, s: float, step: float, shift: float) -> FloatArray:
    """One Crank-Nicolson step of p_s = -(drift p)_w + e^s p_ww, no flux through the ends."""
    inner = edges[1:-1]
    drift, spread = 1.0 - np.exp(inner) + (shift - 1.0) * math.exp(s), math.exp(s) / _CELL
    # Exponential fitting (Scharfetter and Gummel): exact fluxes at constant drift, so no negative probabilities where
    # the drift is strong.
    local = np.clip(drift * _CELL / math.exp(s), -500.0, 500.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.where(np.abs(local) < 1e-8, 1.0 + 0.5 * local, local / -np.expm1(-local))
    right, left = spread * out / _CELL, spread * (out - local) / _CELL  # rates j -> j + 1 and j + 1 -> j
    size = len(p)
    bands = np.zeros((3, size))
    bands[0, 1:], bands[2, :-1] = left, right
    bands[1, :-1] -= right
    bands[1, 1:] -= left
    change = bands[1] * p
    change[:-1] += bands[0, 1:] * p[1:]
    change[1:] += bands[2, :-1] * p[:-1]
    matrix = -0.5 * step * bands
    matrix[1] += 1.0
    return np.asarray(solve_banded((1, 1), matrix, p + 0.5 * step * change))
