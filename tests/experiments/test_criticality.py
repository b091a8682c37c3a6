import json

import pytest

from repflow.experiments import run_experiment


def test_the_small_run_agrees_and_is_reproducible(tmp_path):
    result = run_experiment("criticality", tmp_path / "a", size="small", seed=3)
    assert result["verdict"] == "agrees"
    numbers = result["numbers"]
    assert numbers["C_W_corrected"] == pytest.approx(1 + 2 / 96)
    # theory at order 1 overshoots the drift, as it should at nu L/n = 1.2
    assert numbers["plain_order_1"] < numbers["plain_ratio"] < 0.7
    assert abs(numbers["corrected_ratio"] - 1) < 0.12
    assert json.loads((tmp_path / "a" / "result.json").read_text())["verdict"] == "agrees"
    again = run_experiment("criticality", tmp_path / "b", size="small", seed=3)
    assert again["numbers"] == numbers
