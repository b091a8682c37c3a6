"""The agreement rule: when theory and ensemble count as equal, component by component.

One width: |theory - measured| <= 5 s + t with t = r_l x |the last order kept|, where the size of a component is that
of :func:`repflow.comparison.quantities.sizes`: sqrt(V_abab V_cdcd) for V_abcd, say, where its own is smaller.
Two widths n1 < n2, with c_n = n^k (statistic - lower orders) at order k: lead = (n2 c2 - n1 c1)/(n2 - n1), whose
standard error is s, and |theory - lead| <= 5 s + t with t = 0.35 |c2 - c1| + 0.002 max|lead|; theory is the k-th
coefficient. A component with s = 0 is equal or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from repflow.comparison.chi_square import Array, ChiSquare, chi_square

SIGMAS = 5.0
TRUST_ONE_WIDTH = 0.3
TRUST_TWO_WIDTHS = 0.5
ACCEPTABLE_P = 1e-3
# Relative to the layer's scale: standard errors below the first are rounding, deviations below the second are equality.
_STILL = 1e-13
_EQUAL = 1e-9


@dataclass(frozen=True)
class Components:
    """One quantity in one layer, by its independent components.

    Attributes
    ----------
    layer, quantity
        l, and a name of :data:`repflow.comparison.quantities.QUANTITIES`.
    index
        (C, 2), (C, 4) or (C, 6): inputs of each component.
    theory, measured, stderr
        (C,). With two widths these are coefficients of 1/n^k: the predicted one, the extrapolated one and its
        standard error.
    tolerance
        (C,): t, what is left to the orders not kept.
    scale
        Size of the quantity without cancellation, the unit of rounding errors.
    r
        r_l = max_a V_aaaa / (n_{l-1} K_aa^2).
    chi2
        Chi-square of the components with t < s.
    """

    layer: int
    quantity: str
    index: np.ndarray[Any, np.dtype[np.intp]]
    theory: Array
    measured: Array
    stderr: Array
    tolerance: Array
    scale: float
    r: float
    chi2: ChiSquare

    @property
    def deviation(self) -> Array:
        """Measured less theory, (C,)."""
        return np.asarray(self.measured - self.theory)

    def _in_errors(self, size: Array) -> Array:
        still = self.stderr <= _STILL * self.scale
        equal = np.abs(self.deviation) <= _EQUAL * self.scale
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.sign(self.deviation) * size / self.stderr
        return np.where(still, np.where(equal, 0.0, np.copysign(np.inf, self.deviation)), ratio)

    @property
    def z(self) -> Array:
        """(measured - theory) / s, (C,); 0 or infinite where s is 0."""
        return self._in_errors(np.abs(self.deviation))

    @property
    def z_beyond(self) -> Array:
        """The same for the part of the deviation beyond t, (C,)."""
        return self._in_errors((np.abs(self.deviation) - self.tolerance).clip(min=0.0))

    @property
    def within(self) -> bool:
        """Whether every component obeys the rule."""
        return bool((np.abs(self.z_beyond) <= SIGMAS).all())

    @property
    def worst(self) -> int:
        """Component furthest from the theory beyond t, in standard errors; of equals the one with the largest z."""
        return int(np.lexsort((np.abs(self.z), np.abs(self.z_beyond)))[-1])

    def row(self) -> dict[str, Any]:
        """One line of the table, plain data."""
        worst = self.worst
        return {
            "layer": self.layer,
            "quantity": self.quantity,
            "components": len(self.theory),
            "max_z": float(np.abs(self.z).max()),
            "max_z_beyond": float(np.abs(self.z_beyond).max()),
            "chi2": self.chi2.value,
            "dof": self.chi2.dof,
            "p_value": self.chi2.p_value,
            "r": self.r,
            "within": self.within,
            "worst_component": self.index[worst].tolist(),
            "worst_theory": float(self.theory[worst]),
            "worst_measured": float(self.measured[worst]),
            "worst_stderr": float(self.stderr[worst]),
            "worst_tolerance": float(self.tolerance[worst]),
        }


def chi_square_of(
    deviation: Array, stderr: Array, tolerance: Array, scale: float, covariance: Array, independent: int
) -> ChiSquare:
    """Chi-square of the components whose tolerance is below their standard error."""
    keep = np.flatnonzero((tolerance < stderr) & (stderr > _STILL * scale))
    return chi_square(deviation[keep], covariance[np.ix_(keep, keep)], independent)
