"""The criticality experiment: its rule on intervals, and a small run end to end."""

import json

import numpy as np
import pytest

from repflow.experiments import run_experiment
from repflow.experiments.criticality import drift_interval, first_of, verdict_of

STAYS, DRIFTS, UNCLEAR = (-0.02, 0.03), (-0.5, -0.4), (-0.15, -0.05)


@pytest.mark.parametrize(
    ("corrected", "uncorrected", "verdict"),
    [
        (STAYS, DRIFTS, "agrees"),
        (DRIFTS, DRIFTS, "disagrees"),
        (STAYS, STAYS, "disagrees"),
        (UNCLEAR, DRIFTS, "inconclusive"),
        (STAYS, UNCLEAR, "inconclusive"),
        (UNCLEAR, STAYS, "disagrees"),
    ],
)
def test_rule(corrected, uncorrected, verdict):
    assert verdict_of(corrected, uncorrected) == verdict


def test_drift_is_counted_from_a_quarter_of_the_depth():
    ratio, error = np.array([9.0, 1.0, 3.0, np.e, 5.0, 6.0, 7.0, np.e**2]), np.zeros(8)
    assert drift_interval(ratio, error) == pytest.approx((2.0, 2.0))
    low, high = drift_interval(ratio, 0.01 * ratio)
    assert high - low == pytest.approx(2 * 1.959964 * 0.01 * np.sqrt(2))


def test_couplings_are_one_number_where_layers_share_it():
    assert first_of(np.array([3.0, 1.5, 1.5])) == 1.5
    assert first_of(np.array([3.0, 1.5, 1.6])) == [3.0, 1.5, 1.6]


def test_small_run_agrees_and_is_reproducible(tmp_path):
    result = run_experiment("criticality", tmp_path / "a", size="small", seed=3)
    numbers = result["numbers"]
    assert result["verdict"] == "agrees"
    assert numbers["C_W"] == pytest.approx(1 + 2 / (3 * 16))  # PDLT section 5.4: c = 2/3 for tanh
    assert numbers["ratio_uncorrected"] < 0.8 < 0.9 < numbers["ratio_corrected"] < 1.25
    assert json.loads((tmp_path / "a" / "result.json").read_text()) == result
    again = run_experiment("criticality", tmp_path / "b", size="small", seed=3)
    assert again["numbers"] == numbers
    assert (tmp_path / "a" / "table.csv").read_text() == (tmp_path / "b" / "table.csv").read_text()
