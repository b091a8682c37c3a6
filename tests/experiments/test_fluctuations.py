"""The fluctuations experiment: statistics, jackknife and rule on made-up numbers, and a small run end to end."""

import math

import numpy as np
import pytest

from repflow.experiments import run_experiment
from repflow.experiments.fluctuations import (
    STATISTICS,
    WIDTH,
    Row,
    _typical_coupling,
    half_of_mean,
    jackknife,
    judge,
    mean_log,
)


def test_half_of_the_mean():
    assert half_of_mean(np.ones(1000)) == pytest.approx(0.5)
    assert half_of_mean(np.array([0.0, 0.0, 0.0, 4.0])) == pytest.approx(0.125)
    assert half_of_mean(np.array([1.0, 3.0, 2.0])) == pytest.approx(1 / 3)
    # lognormal of deviation s: Phi(-s)
    G = np.exp(1.0 * np.random.default_rng(0).standard_normal(400_000))
    assert half_of_mean(G) == pytest.approx(0.158655, abs=0.003)


def test_dead_networks_have_no_logarithm():
    assert mean_log(np.array([0.0, 1.0, math.e])) == pytest.approx(0.5)


def test_jackknife_error_is_that_of_repetition():
    generator = np.random.default_rng(1)
    found = {name: [] for name in STATISTICS}
    for _ in range(60):
        G = np.exp(0.5 * generator.standard_normal(2000))
        for name, function in STATISTICS.items():
            found[name].append(jackknife(G, function))
    for name, pairs in found.items():
        values, errors = np.array(pairs).T
        # the jackknife of a median is known to be rough
        assert values.std(ddof=1) == pytest.approx(errors.mean(), rel=0.5 if name == "median" else 0.3), name


def rows(scale=1.0, stderr=0.01, mean=1.0, statistic=None):
    """Everything as predicted, but ``statistic`` off by a factor ``scale``."""
    found = []
    for hidden in (WIDTH // 4, WIDTH):
        for name, value in (("variance", 2.0), ("median", 0.5), ("half of the mean", 0.2)):
            factor = scale if name == statistic else 1.0
            found.append(Row("relu", hidden, name, value * factor, stderr * value, value))
        found.append(Row("relu", hidden, "mean", mean, stderr, 1.0))
        found.append(Row("relu", hidden, "mean log", -hidden / WIDTH, stderr, -hidden / WIDTH))
    return found


def test_rule_agrees_where_all_is_as_predicted():
    verdicts, numbers = judge(rows(), change=-0.75, error=0.005)
    assert set(verdicts.values()) == {"agrees"}
    assert numbers["rate_predicted"] == pytest.approx(-1.0)
    assert numbers["rate_of_mean_log_per_L/n"] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("arguments", "change", "part", "verdict"),
    [
        ({"mean": 1.3}, -0.75, "mean stays", "disagrees"),
        ({"mean": 1.09}, -0.75, "mean stays", "inconclusive"),
        ({}, -0.6, "typical network vanishes", "disagrees"),
        ({}, 0.75, "typical network vanishes", "disagrees"),
        ({}, -0.69, "typical network vanishes", "inconclusive"),
        ({"scale": 1.3, "statistic": "variance"}, -0.75, "spread, late", "disagrees"),
        ({"scale": 0.7, "statistic": "median"}, -0.75, "median", "disagrees"),
        ({"scale": 1.1, "statistic": "half of the mean"}, -0.75, "share that carries half", "inconclusive"),
    ],
)
def test_rule(arguments, change, part, verdict):
    verdicts, _ = judge(rows(**arguments), change=change, error=0.01)
    assert verdicts[part] == verdict


def test_a_typical_network_that_is_predicted_to_grow_is_no_agreement():
    grown = [Row(r.activation, r.hidden, r.statistic, r.measured, r.stderr, -r.predicted) if "log" in r.statistic else r
             for r in rows()]  # fmt: skip
    verdicts, _ = judge(grown, change=0.75, error=0.005)
    assert verdicts["typical network vanishes"] == "disagrees"


def test_coupling_of_the_typical_network():
    """C_W = 2 (1 + 5/(2n) + ...), where the mean grows at the rate that the typical network fell."""
    found = _typical_coupling()
    assert found["C_W_that_keeps_the_typical_network"] == pytest.approx(2 * (1 + 2.5 / WIDTH), rel=2e-3)
    assert found["rate_of_the_mean_there_per_L/n"] == pytest.approx(2.5, rel=0.05)


@pytest.mark.slow
def test_small_run(tmp_path):
    result = run_experiment("fluctuations", tmp_path / "a", size="small", seed=2)
    assert result["verdict"] in ("agrees", "inconclusive")
    relu = result["numbers"]["relu"]
    assert relu["rate_of_mean_log_per_L/n"] == pytest.approx(relu["rate_predicted"], abs=5 * relu["rate_stderr"])
    again = run_experiment("fluctuations", tmp_path / "b", size="small", seed=2)
    assert again["numbers"] == result["numbers"]
