"""The optimal-aspect-ratio experiment: its estimate of the best shape, and a small run end to end."""

import json

import numpy as np
import pytest

from repflow.experiments import run_experiment
from repflow.experiments.optimal_aspect_ratio import FACTOR, best_ratio, resampled
from repflow.experiments.verdicts import combined_verdict, interval_verdict


def test_best_ratio_is_the_vertex_of_a_parabola_in_log_ratio():
    ratio = np.array([0.01, 0.03, 0.1, 0.2, 0.7, 2.0])
    mean = (np.log(ratio) - np.log(0.15)) ** 2 - 3.0
    assert best_ratio(ratio, mean) == pytest.approx(0.15)


@pytest.mark.parametrize(("mean", "best"), [([1.0, 2.0, 3.0], 0.1), ([3.0, 2.0, 1.0], 0.4)])
def test_at_an_end_it_is_the_shape_itself(mean, best):
    assert best_ratio(np.array([0.1, 0.2, 0.4]), np.array(mean)) == best


def test_resampling_gives_the_error_of_the_mean():
    rng = np.random.default_rng(0)
    ratio = np.geomspace(0.01, 1.0, 9)
    shape = (np.log(ratio) - np.log(0.1)) ** 2
    exact = resampled(ratio, np.repeat(shape[:, None], 12, axis=1), rng)
    assert exact == pytest.approx(0.1)
    draw = lambda: shape[:, None] + 0.1 * rng.standard_normal((9, 12))  # noqa: E731
    fresh = [best_ratio(ratio, draw().mean(1)) for _ in range(500)]
    spreads = [np.log(resampled(ratio, draw(), rng)).std() for _ in range(5)]
    assert np.mean(spreads) == pytest.approx(np.log(fresh).std(), rel=0.25)


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        (["agrees", "agrees"], "agrees"),
        (["agrees", "inconclusive"], "inconclusive"),
        (["inconclusive", "disagrees"], "disagrees"),
        (["agrees", "disagrees"], "disagrees"),
    ],
)
def test_rule(verdicts, verdict):
    assert combined_verdict(verdicts) == verdict


def test_small_run_is_whole_and_reaches_beyond_the_accepted_range(tmp_path):
    result = run_experiment("optimal-aspect-ratio", tmp_path, size="small", seed=1)
    numbers = result["numbers"]
    rows = [line.split(",") for line in (tmp_path / "table.csv").read_text().splitlines()]
    verdicts = []
    for activation, nu in (("tanh", 2 / 3), ("relu", 5.0)):
        found = {key.removeprefix(f"{activation}_"): value for key, value in numbers.items()}
        assert found["optimum"] == pytest.approx(4 / (50 * nu))
        verdicts.append(interval_verdict(*found["best_over_optimum_interval"], tuple(numbers["accepted"])))
        column = {
            name: [float(row[k]) for row in rows[1:] if row[0] == activation]
            for k, name in enumerate(rows[0])
            if name != "activation"
        }
        assert all(count <= 20_000 for count in column["parameters"])
        assert column["over_optimum"][0] < 1 / FACTOR < FACTOR < column["over_optimum"][-1]
        assert all(low <= loss <= high for low, loss, high in zip(column["low"], column["loss"], column["high"]))
        assert min(column["loss"]) == pytest.approx(found["loss_at_best"])
        # Either end learns less than the middle.
        assert min(column["loss"]) < 0.9 * min(column["loss"][0], column["loss"][-1])
    assert result["verdict"] == combined_verdict(verdicts)
    assert json.loads((tmp_path / "result.json").read_text()) == result
