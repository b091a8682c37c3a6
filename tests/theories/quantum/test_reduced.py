"""Reduced density matrices against a partial trace term by term."""

import numpy as np
import pytest
from tests.theories.quantum.kronecker import PAULI, local, partial_trace, string

from repflow.blocks import generator
from repflow.theories.quantum import (
    all_reduced,
    haar_states,
    local_distances,
    overlap,
    product_state,
    purity,
    random_directions,
    reduced,
    subsets,
    trace_distance,
)


@pytest.mark.parametrize("sites", [(0,), (3,), (0, 1), (3, 1), (1, 3), (2, 0, 3), (0, 1, 2, 3)])
def test_partial_trace(sites):
    psi = haar_states(4, 1, 0, 0).T[0]
    np.testing.assert_allclose(reduced(psi, sites), partial_trace(psi, sites), atol=1e-14)


def test_means_of_local_observables():
    N = 5
    psi = haar_states(N, 1, 0, 1).T[0]
    rho = reduced(psi, [4, 1])  # bit 0 is spin 4, bit 1 is spin 1
    assert np.trace(rho @ np.kron(PAULI["y"], PAULI["x"])) == pytest.approx(np.vdot(psi, string("iyiix") @ psi))
    one = reduced(psi, [2])
    assert np.trace(one @ PAULI["z"]) == pytest.approx(np.vdot(psi, local(N, "z", 2) @ psi))


def test_many_states_at_once():
    psi = haar_states(4, 6, 0, 2).T.reshape(2, 3, 16)
    pairs = all_reduced(psi, 2)
    assert pairs.shape == (6, 2, 3, 4, 4)
    assert subsets(4, 2) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for index, sites in enumerate(subsets(4, 2)):
        np.testing.assert_allclose(pairs[index, 1, 2], partial_trace(psi[1, 2], sites), atol=1e-14)
    np.testing.assert_allclose(np.trace(pairs, axis1=-2, axis2=-1), 1)
    np.testing.assert_allclose(local_distances(psi, 2), trace_distance(pairs))
    np.testing.assert_allclose(local_distances(psi, 2, psi[:, ::-1]), trace_distance(pairs, pairs[:, :, ::-1]))


def test_distance_and_overlap_of_pure_states():
    left, right = haar_states(3, 2, 0, 3).T
    found = trace_distance(np.outer(left, left.conj()), np.outer(right, right.conj()))
    assert found == pytest.approx(np.sqrt(1 - overlap(left, right)))  # Fuchs and van de Graaf, equality for pure states
    assert overlap(left, right) == pytest.approx(abs(np.vdot(left, right)) ** 2)
    assert purity(np.outer(left, left.conj())) == pytest.approx(1)


def test_distance_is_the_largest_difference_of_probabilities():
    rho, sigma = reduced(haar_states(4, 2, 0, 4).T, [0, 2])
    values, vectors = np.linalg.eigh(rho - sigma)
    event = vectors[:, values > 0] @ vectors[:, values > 0].conj().T
    best = float(trace_distance(rho, sigma))
    assert np.trace(event @ (rho - sigma)).real == pytest.approx(best)
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = np.linalg.qr(rng.normal(size=(4, 2)) + 1j * rng.normal(size=(4, 2)))[0]
        assert np.trace(other @ other.conj().T @ (rho - sigma)).real <= best + 1e-12


def test_a_product_state_is_pure_everywhere_and_a_pair_of_singlets_nowhere():
    psi = product_state(random_directions(4, generator(5)))
    for sites in (1, 2):
        np.testing.assert_allclose(purity(all_reduced(psi, sites)), 1)
        np.testing.assert_allclose(local_distances(psi, sites), 1 - 2.0**-sites)
    singlet = np.array([0, 1, -1, 0]) / np.sqrt(2)
    np.testing.assert_allclose(local_distances(np.kron(singlet, singlet), 1), 0, atol=1e-14)


def test_what_does_not_fit_is_refused():
    psi = np.zeros(8)
    for sites in ([], [0, 0], [3], [-1]):
        with pytest.raises(ValueError, match="sites must be different spins out of 0..2"):
            reduced(psi, sites)
    with pytest.raises(ValueError, match=r"2\^N entries"):
        reduced(np.zeros(6), [0])
    with pytest.raises(ValueError, match="between 1 and N = 3"):
        all_reduced(psi, 4)
    with pytest.raises(ValueError, match="rho"):
        trace_distance(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="sigma"):
        trace_distance(np.eye(2), np.eye(4))
