"""The thermalisation experiment: its rule on made-up numbers, and a small run end to end."""

import dataclasses
import json

import numpy as np
import pytest

from repflow.experiments import run_experiment
from repflow.experiments.thermalisation.experiment import (
    basis_part,
    counterfactual_part,
    equilibration_part,
    local_part,
    plateau_part,
)
from repflow.experiments.thermalisation.kicked_chain import Followed, Ramp, failing_from, follow
from repflow.experiments.thermalisation.static_chain import TIMES, Counted, Equilibrated
from repflow.theories import quantum as qm

N = np.arange(4, 11)
NOISE = np.random.default_rng(0).normal(size=(len(N), 6))


def static(slope=-0.5, scatter=0.02, share=0.1):
    return [
        Equilibrated(
            n, 2.0 ** (slope * n + scatter * noise), share, 1.0, 0.1, 5.0, np.zeros(len(TIMES)), 0, 0, 0.1, 0.1
        )
        for n, noise in zip(N, NOISE[:, 0])
    ]


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, "agrees"),
        ({"slope": -0.1}, "disagrees"),
        ({"slope": 0.0}, "disagrees"),
        ({"slope": -0.25, "scatter": 0.5}, "inconclusive"),
        ({"share": 0.3}, "disagrees"),
    ],
)
def test_rule_of_equilibration(options, verdict):
    found, numbers = equilibration_part(static(**options))
    assert found == verdict
    assert numbers["thermal_gap_over_initial"] == options.get("share", 0.1)


def states(slope=-0.5, ratio=1.0, spread=0.005, overlap=1e-20, apart=-0.47, apart_ratio=1.0, apart_spread=0.005):
    """Made-up chains: distances at the Haar value times ``ratio`` at the largest N, and a slope from there."""
    found = []
    for n, noise in zip(N, NOISE):
        back = n - N[-1]
        values = 2.0 ** (slope * back) * ratio * (1 + spread * noise)
        far = 0.1 * 2.0 ** (apart * back) * (1 + apart_spread * noise)
        plain = np.full(6, 2.0 ** (-0.5 * n))
        found.append(
            Followed(
                N=int(n),
                one=qm.haar_distance_one_site(int(N[-1])) * values,
                two=qm.haar_distance(2, int(N[-1])) * values,
                purity=0.25 + (qm.haar_purity(2, int(n)) - 0.25) * np.ones(6),
                apart=far,
                most_apart=apart_ratio * far,
                overlap=np.full(6, overlap),
                early=np.ones((6, 25)),
                haar_one=plain,
                haar_two=plain,
                haar_apart=far,
                haar_most_apart=far,
                haar_overlap=np.full(6, 2.0**-n),
            )
        )
    return found


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, "agrees"),
        ({"slope": -0.56}, "agrees"),
        ({"slope": -0.44}, "agrees"),
        ({"slope": -0.4}, "disagrees"),
        ({"slope": -0.6}, "disagrees"),
        ({"slope": -0.43, "spread": 0.15}, "inconclusive"),
        ({"ratio": 1.3}, "disagrees"),
        ({"ratio": 0.5}, "disagrees"),
        ({"ratio": 1.1, "spread": 0.02}, "inconclusive"),
    ],
)
def test_rule_of_local_observables(options, verdict):
    found, numbers = local_part(states(**options))
    assert found == verdict
    assert numbers["two_site_purity_excess_over_haar"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, "agrees"),
        ({"overlap": 0.01}, "disagrees"),
        ({"apart": -0.1}, "disagrees"),
        ({"apart": 0.0}, "disagrees"),
        ({"apart": -0.3, "apart_spread": 0.2}, "inconclusive"),
        ({"apart_ratio": 1.5}, "disagrees"),
    ],
)
def test_rule_of_counterfactuals(options, verdict):
    assert counterfactual_part(states(**options))[0] == verdict


def ramps(slope=1.0, scatter=0.02):
    empty = np.zeros(0)
    return [
        Ramp(int(n), "CUE", qm.Plateau(2.0 ** (slope * n + scatter * noise), 0.02, 10), 3, 0.6, 0.01, *[empty] * 4)
        for n, noise in zip(N, NOISE[:, 1])
    ]


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, "agrees"),
        ({"slope": 0.5}, "disagrees"),
        ({"slope": 0.0}, "disagrees"),
        ({"slope": 1.3}, "disagrees"),
        ({"slope": 0.87, "scatter": 0.4}, "inconclusive"),
    ],
)
def test_rule_of_the_plateau(options, verdict):
    assert plateau_part(ramps(**options))[0] == verdict


@pytest.mark.parametrize(
    ("own", "rotated", "kurtosis", "generic", "verdict"),
    [
        (11, 255, -0.1, -1.02, "agrees"),
        (13, 255, -0.1, -1.02, "disagrees"),
        (11, 200, -0.1, -1.02, "disagrees"),
        (11, 255, -0.9, -1.02, "disagrees"),
        (11, 255, -0.1, 0.0, "disagrees"),
    ],
)
def test_rule_of_the_preferred_basis(own, rotated, kurtosis, generic, verdict):
    few, many = (qm.CouplingCount(count, count, 1.0, 4, 255) for count in (own, rotated))
    found, numbers = basis_part([Counted(4, few, many, many, kurtosis, generic)])
    assert found == verdict
    assert numbers["couplings_own"] == {"4": own}


def test_local_observables_fail_from_the_last_period_above():
    entry = states()[0]
    late = entry.most_apart.mean()
    early = np.full((6, 25), late)
    assert failing_from(dataclasses.replace(entry, early=early)) == 0
    early[:, [0, 1, 7]] = 2 * late
    assert failing_from(dataclasses.replace(entry, early=early)) == 8
    early[:, 24] = 2 * late
    assert failing_from(dataclasses.replace(entry, early=early)) is None


def test_followed_states_by_brute_force():
    """One realisation of a short chain, term by term."""
    from tests.theories.quantum.kronecker import partial_trace, period

    from repflow.blocks import generator

    n, times, seed = 3, 3, 5
    found = follow(n, 2, times, seed)
    for r in range(2):
        U = period(qm.kicked_ising(n, seed, 2, n, r))
        directions = qm.random_directions(n, generator(seed, 3, n, r))
        psi = qm.product_state(directions)
        directions[n // 2] *= -1
        other = qm.product_state(directions)
        pairs = [(0, 1), (0, 2), (1, 2)]
        one, two, apart = [], [], []
        for t in range(32, 32 + times):
            a, b = (np.linalg.matrix_power(U, t) @ state for state in (psi, other))
            one.append([np.abs(np.linalg.eigvalsh(partial_trace(a, [i]) - np.eye(2) / 2)).sum() / 2 for i in range(n)])
            rhos = [(partial_trace(a, pair), partial_trace(b, pair)) for pair in pairs]
            two.append([np.abs(np.linalg.eigvalsh(rho - np.eye(4) / 4)).sum() / 2 for rho, _ in rhos])
            apart.append([np.abs(np.linalg.eigvalsh(rho - sigma)).sum() / 2 for rho, sigma in rhos])
        assert found.one[r] == pytest.approx(np.mean(one))
        assert found.two[r] == pytest.approx(np.mean(two))
        assert found.apart[r] == pytest.approx(np.mean(apart))
        assert found.most_apart[r] == pytest.approx(np.mean(np.max(apart, axis=1)))
        assert found.overlap[r] < 1e-20
        assert found.early[r, 0] == pytest.approx(1)  # the flipped spin is orthogonal, and seen in every pair with it


def test_small_run(tmp_path):
    result = run_experiment("thermalisation", tmp_path / "a", size="small", seed=1)
    numbers = result["numbers"]
    assert result["verdict"] == "agrees"
    for name in ("one", "two"):
        low, high = numbers[f"{name}_site_slope_interval"]
        assert -0.575 <= low <= numbers[f"{name}_site_slope"] <= high <= -0.425
    assert numbers["couplings_own"] == {str(n): 3 * n - 1 for n in (3, 4, 5, 6)}
    assert numbers["largest_overlap_with_counterfactual"] < 1e-20
    low, high = numbers["plateau_slope_interval"]
    assert 0.85 <= low < high <= 1.15
    assert json.loads((tmp_path / "a" / "result.json").read_text()) == result
    header, *rows = (tmp_path / "a" / "table.csv").read_text().splitlines()
    assert header == "part,quantity,N,t,value,stderr,compared_with"
    assert len(rows) > 500
    assert (tmp_path / "a" / "figure.html").stat().st_size > 100_000


@pytest.mark.slow
def test_small_run_is_reproducible(tmp_path):
    first = run_experiment("thermalisation", tmp_path / "a", size="small", seed=2)
    assert run_experiment("thermalisation", tmp_path / "b", size="small", seed=2)["numbers"] == first["numbers"]
    assert (tmp_path / "a" / "table.csv").read_text() == (tmp_path / "b" / "table.csv").read_text()


@pytest.mark.slow
def test_default_run_agrees(tmp_path):
    result = run_experiment("thermalisation", tmp_path, seed=0)
    assert result["verdict"] == "agrees"
    assert result["numbers"]["largest_local_distance_at_largest_N"] < 0.05
