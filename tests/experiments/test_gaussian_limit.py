"""The Gaussian limit: a small run end to end."""

import pytest

from repflow.experiments import run_experiment


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
