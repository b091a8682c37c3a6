"""Covering times against a dense scan by commutators, and exponents of known curves."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import brentq
from tests.theories.quantum.kronecker import local

from repflow import theories as th
from repflow.theories.quantum import covering
from repflow.theories.quantum.covering import covering_time, fit_exponent
from repflow.theories.quantum.hamiltonian import SpinHamiltonian, generic_matrix, ising_chain, random_hamiltonian
from repflow.theories.quantum.otoc import generic_otoc


def scanned(hamiltonian, threshold, step=0.05):
    """The first time on a fine grid at which the least C exceeds the threshold, from the definition."""
    N = hamiltonian.N
    U = expm(-1j * step * hamiltonian.dense())
    moved = {w: local(N, w, 0) for w in "xyz"}
    t = 0.0
    while True:
        t += step
        moved = {w: U.conj().T @ W @ U for w, W in moved.items()}
        C = [
            np.mean(
                [
                    0.5 * np.linalg.norm(W @ local(N, v, j) - local(N, v, j) @ W) ** 2 / 2**N
                    for W in moved.values()
                    for v in "xyz"
                ]
            )
            for j in range(1, N)
        ]
        if min(C) >= threshold:
            return t


@pytest.mark.parametrize(
    "hamiltonian",
    [random_hamiltonian(th.KLocal(4, 2), 0), ising_chain(4, periodic=True).normalised()],
    ids=["2-local", "ring"],
)
def test_against_the_definition(hamiltonian):
    found = covering_time(hamiltonian, thresholds=(0.25, 0.5))
    for level, t in found.times.items():
        assert t <= scanned(hamiltonian, level) <= t + 0.051


def test_the_far_side_of_a_ring_is_last():
    ring = ising_chain(6, periodic=True).normalised()
    found = covering_time(ring, step=0.5)
    assert found.last == {0.5: 3}
    # Neither the start nor the step matter, and the mirror image need not be looked at.
    for other in (
        covering_time(ring, step=0.5, start=2.5),
        covering_time(ring, step=0.5, start=20.0),
        covering_time(ring, step=0.2, targets=[1, 2, 3]),
    ):
        assert other.times[0.5] == pytest.approx(found.times[0.5], rel=5e-3)


def test_random_states_give_what_the_trace_gives(monkeypatch):
    hamiltonian = random_hamiltonian(th.KLocal(7, 2), 1)
    exact = covering_time(hamiltonian).times[0.5]
    monkeypatch.setattr(covering, "EXACT_SPINS", 4)
    assert covering_time(hamiltonian, states=8).times[0.5] == pytest.approx(exact, rel=0.04)


def test_generic_matrix_is_covered_when_free_probability_says():
    expected = brentq(lambda t: generic_otoc(t) - 0.5, 0.1, 1.0)
    assert covering_time(generic_matrix(8, 0)).times[0.5] == pytest.approx(expected, rel=0.03)


def test_exponent_of_a_power_and_of_others():
    sizes = [4, 6, 8, 10]
    power = fit_exponent(sizes, [[np.log(0.7 * N**1.2)] for N in sizes])
    assert (power.value, power.amplitude) == (pytest.approx(1.2), pytest.approx(0.7))
    assert power.low == pytest.approx(power.high)
    assert power.power == pytest.approx(1)
    straight = fit_exponent(sizes, [[np.log(N - 1.0)] for N in sizes])
    assert straight.linear == pytest.approx(1)
    assert straight.low < straight.value < straight.high  # bent on logarithmic axes: the interval shows it
    assert fit_exponent(sizes, [[np.log(np.log(N))] for N in sizes]).logarithmic == pytest.approx(1)


def test_interval_covers_the_exponent_in_19_of_20_cases():
    rng = np.random.default_rng(0)
    sizes = [5, 6, 7, 8, 9, 10]
    inside = 0
    for _ in range(300):
        fit = fit_exponent(sizes, [list(0.4 * np.log(N) + 0.1 * rng.normal(size=8)) for N in sizes])
        inside += fit.low < 0.4 < fit.high
    assert 280 <= inside <= 300


def test_bad_input():
    chain = ising_chain(3)
    with pytest.raises(ValueError, match="thresholds"):
        covering_time(chain, thresholds=(1.0,))
    with pytest.raises(ValueError, match="step"):
        covering_time(chain, step=0.0)
    with pytest.raises(ValueError, match="2 spins or more"):
        covering_time(SpinHamiltonian(1, (("x", (0,), 1.0),)))
    with pytest.raises(ValueError, match="later horizon"):
        covering_time(SpinHamiltonian(3, (("zz", (0, 1), 1.0),)), horizon=1.0)  # spin 2 is alone
    with pytest.raises(MemoryError, match="GiB are free"):
        covering_time(ising_chain(40))
    with pytest.raises(ValueError, match="three sizes"):
        fit_exponent([4, 5], [[0.0], [1.0]])
