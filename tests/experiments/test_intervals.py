"""Intervals: against other formulas and tables, and how often they cover."""

import numpy as np
import pytest
from scipy.stats import beta

from repflow.experiments.intervals import mean_interval, median_interval, share_interval


def test_share_interval_is_that_of_the_beta_distribution():
    np.testing.assert_allclose(share_interval(7, 20), beta.ppf([0.025, 0.975], [7, 8], [14, 13]))


def test_median_interval_covers():
    random = np.random.default_rng(0)
    inside = [
        low <= np.log(2) <= high for low, high in (median_interval(random.exponential(size=21)) for _ in range(2000))
    ]
    assert 0.95 <= np.mean(inside) < 0.985


def test_mean_interval_covers():
    random = np.random.default_rng(1)
    inside = [low <= 0 <= high for _, low, high in (mean_interval(random.normal(size=5)) for _ in range(2000))]
    assert 0.94 < np.mean(inside) < 0.96


def test_interval_is_students():
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert high - mean == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)  # t of two degrees of freedom
    assert mean - low == pytest.approx(high - mean)
    assert mean_interval([1.0])[1:] == (-np.inf, np.inf)
    assert mean_interval([1.0, np.nan])[1:] == (-np.inf, np.inf)
