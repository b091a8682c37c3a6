"""The kicked chain against matrix exponentials of Kronecker products."""

import numpy as np
import pytest
from tests.theories.quantum.kronecker import period

from repflow.theories.quantum import KickedIsing, eigenphases, kicked_ising, spacing_ratio


def any_chain(N, steps, seed=0):
    rng = np.random.default_rng(seed)
    return KickedIsing(rng.normal(size=(steps, N - 1)), rng.normal(size=(steps, N)), rng.normal(size=(steps, N, 3)))


@pytest.mark.parametrize(("N", "steps"), [(2, 1), (3, 2), (5, 3), (6, 1)])
def test_period_is_the_product_of_exponentials(N, steps):
    chain = any_chain(N, steps)
    np.testing.assert_allclose(chain.unitary(), period(chain), atol=1e-12)


@pytest.mark.parametrize("N", [3, 7])
def test_evolution_is_powers_of_the_period(N):
    chain, rng = any_chain(N, 2), np.random.default_rng(1)
    states = rng.normal(size=(2, 3, 2**N)) + 1j * rng.normal(size=(2, 3, 2**N))
    before = states.copy()
    U, times = period(chain), [0, 1, 4, 9]
    for time, evolved in zip(times, list(chain.evolve(states, times)), strict=True):
        np.testing.assert_allclose(evolved, states @ np.linalg.matrix_power(U, time).T, atol=1e-10)
    assert np.array_equal(states, before)


def test_no_rotation_is_no_rotation():
    chain = KickedIsing(np.zeros((1, 2)), np.zeros((1, 3)), np.zeros((1, 3, 3)))
    assert np.array_equal(chain.unitary(), np.eye(8))
    assert chain.count == 0


def test_couplings_are_counted():
    N = 7
    assert kicked_ising(N).count == 2 * (N - 1) + 2 * N + 2 * N
    assert kicked_ising(N, time_reversal=True).count == (N - 1) + N + N


def test_the_same_stream_gives_the_same_chain():
    a, b, other = kicked_ising(5, 3, 1, 2), kicked_ising(5, 3, 1, 2), kicked_ising(5, 3, 1, 3)
    assert np.array_equal(a.fields, b.fields)
    assert not np.array_equal(a.fields, other.fields)
    assert a.fields.min() >= 0
    assert a.fields.max() <= 1.2
    uniform = kicked_ising(5, disorder=0.0)
    assert np.ptp(uniform.fields) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 0.5996), ({"time_reversal": True}, 0.5307), ({"kicks": (0.8, 0.8)}, 0.5307)],
    ids=["CUE", "COE", "equal kicks"],
)
def test_level_statistics_are_those_of_the_symmetry(options, expected):
    ratios = [spacing_ratio(eigenphases(kicked_ising(7, 5, r, **options).unitary())) for r in range(40)]
    error = np.std(ratios) / np.sqrt(len(ratios))
    assert error < 0.008
    assert abs(np.mean(ratios) - expected) < 4 * error + 0.004  # 0.004: what N = 7 still differs by


def test_what_does_not_fit_is_refused():
    J, h, k = np.zeros((1, 2)), np.zeros((1, 3)), np.zeros((1, 3, 3))
    for arguments, message in (
        ((np.zeros((1, 3)), h, k), r"couplings must have shape \(1, 2\)"),
        ((J, h, np.zeros((2, 3, 3))), r"kicks must have shape \(1, 3, 3\)"),
        ((J, np.zeros(3), k), "fields must have shape"),
        ((J, np.full((1, 3), np.nan), k), "fields must be finite"),
        ((np.zeros((1, 0)), np.zeros((1, 1)), np.zeros((1, 1, 3))), "between 2 and 24 spins, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            KickedIsing(*arguments)
    chain = KickedIsing(J, h, k)
    for states, times, message in (
        (np.zeros(4), [1], r"last axis of 2\^N = 8"),
        (np.zeros(8), [2, 1], "ascend"),
        (np.zeros(8), [-1], "ascend"),
    ):
        with pytest.raises(ValueError, match=message):
            chain.evolve(states, times)
    with pytest.raises(ValueError, match="between 2 and 24"):
        kicked_ising(25)
    with pytest.raises(TypeError, match="whole number"):
        kicked_ising(4.0)
    with pytest.raises(ValueError, match="disorder"):
        kicked_ising(4, disorder=1.5)
    with pytest.raises(ValueError, match="between 2 and 13 spins, got 14"):
        kicked_ising(14).unitary()


def test_what_does_not_fit_in_memory_is_refused(monkeypatch):
    monkeypatch.setattr("repflow.blocks.available_memory", lambda: 10_000)
    chain = kicked_ising(9)
    with pytest.raises(MemoryError, match="fewer spins"):
        chain.evolve(np.zeros(512), [1])
    with pytest.raises(MemoryError, match="fewer spins"):
        chain.unitary()
