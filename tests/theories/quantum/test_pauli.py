"""The Pauli expansion against traces of Kronecker products."""

import itertools

import numpy as np
import pytest
from tests.theories.quantum.kronecker import string

from repflow.blocks import generator
from repflow.theories.quantum import (
    SpinHamiltonian,
    count_couplings,
    haar_unitary,
    ising_chain,
    pauli_couplings,
    pauli_sum,
    weights,
)


def masks(letters):
    flips = sum(1 << i for i, letter in enumerate(letters) if letter in "xy")
    signs = sum(1 << i for i, letter in enumerate(letters) if letter in "yz")
    return flips, signs


@pytest.mark.parametrize("N", [1, 2, 3])
def test_all_couplings_are_traces(N):
    rng = np.random.default_rng(0)
    O = rng.normal(size=(2**N, 2**N)) + 1j * rng.normal(size=(2**N, 2**N))
    c, spins = pauli_couplings(O), weights(N)
    for letters in itertools.product("ixyz", repeat=N):
        assert c[masks(letters)] == pytest.approx(np.trace(string(letters) @ O) / 2**N)
        assert spins[masks(letters)] == N - letters.count("i")


@pytest.mark.parametrize("N", [2, 6])
def test_the_sum_gives_the_operator_back(N):
    rng = np.random.default_rng(1)
    O = rng.normal(size=(2**N, 2**N)) + 1j * rng.normal(size=(2**N, 2**N))
    np.testing.assert_allclose(pauli_sum(pauli_couplings(O)), O, atol=1e-12)
    H = O + O.conj().T
    c = pauli_couplings(H)
    assert np.abs(c.imag).max() < 1e-13
    assert (np.abs(c) ** 2).sum() == pytest.approx((np.abs(H) ** 2).sum() / 2**N)  # Parseval


def test_terms_of_a_hamiltonian_are_read_back():
    terms = (("xyz", (4, 0, 2), 0.5), ("y", (1,), -2.0), ("zz", (3, 4), 0.25), ("xx", (0, 1), 1.0))
    c = pauli_couplings(SpinHamiltonian(5, terms).dense())
    expected = np.zeros_like(c)
    for paulis, sites, J in terms:
        letters = ["i"] * 5
        for letter, site in zip(paulis, sites):
            letters[site] = letter
        expected[masks(letters)] = J
    np.testing.assert_allclose(c, expected, atol=1e-15)


@pytest.mark.parametrize("N", [3, 6, 8])
def test_a_local_hamiltonian_is_sparse_in_one_basis_only(N):
    H = ising_chain(N).dense()
    own = count_couplings(pauli_couplings(H + 7 * np.eye(2**N)))
    assert (own.count, own.most_spins, own.total) == (3 * N - 1, 2, 4**N - 1)
    assert own.local_weight == pytest.approx(1)
    J2 = np.array([J for _, _, J in ising_chain(N).terms]) ** 2
    assert own.participation == pytest.approx(J2.sum() ** 2 / (J2**2).sum())
    V = haar_unitary(N, generator(0, N))
    rotated = count_couplings(pauli_couplings(V @ H @ V.conj().T))
    assert rotated.count > 0.99 * (4**N - 1)
    assert rotated.most_spins == N
    # Gaussian couplings: E c^4 = 3 (E c^2)^2; all strings weigh the same.
    assert rotated.participation == pytest.approx(4**N / 3, rel=3 / 2**N + 0.05)
    few = (3 * N + 9 * N * (N - 1) / 2) / (4**N - 1)
    assert rotated.local_weight == pytest.approx(few, rel=0.5)


def test_threshold_is_relative_to_the_norm():
    H = SpinHamiltonian(2, (("z", (0,), 1.0), ("x", (1,), 1e-3))).dense()
    for scale in (1.0, 1e-8):
        c = pauli_couplings(scale * H)
        assert count_couplings(c).count == 2
        assert count_couplings(c, 0.01).count == 1


def test_what_does_not_fit_is_refused(monkeypatch):
    for shape in ((3, 3), (4, 2), (4,), (1, 1)):
        with pytest.raises(ValueError, match=r"shape \(2\^N, 2\^N\)"):
            pauli_couplings(np.zeros(shape))
    with pytest.raises(ValueError, match="between 1 and 12 spins, got 13"):
        weights(13)
    c = pauli_couplings(np.diag([1.0, -1.0]))
    with pytest.raises(ValueError, match="threshold"):
        count_couplings(c, 0.0)
    with pytest.raises(ValueError, match="multiple of 1"):
        count_couplings(pauli_couplings(np.eye(4)))
    monkeypatch.setattr("repflow.blocks.available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match="fewer spins"):
        pauli_couplings(np.eye(8))
