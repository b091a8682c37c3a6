"""Out-of-time-order correlators against dense commutators, free fermions and free probability."""

import numpy as np
import pytest
from scipy.linalg import expm
from tests.theories.quantum.kronecker import local

from repflow import theories as th
from repflow.theories.quantum.evolution import Evolution
from repflow.theories.quantum.hamiltonian import generic_matrix, ising_chain, random_hamiltonian
from repflow.theories.quantum.otoc import generic_otoc, otoc

TIMES = (0.0, 0.4, 1.1)


def by_commutators(hamiltonian, source, W, V):
    N, matrix = hamiltonian.N, hamiltonian.dense()
    values = np.zeros((len(TIMES), N))
    for row, t in enumerate(TIMES):
        U = expm(-1j * t * matrix)
        for w in W:
            moved = U.conj().T @ local(N, w, source) @ U
            for j in range(N):
                for v in V:
                    gap = moved @ local(N, v, j) - local(N, v, j) @ moved
                    values[row, j] += np.trace(gap.conj().T @ gap).real / 2 / 2**N
    return values / (len(W) * len(V))


@pytest.mark.parametrize(("W", "V"), [("xyz", "xyz"), ("x", "y"), ("y", "z"), ("z", "x")])
@pytest.mark.parametrize(
    "hamiltonian", [ising_chain(4), random_hamiltonian(th.KLocal(6, 3), 0)], ids=["ising", "3-local"]
)
def test_trace_and_typical_states_against_commutators(hamiltonian, W, V):
    expected = by_commutators(hamiltonian, 1, W, V)
    evolution, sites = Evolution(hamiltonian), range(hamiltonian.N)
    trace = otoc(evolution, 1, TIMES, targets=sites, W=W, V=V, states=None)
    np.testing.assert_allclose(trace.values, expected, atol=1e-12)
    assert trace.exact
    assert not trace.stderr.any()
    typical = otoc(evolution, 1, TIMES, targets=sites, W=W, V=V, states=60, seed=3)
    assert typical.samples.shape == (60, 3, hamiltonian.N)
    gap = np.abs(typical.values - expected)
    assert (gap <= 5 * typical.stderr + 1e-12).all()
    assert typical.stderr.max() < 0.05


def test_typicality_error_falls_with_the_dimension():
    # One state's deviation is about 2^(-N/2): from 3 to 9 spins, 8 times smaller.
    spread = {}
    for N in (3, 9):
        samples = otoc(
            Evolution(random_hamiltonian(th.KLocal(N, 2), 0)), 0, [1.0], targets=[1], states=30, W="z"
        ).samples
        spread[N] = samples.std()
    assert 3 < spread[3] / spread[9] < 20


def test_methods_agree():
    chain = ising_chain(6).normalised()
    found = [otoc(Evolution(chain, method), 2, TIMES, seed=1).values for method in ("eigenvectors", "chebyshev")]
    np.testing.assert_allclose(*found, atol=1e-11)


def majoranas(N, J, g, t):
    """Z_0(t) = sum_m R_m c_m in the open chain J zz + g x: c = (a_0, b_0, a_1, ...), a_i = x..x z_i, b_i = x..x y_i.

    x_i = i a_i b_i and z_i z_(i+1) = i b_i a_(i+1), so that c' = 2 A c with A tridiagonal and antisymmetric.
    """
    couplings = np.array([g if m % 2 == 0 else J for m in range(2 * N - 1)])
    return expm(2 * t * (np.diag(couplings, 1) - np.diag(couplings, -1)))[0]


def test_free_fermions():
    # X_r = i a_r b_r anticommutes with a_r and b_r: C = 2 (R_a^2 + R_b^2).
    N, J, g = 6, 0.8, 1.1
    found = otoc(
        Evolution(ising_chain(N, J, g, h=0.0)), 0, (0.3, 1.0, 2.4), targets=range(N), W="z", V="x", states=None
    )
    for row, t in enumerate(found.times):
        R = majoranas(N, J, g, t)
        np.testing.assert_allclose(found.values[row], 2 * (R[0::2] ** 2 + R[1::2] ** 2), atol=1e-12)


def test_generic_matrix_follows_free_probability():
    times = (0.2, 0.5, 0.9, 1.6)
    found = np.mean(
        [otoc(Evolution(generic_matrix(7, seed)), 0, times, states=None).values for seed in range(4)], axis=0
    )
    np.testing.assert_allclose(found, np.repeat(generic_otoc(times)[:, None], 6, axis=1), atol=0.03)
    assert generic_otoc(0.0) == 0


def test_bad_input():
    evolution = Evolution(ising_chain(3))
    with pytest.raises(ValueError, match="source"):
        otoc(evolution, 3, [1.0])
    with pytest.raises(ValueError, match="targets"):
        otoc(evolution, 0, [1.0], targets=[-1])
    with pytest.raises(ValueError, match="V must be letters"):
        otoc(evolution, 0, [1.0], V="q")
    with pytest.raises(ValueError, match="ascending"):
        otoc(evolution, 0, [1.0, 0.5])
    with pytest.raises(ValueError, match="states"):
        otoc(evolution, 0, [1.0], states=0)
    with pytest.raises(MemoryError, match="GiB are free"):
        otoc(Evolution(ising_chain(40)), 0, [1.0])
    with pytest.raises(MemoryError, match="GiB are free"):
        otoc(Evolution(ising_chain(24)), 0, [1.0], states=None)
