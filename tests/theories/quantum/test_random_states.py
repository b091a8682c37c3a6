"""Product and Haar-random states: means by Kronecker products, exact formulas against draws and integrals."""

import numpy as np
import pytest
from scipy.integrate import quad
from tests.theories.quantum.kronecker import local, string

from repflow.blocks import generator
from repflow.theories.quantum import (
    haar_distance,
    haar_distance_bound,
    haar_distance_one_site,
    haar_purity,
    haar_states,
    haar_unitary,
    product_state,
    purity,
    random_directions,
    reduced,
    trace_distance,
)


def test_every_spin_of_a_product_state_points_where_it_should():
    N = 4
    directions = random_directions(N, np.random.default_rng(0))
    directions[1] = [0, 0, -1]
    psi = product_state(3.0 * directions)
    assert np.linalg.norm(psi) == pytest.approx(1)
    for i in range(N):
        means = [np.vdot(psi, local(N, letter, i) @ psi) for letter in "xyz"]
        np.testing.assert_allclose(means, directions[i], atol=1e-12)
    both = np.vdot(psi, string("xiyi") @ psi)
    assert both == pytest.approx(directions[0, 0] * directions[2, 1])


def test_basis_state():
    # Spins 0 and 2 down: index 0b101.
    assert np.argmax(np.abs(product_state([[0, 0, -1], [0, 0, 1], [0, 0, -1]]))) == 5


def test_haar_states_have_the_moments_of_the_haar_measure():
    N, draws = 3, 40_000
    psi = haar_states(N, draws, 0, 1).T
    np.testing.assert_allclose(np.linalg.norm(psi, axis=1), 1)
    share = np.abs(psi) ** 2
    D = 2**N
    error = share.std(0) / np.sqrt(draws)
    assert (np.abs(share.mean(0) - 1 / D) < 5 * error).all()
    # E|psi_x|^4 = 2/(D (D + 1))
    fourth = share**2
    assert (np.abs(fourth.mean(0) - 2 / (D * (D + 1))) < 5 * fourth.std(0) / np.sqrt(draws)).all()
    assert abs((psi[:, 0] * psi[:, 1].conj()).mean()) < 5 / D / np.sqrt(draws)


def test_haar_unitary_is_unitary_and_its_entries_have_the_right_size():
    rng = generator(0, 2)
    U = haar_unitary(5, rng)
    np.testing.assert_allclose(U @ U.conj().T, np.eye(32), atol=1e-13)
    traces = np.array([abs(np.trace(haar_unitary(2, rng))) ** 2 for _ in range(4000)])
    assert abs(traces.mean() - 1) < 5 * traces.std() / np.sqrt(len(traces))  # Diaconis and Shahshahani


@pytest.mark.parametrize(("sites", "N"), [((1,), 3), ((0, 2), 4), ((3, 0), 6), ((0, 1, 4), 5)])
def test_mean_purity_of_reductions(sites, N):
    found = purity(reduced(haar_states(N, 20_000, 0, 3).T, sites))
    assert abs(found.mean() - haar_purity(len(sites), N)) < 5 * found.std() / np.sqrt(len(found))


@pytest.mark.parametrize("N", [2, 3, 6])
def test_mean_distance_of_one_site(N):
    d = 2 ** (N - 1)
    above, below = (quad(lambda r, p=p: r**p * (1 - r * r) ** (d - 2), 0, 1)[0] for p in (3, 2))
    assert haar_distance_one_site(N) == pytest.approx(0.5 * above / below, rel=1e-9)
    found = trace_distance(reduced(haar_states(N, 20_000, 0, 4).T, [N - 1]))
    assert abs(found.mean() - haar_distance_one_site(N)) < 5 * found.std() / np.sqrt(len(found))


@pytest.mark.parametrize("sites", [1, 2, 3])
def test_mean_distance_for_a_large_rest(sites):
    # The norm of traceless Gaussian Hermitian matrices, drawn.
    d, draws, N = 2**sites, 40_000, 20
    rng = generator(0, 5)
    A = rng.normal(size=(draws, d, d)) + 1j * rng.normal(size=(draws, d, d))
    H = 0.5 * (A + A.conj().swapaxes(1, 2))
    X = H - np.trace(H, axis1=1, axis2=2)[:, None, None] / d * np.eye(d)
    square = np.einsum("nij,nij->n", X, X.conj()).real
    assert abs(square.mean() - (d * d - 1)) < 5 * square.std() / np.sqrt(draws)
    norm = np.abs(np.linalg.eigvalsh(X)).sum(1)
    scaled = 0.5 * norm / np.sqrt(d * (2**N + 1))
    assert abs(scaled.mean() - haar_distance(sites, N)) < 5 * scaled.std() / np.sqrt(draws)
    assert haar_distance(sites, N) < haar_distance_bound(sites, N)


@pytest.mark.parametrize(("sites", "N", "tolerance"), [(1, 10, 0.002), (2, 10, 0.002), (2, 5, 0.02)])
def test_mean_distance_of_drawn_states(sites, N, tolerance):
    found = trace_distance(reduced(haar_states(N, 3000, 0, 6).T, range(sites)))
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() / haar_distance(sites, N) - 1) < 5 * error / found.mean() + tolerance


def test_distance_halves_with_two_spins():
    for sites in (1, 2):
        assert haar_distance(sites, 32) / haar_distance(sites, 30) == pytest.approx(0.5, rel=1e-6)
    assert haar_distance_one_site(14) == pytest.approx(haar_distance(1, 14), rel=1e-4)


def test_what_does_not_fit_is_refused(monkeypatch):
    for directions, message in (
        (np.zeros((2, 2)), r"shape \(N, 3\)"),
        (np.zeros((2, 3)), "length 0"),
        (np.full((1, 3), np.inf), "finite"),
        (np.ones((25, 3)), "between 1 and 24 spins, got 25"),
    ):
        with pytest.raises(ValueError, match=message):
            product_state(directions)
    with pytest.raises(ValueError, match="between 1 and 13"):
        haar_unitary(14, np.random.default_rng(0))
    for sites in (0, 4, 1.0):
        with pytest.raises(ValueError, match="sites"):
            haar_purity(sites, 4)
    with pytest.raises(ValueError, match="3 or fewer"):
        haar_distance(4, 10)
    monkeypatch.setattr("repflow.blocks.available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match="fewer spins"):
        haar_unitary(6, np.random.default_rng(0))
