"""The best compromise where no critical point exists.

At a kernel K both susceptibilities are proportional to C_W, and C_b = K - C_W <s s> must not be negative. So for each K
the best C_W follows in closed form: |log chi_parallel| and |log chi_perpendicular| are |t + const| in t = log C_W, the
larger of them is convex with its minimum where chi_parallel chi_perpendicular = 1, and what C_b and stability allow is
t <= t_max. What remains is a search in K.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from repflow.activation import Activation
from repflow.criticality.susceptibility import FloatArray, Moments, correlation_length, moments

#: Kernels considered, and the largest chi_parallel that counts as stable: closer to 1, an unstable fixed point may sit
#: within the fluctuations of a network of any usual width.
SMALLEST_K, LARGEST_K, MARGIN = 1e-2, 1e2, 0.99
_PER_DECADE = 40


@dataclass(frozen=True)
class Compromise:
    """Couplings that maximise min(xi_parallel, xi_perpendicular) at a stable fixed point.

    Attributes
    ----------
    C_W, C_b, K_star
        Couplings and their fixed point, 0.01 <= K* <= 100.
    chi_parallel, chi_perpendicular
        Susceptibilities there; chi_parallel at most 0.99.
    limited_by
        What keeps the lengths from growing further: ``"stability"`` (chi_parallel at 0.99), ``"range"`` (K* at the end
        of the range) or ``"balance"`` (one susceptibility too small while the other is too large, or C_b = 0).
    """

    C_W: float
    C_b: float
    K_star: float
    chi_parallel: float
    chi_perpendicular: float
    limited_by: str

    @property
    def xi_parallel(self) -> float:
        """Correlation length of the norm."""
        return float(correlation_length(self.chi_parallel))

    @property
    def xi_perpendicular(self) -> float:
        """Correlation length of the direction."""
        return float(correlation_length(self.chi_perpendicular))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return asdict(self)


def _weights(at: Moments) -> tuple[FloatArray, FloatArray]:
    """At each K the best log C_W, and max(|log chi_parallel|, |log chi_perpendicular|) there."""
    with np.errstate(divide="ignore", invalid="ignore"):
        parallel = np.log(np.abs(at.square_K))
        perpendicular = np.log(at.slope)
        bias = np.log(at.K / at.square)
        stable = math.log(MARGIN) - parallel
        highest = np.minimum(bias, stable)
        jump = ~np.isfinite(perpendicular)
        # At a jump chi_perpendicular is infinite whatever C_W is: only the norm's length is left to choose.
        middle = np.where(jump, -parallel, -0.5 * (parallel + perpendicular))
        t = np.minimum(highest, middle)
        t = np.where(np.isfinite(t), t, bias)
        rate = np.where(jump, np.abs(t + parallel), np.maximum(np.abs(t + parallel), np.abs(t + perpendicular)))
    # A derivative of rounding size is no derivative: its length is 0.
    return t, np.where((np.abs(at.square_K) < 1e-13 * at.square / at.K) | ~at.resolved, math.inf, rate)


def best_compromise(activation: Activation) -> Compromise | None:
    """The best couplings; of equally good ones those with K* nearest to 1; None where <s s> is zero or overflows."""
    decades = round(math.log10(LARGEST_K / SMALLEST_K))
    grid = np.geomspace(SMALLEST_K, LARGEST_K, decades * _PER_DECADE + 1)
    at = moments(activation, grid)
    usable = at.resolved & (at.square > 0)
    if not usable.any():
        return None
    grid, at = grid[usable], moments(activation, grid[usable])
    _, rate = _weights(at)
    best = float(np.min(rate))
    ties = np.flatnonzero(rate <= best * (1 + 1e-9)) if math.isfinite(best) else np.arange(len(grid))
    index = int(ties[np.argmin(np.abs(np.log(grid[ties])))])
    K = float(grid[index])
    interior = 0 < index < len(grid) - 1
    if interior and len(ties) == 1:
        found = minimize_scalar(
            lambda x: float(_weights(moments(activation, math.exp(x)))[1][0]),
            bounds=(math.log(grid[index - 1]), math.log(grid[index + 1])),
            method="bounded",
            options={"xatol": 1e-10},
        )
        if found.fun <= best:
            K = math.exp(found.x)
    local = moments(activation, K)
    C_W = math.exp(float(_weights(local)[0][0]))
    parallel, perpendicular = C_W * float(local.square_K[0]), C_W * float(local.slope[0])
    if abs(parallel) < 1e-12:
        parallel = 0.0
    limited = "range" if not interior else "stability" if abs(parallel) > MARGIN - 1e-6 else "balance"
    return Compromise(C_W, max(0.0, K - C_W * float(local.square[0])), K, parallel, perpendicular, limited)
