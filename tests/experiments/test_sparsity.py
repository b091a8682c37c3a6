"""Sparsity: the counts, the fits and the rule on made-up numbers, and a small run end to end."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from repflow.distribution import couplings_count
from repflow.experiments import run_experiment
from repflow.experiments.sparsity import (
    ORDERS,
    Count,
    cumulants,
    decay,
    degree,
    growth,
    judge,
    network_of,
    one_output,
    sample_cumulant,
)

WIDTHS = (16, 32, 64, 128)


def made_up():
    """Counts as the formula has them, and cumulants that fall as they should."""
    counts = [
        Count("networks", 16, N, k, (couplings_count(N, k).by_order[-1],) * 2, couplings_count(N, k).by_order[-1])
        for k in ORDERS
        for N in range(1, (33, 11, 9)[k])
    ]
    n = np.array(WIDTHS, dtype=float)
    return counts, {k: 3.0 * n**-k * (1 + 2.0 / n) for k in (1, 2)}


def test_rule_agrees():
    counts, weights = made_up()
    verdicts, numbers = judge(counts, WIDTHS, weights)
    assert verdicts == {"counts": "agrees", "growth": "agrees", "weight": "agrees"}
    assert numbers["polynomial_degree"] == {"order 0": 2, "order 1": 4, "order 2": 6}
    assert numbers["counts_equal"] == len(counts)


def test_rule_disagrees_on_one_count():
    counts, weights = made_up()
    counts[5] = replace(counts[5], counted=(counts[5].expected - 1,) * 2)
    verdicts, numbers = judge(counts, WIDTHS, weights)
    assert verdicts["counts"] == "disagrees"
    assert numbers["counts_equal"] == len(counts) - 1


def test_rule_is_inconclusive_where_numbers_cannot_be_told_apart():
    counts, weights = made_up()
    counts[5] = replace(counts[5], counted=(counts[5].expected - 1, counts[5].expected))
    assert judge(counts, WIDTHS, weights)[0]["counts"] == "inconclusive"


@pytest.mark.parametrize("k", ORDERS)
def test_rule_disagrees_on_the_growth_of_one_order(k):
    """As if N^k were right, as the essay prints: counts and formula then agree with each other, not with the growth."""
    counts, weights = made_up()
    changed = [
        replace(entry, counted=(3 * entry.inputs**k,) * 2, expected=3 * entry.inputs**k) if entry.order == k else entry
        for entry in counts
    ]
    verdicts, numbers = judge(changed, WIDTHS, weights)
    assert verdicts == {"counts": "agrees", "growth": "disagrees", "weight": "agrees"}
    assert numbers["growth_exponent"][f"order {k}"] == pytest.approx(k, abs=1e-6)


def test_rule_disagrees_where_a_cumulant_does_not_fall():
    counts, weights = made_up()
    weights[2] = weights[1]
    assert judge(counts, WIDTHS, weights)[0]["weight"] == "disagrees"


def test_growth_and_degree():
    N = range(1, 13)
    assert growth(N, [round(1e6 * n**3 * math.exp(2 / n)) for n in N]) == pytest.approx(3, abs=1e-5)
    assert degree(N, [n**3 - n for n in N]) == 3
    assert degree(N, [7 for _ in N]) == 0
    assert degree(N, [2**n for n in N]) is None


def test_decay_takes_up_the_next_order():
    n = np.array(WIDTHS, dtype=float)
    assert decay(WIDTHS, -5 * n**-2 * np.exp(3 / n)) == pytest.approx(-2)
    assert decay(WIDTHS, 5 * n**-2 * (1 + 1 / n)) == pytest.approx(-2, abs=2e-3)


@pytest.mark.parametrize("order", ORDERS)
def test_cumulants_of_draws_against_sums_over_networks(order):
    draws = np.random.default_rng(0).gamma(2.0, size=(5, 2, 2))
    found = sample_cumulant(draws, order)
    apart = draws - draws.mean(axis=0) if order else draws
    for index in itertools.product(range(2), repeat=2 * order + 2):
        entries = [apart[:, index[2 * i], index[2 * i + 1]] for i in range(order + 1)]
        assert found[index] == pytest.approx(np.prod(entries, axis=0).mean())


def test_one_output_is_the_sum_over_pairings():
    """Of independent Gaussians given G, with cumulant C(ab, cd): E[zzzz]_c = C(ab,cd) + C(ac,bd) + C(ad,bc)."""
    V = np.random.default_rng(0).normal(size=(3, 3, 3, 3))
    V = V + V.transpose(1, 0, 2, 3)
    V = V + V.transpose(0, 1, 3, 2)
    V = V + V.transpose(2, 3, 0, 1)
    expected = np.einsum("abcd->abcd", V) + np.einsum("acbd->abcd", V) + np.einsum("adbc->abcd", V)
    np.testing.assert_allclose(one_output(V), expected)
    X = np.random.default_rng(1).normal(size=(2,) * 6)
    summed = one_output(X)
    assert summed.sum() == pytest.approx(15 * X.sum())  # fifteen pairings of six
    np.testing.assert_array_equal(one_output(np.eye(2)), np.eye(2))


def test_cumulants_are_those_of_the_oracle():
    """Two hidden layers would be enough; here the leading ones are those of the vertex, to 1/n."""
    import repflow as rf

    x = np.random.default_rng(0).normal(size=12)
    found = cumulants((400,), x)
    layer = rf.flow(network_of(400), x[None], order=1)[-1]
    assert found[1][0] == pytest.approx(float(layer.vertex) / 400, rel=0.02)


def test_small_run(tmp_path):
    result = run_experiment("sparsity", tmp_path, size="small", seed=0)
    assert result["verdict"] == "agrees"
    numbers = result["numbers"]
    assert numbers["counts_equal"] == numbers["counts"] > 50
    assert numbers["parameters"]["width 512"] > 100 * numbers["parameters"]["width 16"]
    header = (tmp_path / "table.csv").read_text().splitlines()[0]
    assert header == "source,width,inputs,order,expected,counted,entries"


@pytest.mark.slow
def test_default_run_agrees(tmp_path):
    assert run_experiment("sparsity", tmp_path, seed=0)["verdict"] == "agrees"
