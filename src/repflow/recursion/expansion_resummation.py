"""Sums of a series in 1/n that is asymptotic, and the cumulants of log G.

Beyond the smallest term more orders make a truncated series worse. Two ways on, both from the same coefficients:

- the **exponential form**: log E[G^m] is expanded in place of E[G^m]. Near criticality G is close to a product of
  independent factors, one a layer, so log E[G^m] is a sum over layers, whose terms fall as powers of 1/n and not of
  L/n; and moments stay positive.
- **Padé**: the ratio of polynomials with the same expansion, as near to the diagonal as the order allows.
"""

from __future__ import annotations

import math

import numpy as np

from repflow.recursion.expansion_algebra import Array, Monomials, exponential, logarithm, truncated_product

# Singular values of Padé's equations below this, in units of the largest coefficient, are rounding.
_DEPENDENT = 1e-11
#: The ways of summing that are known.
METHODS = ("truncated", "exponential", "pade", "borel")


def central_moments(cumulants: Array, highest: int) -> Array:
    """E[delta^r], r = 0..highest, of cumulants over m! by powers of 1/n, shape (k + 2, k + 1); (highest + 1, k + 1)."""
    powers = cumulants.shape[1]
    monomials = Monomials(1, highest)
    wide = np.zeros((highest + 1, powers))
    count = min(len(cumulants), highest + 1)
    wide[:count] = cumulants[:count]
    one = np.zeros(powers)
    one[0] = 1.0
    return exponential(monomials, wide, truncated_product, one) * monomials.factorials[:, None]


def log_cumulants(cumulants: Array, kernel: float) -> Array:
    """Cumulants of log G - log K by powers of 1/n, from those of G - K over m!; shape (k + 2, k + 1), over m! too.

    E[(G/K)^s] = sum_r binom(s, r) E[delta^r]/K^r, and its logarithm as a series in s.
    """
    order = cumulants.shape[1] - 1
    raw = central_moments(cumulants, 2 * order)
    series = np.zeros((order + 2, order + 1))
    binomial = np.zeros(order + 2)  # binom(s, r) as a polynomial in s
    binomial[0] = 1.0
    for r in range(2 * order + 1):
        series += binomial[:, None] * (raw[r] / kernel**r)[None, :]
        shifted = np.concatenate([[0.0], binomial[:-1]])
        binomial = (shifted - r * binomial) / (r + 1)
    return logarithm(Monomials(1, order + 1), series, truncated_product)


def log_moments(cumulants: Array, kernel: float, highest: int) -> Array:
    """log(E[G^m]/K^m) by powers of 1/n, m = 0..highest; shape (highest + 1, k + 1)."""
    out = np.zeros((highest + 1, cumulants.shape[1]))
    raw = central_moments(cumulants, highest)
    for m in range(1, highest + 1):
        series = sum(math.comb(m, r) * raw[r] / kernel**r for r in range(m + 1))
        out[m] = _log_of_series(np.asarray(series))
    return out


def _log_of_series(series: Array) -> Array:
    out = np.zeros_like(series)
    for j in range(1, len(series)):
        out[j] = series[j] - sum(i * out[i] * series[j - i] for i in range(1, j)) / j
    return out


def exponential_form(cumulants: Array, kernel: float, m: int, order: int) -> float:
    """The m-th cumulant of G with every log E[G^j] cut at ``order``."""
    logs = log_moments(cumulants, kernel, m)[:, : order + 1].sum(axis=1)
    with np.errstate(over="ignore"):
        moments = np.exp(logs)  # in units of K^j
    if not np.isfinite(moments).all():
        return math.nan
    kappa = [0.0] * (m + 1)
    for j in range(1, m + 1):
        lower = sum(math.comb(j - 1, i - 1) * kappa[i] * moments[j - i] for i in range(1, j))
        kappa[j] = float(moments[j]) - lower
    return kappa[m] * kernel**m


def pade(coefficients: Array) -> float:
    """Sum at 1 of a series by its Padé approximant [p/q] with p + q its degree and q = p or p - 1.

    It is NaN where the approximant doesn't exist.
    """
    fraction = _approximant(coefficients)
    if fraction is None:
        return math.nan
    above, below = (float(part.sum()) for part in fraction)
    return above / below if below else math.nan


def borel(coefficients: Array) -> float:
    """Sum at 1 by Borel and Padé: the integral of exp(-t) times the Padé approximant of sum_j c_j t^j/j!.

    It is NaN where the approximant doesn't exist or has a pole on the way.
    """
    factorials = np.array([math.factorial(j) for j in range(len(coefficients))], dtype=np.float64)
    fraction = _approximant(coefficients / factorials)
    if fraction is None:
        return math.nan
    above, below = fraction
    poles = np.roots(np.trim_zeros(below[::-1], "f")) if len(below) > 1 else np.empty(0)
    if bool((np.isreal(poles) & (poles.real > 0)).any()):
        return math.nan
    t, w = np.polynomial.laguerre.laggauss(80)
    values = np.polynomial.polynomial.polyval(t, above) / np.polynomial.polynomial.polyval(t, below)
    return float(w @ values)


def _approximant(coefficients: Array) -> tuple[Array, Array] | None:
    """Numerator and denominator, lowest power first."""
    degree = len(coefficients) - 1
    if degree <= 0 or not coefficients[1:].any():
        return coefficients[:1], np.ones(1)
    q = degree // 2
    p = degree - q
    # sum_j b_j c_{i-j} = 0 for i = p+1..p+q, b_0 = 1: solved in units in which all coefficients are of one size.
    sizes = np.abs(coefficients[coefficients != 0])
    unit = (sizes[-1] / sizes[0]) ** (1.0 / max(len(sizes) - 1, 1))
    c = coefficients / unit ** np.arange(degree + 1)
    below = np.ones(1)
    if q:
        # Where the series is that of a lower rational function the equations are dependent: as many as are not.
        q = int(np.linalg.matrix_rank(_toeplitz(c, p, q), tol=_DEPENDENT * np.abs(c).max()))
    if q:
        try:
            below = np.concatenate([[1.0], np.linalg.solve(_toeplitz(c, p, q), -c[p + 1 : p + q + 1])])
        except np.linalg.LinAlgError:
            return None
    above = np.convolve(below, c)[: p + 1]
    return above * unit ** np.arange(p + 1), below * unit ** np.arange(q + 1)


def _toeplitz(c: Array, p: int, q: int) -> Array:
    return np.array([[c[i - j] if i >= j else 0.0 for j in range(1, q + 1)] for i in range(p + 1, p + q + 1)])
