"""Intervals of a mean, a median and a probability, at 95% where no confidence is given."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

#: Half-width, in standard errors, of the normal 95% interval.
Z95 = 1.959964


def student_quantile(freedom: int, confidence: float = 0.95) -> float:
    """Half-width, in standard errors, of Student's interval with that many degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf(0.5 + 0.5 * confidence, freedom))


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent values (M,), and the ends of its interval by Student's t.

    The ends are infinite for fewer than two values, or where one is not finite; the mean of none is NaN.
    """
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean()) if len(sample) else math.nan
    if len(sample) < 2 or not np.isfinite(sample).all():
        return mean, -math.inf, math.inf
    half = student_quantile(len(sample) - 1, confidence) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return mean, mean - half, mean + half


def median_interval(values: ArrayLike) -> tuple[float, float]:
    """The 95% interval of a median between two of the values, whatever their distribution; at least 6 of them."""
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    # P(fewer than j of n below the median) = P(Bin(n, 1/2) < j).
    below = max(int(binom.ppf(0.025, len(ordered), 0.5)), 1)
    return float(ordered[below - 1]), float(ordered[len(ordered) - below])


def share_interval(right: int, draws: int) -> tuple[float, float]:
    """The 95% interval of a probability by Clopper and Pearson."""
    from scipy.stats import binomtest

    found = binomtest(right, draws).proportion_ci(confidence_level=0.95, method="exact")
    return float(found.low), float(found.high)
