"""Fits on data of known slope: what they find, and how often their intervals cover it."""

import numpy as np
import pytest
from scipy.stats import t

from repflow.experiments.fits import common_slope, fit_rate, fit_slope, power_law

SPINS = np.arange(4, 11)
WIDTHS = np.array([8.0, 12, 16, 24, 32, 48, 64, 96, 128])


@pytest.mark.parametrize("slope", [-1.0, -0.5, -1.5])
def test_fit_finds_the_slope_below_the_next_order(slope):
    kurtosis = 5.0 * WIDTHS**slope * (1 + 3.0 / WIDTHS)
    fit = fit_rate(WIDTHS, kurtosis, 0.01 * kurtosis)
    assert fit.slope == pytest.approx(slope, abs=1e-6)
    assert fit.amplitude == pytest.approx(5.0, rel=1e-5)
    assert fit.next_order == pytest.approx(3.0, rel=1e-4)
    assert fit.p_value == pytest.approx(1.0)


def test_error_of_the_slope_is_that_of_repeated_fits():
    rng = np.random.default_rng(0)
    truth = 5.0 / WIDTHS * (1 + 1.0 / WIDTHS)
    fits = [fit_rate(WIDTHS, truth * (1 + 0.01 * rng.normal(size=len(WIDTHS))), 0.01 * truth) for _ in range(200)]
    slopes = np.array([fit.slope for fit in fits])
    assert slopes.std() == pytest.approx(fits[0].slope_error, rel=0.25)
    assert abs(slopes.mean() + 1.0) < 4 * slopes.std() / np.sqrt(len(slopes))
    p_values = np.array([fit.p_value for fit in fits])
    assert 0.35 < p_values.mean() < 0.65


def test_fit_refuses_what_it_cannot_fit():
    with pytest.raises(ValueError, match="four"):
        fit_rate(WIDTHS[:3], np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="positive"):
        fit_rate(WIDTHS, -np.ones(9), np.ones(9))


def test_common_slope_is_that_of_dummy_variables():
    random = np.random.default_rng(1)
    group = np.repeat([2, 4, 8], 4)
    x, error = random.normal(size=12), random.uniform(0.5, 1.0, 12)
    y = 3.0 * x + group + 2 * error * random.normal(size=12)
    found = common_slope(group.tolist(), x, y, error)
    dense = np.column_stack([x, *(group == each for each in (2, 4, 8))]) / error[:, None]
    solved, left, _, _ = np.linalg.lstsq(dense, y / error, rcond=None)
    stderr = np.sqrt(np.linalg.inv(dense.T @ dense)[0, 0] * max(1.0, left[0] / 8))
    assert found.slope == pytest.approx(solved[0])
    assert found.interval[1] - found.slope == pytest.approx(t.ppf(0.975, 8) * stderr)


def test_power_law_covers():
    random = np.random.default_rng(2)
    x = np.array([6.0, 8.0, 11.0, 16.0, 30.0])
    error = np.array([0.05, 0.02, 0.04, 0.03, 0.05])
    found = [power_law(x, 3 * x**0.7 * np.exp(error * random.normal(size=5)), error * 3 * x**0.7) for _ in range(2000)]
    assert np.mean([each.exponent for each in found]) == pytest.approx(0.7, abs=0.002)
    assert 0.94 < np.mean([each.interval[0] <= 0.7 <= each.interval[1] for each in found]) < 0.99


def test_slope_and_the_coverage_of_its_interval():
    exact = fit_slope(SPINS, 3.0 * 2.0 ** (-0.5 * SPINS))
    assert (exact.slope, exact.offset) == pytest.approx((-0.5, np.log2(3.0)))
    assert exact.interval[1] - exact.interval[0] < 1e-6
    rng = np.random.default_rng(1)
    fits = [fit_slope(SPINS, 2.0 ** (-0.5 * SPINS + 0.1 * rng.normal(size=len(SPINS)))) for _ in range(1000)]
    covered = np.mean([fit.interval[0] <= -0.5 <= fit.interval[1] for fit in fits])
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 1000)
    for values, message in ((np.ones(2), "three"), (np.ones(6), "three"), (-np.ones(7), "positive")):
        with pytest.raises(ValueError, match=message):
            fit_slope(SPINS[: len(values)] if message == "three" and len(values) == 2 else SPINS, values)
