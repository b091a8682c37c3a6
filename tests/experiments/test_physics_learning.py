"""The experiment on physics learning: its rule on made-up numbers, its statistics, and a small run."""

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import beta, chisquare, t

from repflow import theories as th
from repflow.experiments import physics_learning as rules
from repflow.experiments import physics_learning_parts as parts
from repflow.experiments.physics_learning_figure import figure, table
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


def test_common_slope_is_that_of_dummy_variables():
    random = np.random.default_rng(1)
    group = np.repeat([2, 4, 8], 4)
    x, error = random.normal(size=12), random.uniform(0.5, 1.0, 12)
    y = 3.0 * x + group + 2 * error * random.normal(size=12)
    found = parts.common_slope(group.tolist(), x, y, error)
    dense = np.column_stack([x, *(group == each for each in (2, 4, 8))]) / error[:, None]
    solved, left, _, _ = np.linalg.lstsq(dense, y / error, rcond=None)
    stderr = np.sqrt(np.linalg.inv(dense.T @ dense)[0, 0] * max(1.0, left[0] / 8))
    assert found.slope == pytest.approx(solved[0])
    assert found.interval[1] - found.slope == pytest.approx(t.ppf(0.975, 8) * stderr)


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
    low, high = parts.share_interval(right, draws)
    everything = {"interval": list(parts.share_interval(500, 500))}
    assert rules.class_part([everything, {"interval": [low, high]}])[0] == verdict


def test_verdict_of_parts():
    assert rules.verdict_of(["agrees", "agrees"]) == "agrees"
    assert rules.verdict_of(["agrees", "inconclusive"]) == "inconclusive"
    assert rules.verdict_of(["inconclusive", "disagrees"]) == "disagrees"


def test_share_interval_is_that_of_the_beta_distribution():
    np.testing.assert_allclose(parts.share_interval(7, 20), beta.ppf([0.025, 0.975], [7, 8], [14, 13]))


def test_median_interval_covers():
    random = np.random.default_rng(0)
    inside = [
        low <= np.log(2) <= high
        for low, high in (parts.median_interval(random.exponential(size=21)) for _ in range(2000))
    ]
    assert 0.95 <= np.mean(inside) < 0.985


def test_mean_interval_covers():
    random = np.random.default_rng(1)
    inside = [low <= 0 <= high for low, high in (parts.mean_interval(random.normal(size=5)) for _ in range(2000))]
    assert 0.94 < np.mean(inside) < 0.96


def test_power_law_covers():
    random = np.random.default_rng(2)
    x = np.array([6.0, 8.0, 11.0, 16.0, 30.0])
    error = np.array([0.05, 0.02, 0.04, 0.03, 0.05])
    found = [
        parts.power_law(x, 3 * x**0.7 * np.exp(error * random.normal(size=5)), error * 3 * x**0.7) for _ in range(2000)
    ]
    assert np.mean([each.exponent for each in found]) == pytest.approx(0.7, abs=0.002)
    assert 0.94 < np.mean([each.interval[0] <= 0.7 <= each.interval[1] for each in found]) < 0.99


def test_unseen_curve_on_few_spins():
    rows = parts.unseen_curve(th.KLocal(5, 2, fields=True), 15, seed=0)
    assert {row["parameters"] for row in rows} == {15}
    assert [row["experiments"] for row in rows][-1] == 30
    for row in rows:
        assert abs(row["error"] - row["expected"]) <= 5 * row["stderr"] + 1e-12
    assert rows[0]["error"] == pytest.approx(1.0)


def test_memorisation_on_few_spins():
    errors = parts.memorisation(th.Generic(6, fields=True), 12, 0, (0.2, 0.5, 0.8))
    assert abs(errors.mean() - 1.0) < 0.1
    local = parts.memorisation(th.Local((6,), fields=True), 12, 0, (0.5,))
    assert local.mean() < 0.75


def test_open_chain_has_the_boltzmann_distribution():
    theory = th.TranslationInvariant((4,), periodic=False).theory([0.3])
    samples = parts.open_chain(4, 0.3, 20_000, seed=0)
    index = (samples < 0) @ (1 << np.arange(4))
    assert chisquare(np.bincount(index, minlength=16), 20_000 * np.exp(theory.log_probabilities())).pvalue > 1e-3


def test_sharing_gain_is_as_expected_on_few_spins():
    rows = parts.sharing_gain((4, 6, 20), 300, (60, 120), 0, lambda message, share: None)
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
