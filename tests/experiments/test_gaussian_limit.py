"""The Gaussian limit: the fit of the rate on data of known rate, and a small run end to end."""

import numpy as np
import pytest

from repflow.experiments import run_experiment
from repflow.experiments.gaussian_limit import fit_rate

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


def test_small_run(tmp_path):
    result = run_experiment("gaussian-limit", tmp_path, size="small", seed=0)
    numbers = result["numbers"]
    assert abs(numbers["slope"] + 1.0) < 4 * numbers["slope_error"] < 0.4
    low, high = numbers["slope_interval"]
    expected = "agrees" if -1.05 <= low and high <= -0.95 else "inconclusive"
    assert result["verdict"] == expected
    assert (tmp_path / "figure.html").stat().st_size > 1_000_000  # with plotly.js in it
    assert (tmp_path / "table.csv").read_text().splitlines()[0].startswith("width,kurtosis,stderr")


@pytest.mark.slow
def test_default_run_agrees(tmp_path):
    assert run_experiment("gaussian-limit", tmp_path, seed=0)["verdict"] == "agrees"
