"""Lines and powers fitted to points, with what an experiment judges by: the exponent's 95% interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.experiments.intervals import Z95, student_quantile

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class RateFit:
    """kurtosis = a n^slope (1 + b/n), fitted to its logarithm by weighted least squares.

    Attributes
    ----------
    slope, slope_error
        With its standard error.
    amplitude, next_order
        a and b.
    p_value
        Of the fit's chi-square.
    """

    slope: float
    slope_error: float
    amplitude: float
    next_order: float
    p_value: float

    def at(self, n: FloatArray) -> FloatArray:
        """The fitted kurtosis."""
        return np.asarray(self.amplitude * n**self.slope * (1.0 + self.next_order / n))


def fit_rate(n: FloatArray, kurtosis: FloatArray, error: FloatArray) -> RateFit:
    """Fit the rate at which a kurtosis falls with the width n; all arrays of shape (M,), M of 4 or more.

    The term b/n takes up the next order of 1/n, which would otherwise bend the line and bias its slope at small widths.

    Raises
    ------
    ValueError
        There are fewer than four widths, or a kurtosis or an error is not positive.
    """
    if len(n) < 4:
        raise ValueError(f"n must hold four widths or more, got {len(n)}: three numbers are fitted")
    if not ((kurtosis > 0).all() and (error > 0).all()):
        raise ValueError("kurtosis and error must be positive at every width")

    from scipy.optimize import curve_fit
    from scipy.stats import chi2

    def model(n: FloatArray, log_a: float, slope: float, b: float) -> FloatArray:
        return np.asarray(log_a + slope * np.log(n) + np.log(np.maximum(1.0 + b / n, 1e-12)))

    # From a plain power law: a start far off lets b run to where 1 + b/n is clipped.
    slope, log_a = np.polyfit(np.log(n), np.log(kurtosis), 1)
    start = (float(log_a), float(slope), 0.0)
    weight = error / kurtosis
    best, covariance = curve_fit(model, n, np.log(kurtosis), p0=start, sigma=weight, absolute_sigma=True)
    residual = float((((np.log(kurtosis) - model(n, *best)) / weight) ** 2).sum())
    return RateFit(
        slope=float(best[1]),
        slope_error=float(np.sqrt(covariance[1, 1])),
        amplitude=float(np.exp(best[0])),
        next_order=float(best[2]),
        p_value=float(chi2.sf(residual, len(n) - 3)),
    )


@dataclass(frozen=True)
class PowerLaw:
    """y proportional to x^exponent, with the exponent's 95% interval."""

    exponent: float
    interval: tuple[float, float]


def power_law(x: FloatArray, y: FloatArray, error: FloatArray) -> PowerLaw:
    """Fit a power to points of positive y with standard errors, each (M,), M of 3 or more.

    Weighted least squares in logarithms. The interval is widened by the factor by which the points scatter more than
    their errors.
    """
    log_x, log_y, weight = np.log(x), np.log(y), (y / error) ** 2
    log_x = log_x - np.average(log_x, weights=weight)
    log_y = log_y - np.average(log_y, weights=weight)
    total = float((weight * log_x**2).sum())
    exponent = float((weight * log_x * log_y).sum()) / total
    scatter = float((weight * (log_y - exponent * log_x) ** 2).sum()) / (len(x) - 2)
    half = Z95 * math.sqrt(max(1.0, scatter) / total)
    return PowerLaw(exponent, (exponent - half, exponent + half))


@dataclass(frozen=True)
class CommonSlope:
    """A common slope of several lines, with its 95% interval, and the share of the variance within them explained."""

    slope: float
    interval: tuple[float, float]
    r_squared: float


def common_slope(group: Sequence[int], x: FloatArray, y: FloatArray, error: FloatArray) -> CommonSlope:
    """Fit y = a_group + c x by weighted least squares, an offset for each group; arrays (M,), errors standard.

    The interval is Student's, widened where the points scatter by more than their errors.
    """
    weight = 1.0 / error**2
    x, y = x.copy(), y.copy()
    for each in set(group):
        member = np.array([other == each for other in group])
        x[member] -= np.average(x[member], weights=weight[member])
        y[member] -= np.average(y[member], weights=weight[member])
    total = float((weight * x**2).sum())
    slope = float((weight * x * y).sum()) / total
    left, freedom = float((weight * (y - slope * x) ** 2).sum()), len(x) - len(set(group)) - 1
    half = student_quantile(freedom) * math.sqrt(max(1.0, left / freedom) / total)
    explained = slope**2 * total
    return CommonSlope(slope, (slope - half, slope + half), explained / (explained + left) if explained else 0.0)


@dataclass(frozen=True)
class Line:
    """y = offset + slope x by least squares, with the slope's 95% interval and the share of variance explained."""

    offset: float
    slope: float
    interval: tuple[float, float]
    r_squared: float


def straight_line(x: FloatArray, y: FloatArray) -> Line:
    """Fit a line to points, each (M,), M of 3 or more."""
    from scipy.stats import linregress

    found = linregress(x, y)
    half = student_quantile(len(x) - 2) * float(found.stderr)
    return Line(
        float(found.intercept),
        float(found.slope),
        (float(found.slope) - half, float(found.slope) + half),
        float(found.rvalue) ** 2,
    )


def fit_slope(N: ArrayLike, values: ArrayLike) -> Line:
    """The line through log2 of positive values against N.

    Raises
    ------
    ValueError
        There are fewer than three points, or a value is not positive.
    """
    x, y = np.asarray(N, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 3:
        raise ValueError(f"values must hold three numbers or more, one for each N, got {y.shape} and {x.shape}")
    if not (y > 0).all():
        raise ValueError("values must be positive")
    return straight_line(x, np.log2(y))
