"""exp(-iHt) by both methods against matrix exponentials, SciPy and QuSpin."""

import numpy as np
import pytest
from scipy.linalg import expm
from tests.theories.quantum.kronecker import local

from repflow import theories as th
from repflow.theories.quantum.evolution import Evolution, apply_pauli, haar_states
from repflow.theories.quantum.hamiltonian import SpinHamiltonian, generic_matrix, ising_chain, random_hamiltonian

HAMILTONIANS = {
    "real": ising_chain(5),
    "complex": random_hamiltonian(th.KLocal(5, 3), 0),
    "shifted": SpinHamiltonian(2, (("zz", (0, 1), 1.0), ("z", (0,), 1.0), ("z", (1,), 1.0))),
    "one spin": SpinHamiltonian(1, (("x", (0,), 1.0), ("y", (0,), 0.5))),
    "dense": generic_matrix(4, 0),
}


@pytest.mark.parametrize("method", ["eigenvectors", "chebyshev"])
@pytest.mark.parametrize("name", HAMILTONIANS)
@pytest.mark.parametrize("t", [0.0, 0.7, -13.0])
def test_against_the_matrix_exponential(name, method, t):
    hamiltonian = HAMILTONIANS[name]
    matrix = hamiltonian.dense() if isinstance(hamiltonian, SpinHamiltonian) else hamiltonian
    evolution = Evolution(hamiltonian, method)
    states = haar_states(evolution.N, 3, 0)
    before = states.copy()
    np.testing.assert_allclose(evolution.apply(states, t), expm(-1j * t * matrix) @ states, atol=1e-11)
    np.testing.assert_array_equal(states, before)
    np.testing.assert_allclose(evolution.apply(states[:, 0], t), expm(-1j * t * matrix) @ states[:, 0], atol=1e-11)


def test_against_quspin_at_eleven_spins():
    pytest.importorskip("quspin")
    chain = ising_chain(11).normalised()
    state = haar_states(11, 1, 3)[:, 0]
    found = Evolution(chain).apply(state, 2.0)
    expected = chain.operator().evolve(state, 0.0, 2.0, atol=1e-12, rtol=1e-12)
    assert Evolution(chain).method == "chebyshev"
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("method", ["eigenvectors", "chebyshev"])
def test_heisenberg(method):
    chain = ising_chain(4)
    operator = local(4, "y", 1) @ local(4, "z", 3) + 1j * local(4, "x", 0)  # not Hermitian
    U = expm(-0.9j * chain.dense())
    np.testing.assert_allclose(
        Evolution(chain, method).heisenberg(operator, 0.9), U.conj().T @ operator @ U, atol=1e-12
    )


def test_spectrum():
    chain = ising_chain(5)
    np.testing.assert_allclose(Evolution(chain).spectrum, np.linalg.eigvalsh(chain.dense()), atol=1e-12)


@pytest.mark.parametrize("pauli", "xyz")
@pytest.mark.parametrize("site", [0, 1, 2])
def test_apply_pauli(pauli, site):
    states = haar_states(3, 2, 1)
    np.testing.assert_allclose(apply_pauli(pauli, site, states), local(3, pauli, site) @ states, atol=1e-15)


def test_haar_states_are_normalised_seeded_and_spread_evenly():
    states = haar_states(4, 4000, 5)
    np.testing.assert_allclose(np.linalg.norm(states, axis=0), 1)
    np.testing.assert_array_equal(states, haar_states(4, 4000, 5))
    mean = states @ states.conj().T / 4000
    assert abs(mean - np.eye(16) / 16).max() < 5 / 16 / np.sqrt(4000)


def test_bad_input():
    with pytest.raises(TypeError, match="SpinHamiltonian or a dense matrix"):
        Evolution("zz")
    with pytest.raises(ValueError, match="side of 2"):
        Evolution(np.eye(3))
    with pytest.raises(ValueError, match="Hermitian"):
        Evolution(np.array([[0.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="method"):
        Evolution(ising_chain(3), "euler")
    evolution = Evolution(ising_chain(3))
    with pytest.raises(ValueError, match=r"\(8,\)"):
        evolution.apply(np.ones(4), 1.0)
    with pytest.raises(ValueError, match="finite"):
        evolution.apply(np.ones(8), np.inf)
    with pytest.raises(ValueError, match="pauli"):
        apply_pauli("q", 0, np.ones(8))
    with pytest.raises(MemoryError, match="GiB are free"):
        haar_states(50, 1, 0)
    with pytest.raises(MemoryError, match="GiB are free"):
        Evolution(ising_chain(30), "eigenvectors")
