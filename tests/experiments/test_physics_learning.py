"""The experiment on physics learning: its rule on made-up numbers, its statistics, and a small run."""

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import chisquare

from repflow import theories as th
from repflow.experiments.intervals import share_interval
from repflow.experiments.physics_learning import experiment as rules
from repflow.experiments.physics_learning import noise_free, samples
from repflow.experiments.physics_learning.figure import figure, table
from repflow.experiments.registry import find_experiment


def recovered(low=1.0, high=1.0, independent=(1.0, 1.0), short=True):
    return {"median_interval": [low, high], "independent": list(independent), "rank_short_before": short}


def curve(before=0.1, after=1e-28):
    return [
        {"class": "local", "share": 0.9, "error": before, "largest": 2 * before},
        {"class": "local", "share": 1.0, "error": after / 2, "largest": after},
        {"class": "generic", "share": 1.0, "error": 0.3, "largest": 0.3},
    ]


@pytest.mark.parametrize(
    ("rows", "points", "verdict"),
    [
        ([recovered(), recovered()], curve(), "agrees"),
        ([recovered(), recovered(1.0, 1.01)], curve(), "inconclusive"),
        ([recovered(), recovered(1.02, 1.04)], curve(), "disagrees"),
        ([recovered(), recovered(independent=(0.99, 1.0))], curve(), "disagrees"),
        ([recovered(), recovered(short=False)], curve(), "disagrees"),
        ([recovered()], curve(after=1e-6), "disagrees"),
        ([recovered()], curve(before=1e-20), "disagrees"),
    ],
)
def test_threshold_rule(rows, points, verdict):
    found, numbers = rules.threshold_part(rows, points)
    assert found == numbers["threshold_verdict"] == verdict


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [([0.99, 1.01, 1.0], "agrees"), ([0.5, 0.52, 0.51], "disagrees"), ([0.9, 1.1, 1.0], "inconclusive")],
)
def test_memory_rule(errors, verdict):
    assert rules.memory_part(np.array(errors))[0] == verdict


def sparse_rows(law, error=0.2):
    rows = []
    for M in (66, 120, 253, 496, 990):
        for s in (2, 4, 8):
            rows.append({"nonzero": s, "candidates": M, "experiments": law(s, M), "stderr": error, "N": 0})
    return rows


@pytest.mark.parametrize(
    ("law", "error", "verdict"),
    [
        (lambda s, M: s * np.log(M), 0.2, "agrees"),
        (lambda s, M: 3 + s * np.log(M / s), 0.2, "agrees"),
        (lambda s, M: gammaln(M + 1) - gammaln(s + 1) - gammaln(M - s + 1), 0.2, "agrees"),
        (lambda s, M: 2 * s * np.log(M), 0.2, "disagrees"),
        (lambda s, M: 10.0 * s, 0.2, "disagrees"),  # whatever the number of candidates
        (lambda s, M: M / 20, 0.2, "inconclusive"),
        (lambda s, M: 3 * np.log(M), 0.2, "inconclusive"),  # whatever the number of couplings
        (lambda s, M: s * np.log(M), 20.0, "inconclusive"),
    ],
)
def test_sparse_rule(law, error, verdict):
    found, numbers = rules.sparse_part(sparse_rows(law, error))
    assert found == numbers["sparse_verdict"] == verdict


def test_sparse_rule_asks_for_a_line_in_log_m():
    """The slope may be right by chance where no line runs through the points."""
    random = np.random.default_rng(3)
    rows = sparse_rows(lambda s, M: s * (np.log(M) + 0.45 * random.normal()), error=0.3)
    found, numbers = rules.sparse_part(rows)
    assert 0.67 < numbers["sparse_interval"][0] < numbers["sparse_interval"][1] < 1.5
    assert numbers["sparse_r_squared"] < 0.9
    assert found == "inconclusive"


@pytest.mark.parametrize(
    ("power", "spread", "verdict"),
    [(-0.5, 0.01, "agrees"), (-0.4, 0.01, "disagrees"), (-0.5, 0.2, "inconclusive"), (-0.55, 0.02, "inconclusive")],
)
def test_inverse_ising_rule(power, spread, verdict):
    samples = np.array([1e3, 1e4, 1e5])
    slopes = power + spread * np.array([-1.0, 1.0, -1.0, 1.0])
    measured = np.exp(slopes[:, None] * np.log(samples)) * np.array([1.0, 2.0, 3.0, 0.5])[:, None]
    found, numbers = rules.ising_part(samples, measured, measured / 1.1)
    assert found == verdict
    assert numbers["ising_exponent"] == pytest.approx(power)
    assert numbers["ising_over_expected"] == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("power", "error", "verdict"),
    [(1.0, 0.03, "agrees"), (0.0, 0.03, "disagrees"), (1.0, 0.5, "inconclusive"), (1.14, 0.03, "inconclusive")],
)
def test_gain_rule(power, error, verdict):
    rows = [{"links": n, "ratio": n**power, "stderr": error * n**power, "expected": float(n)} for n in (6, 8, 11, 16)]
    assert rules.gain_part(rows)[0] == verdict


@pytest.mark.parametrize(
    ("right", "draws", "verdict"),
    [(200, 200, "agrees"), (100, 200, "disagrees"), (60, 60, "inconclusive"), (194, 200, "inconclusive")],
)
def test_class_rule(right, draws, verdict):
    low, high = share_interval(right, draws)
    everything = {"interval": list(share_interval(500, 500))}
    assert rules.class_part([everything, {"interval": [low, high]}])[0] == verdict


def test_unseen_curve_on_few_spins():
    rows = noise_free.unseen_curve(th.KLocal(5, 2, fields=True), 15, seed=0)
    assert {row["parameters"] for row in rows} == {15}
    assert [row["experiments"] for row in rows][-1] == 30
    for row in rows:
        assert abs(row["error"] - row["expected"]) <= 5 * row["stderr"] + 1e-12
    assert rows[0]["error"] == pytest.approx(1.0)


def test_memorisation_on_few_spins():
    errors = noise_free.memorisation(th.Generic(6, fields=True), 12, 0, (0.2, 0.5, 0.8))
    assert abs(errors.mean() - 1.0) < 0.1
    local = noise_free.memorisation(th.Local((6,), fields=True), 12, 0, (0.5,))
    assert local.mean() < 0.75


def test_open_chain_has_the_boltzmann_distribution():
    theory = th.TranslationInvariant((4,), periodic=False).theory([0.3])
    drawn = samples.open_chain(4, 0.3, 20_000, seed=0)
    index = (drawn < 0) @ (1 << np.arange(4))
    assert chisquare(np.bincount(index, minlength=16), 20_000 * np.exp(theory.log_probabilities())).pvalue > 1e-3


def test_sharing_gain_is_as_expected_on_few_spins():
    rows = samples.sharing_gain((4, 6, 20), 300, (60, 120), 0, lambda message, share: None)
    for row in rows[:2]:
        assert abs(row["ratio"] - row["expected"]) < 5 * row["stderr"]
        assert 0.8 < row["expected"] / row["links"] < 1.2
    assert rows[2]["expected"] is None
    assert abs(rows[2]["ratio"] - 20) < 5 * rows[2]["stderr"]


def test_table_and_figure_of_made_up_points():
    point = {"class": "local", "parameters": 3, "share": 0.5, "error": 0.5, "stderr": 0.1, "expected": 0.5}
    ising = [{"samples": n, "error": n**-0.5, "stderr": 0.001, "expected": n**-0.5} for n in (1000, 3000)]
    gain = [{"links": n, "ratio": n, "stderr": 0.1, "expected": n} for n in (6, 8)]
    sparse = sparse_rows(lambda s, M: s * np.log(M / s))
    numbers = {"ising_exponent": -0.5, "gain_exponent": 1.0, **rules.sparse_part(sparse)[1]}
    columns = table([point], sparse, ising, gain)
    assert {len(column) for column in columns.values()} == {1 + 15 + 2 + 2}
    assert len(figure([point], sparse, ising, gain, numbers).data) == 2 * (1 + 3 + 1 + 1)


@pytest.mark.slow
def test_small_run():
    told = []
    outcome = find_experiment("physics-learning").run("small", 0, lambda message, share: told.append(share))
    numbers = outcome.numbers
    assert numbers["threshold_verdict"] == "agrees"
    assert numbers["unseen_error_after"] < 1e-20
    assert numbers["memory_interval"][0] < 1.0 < numbers["memory_interval"][1]
    assert 0.9 < numbers["ising_over_expected"] < 1.1
    assert all(row["wrong"] == 0 for row in numbers["class"])
    assert outcome.verdict in ("agrees", "inconclusive")  # few draws, wide intervals
    assert len({len(column) for column in outcome.table.values()}) == 1
    assert told == sorted(told)
    assert told[-1] == 1.0
