"""Eigenphases, spacings, spectra and form factors against random matrices drawn by SciPy."""

import numpy as np
import pytest
from scipy.stats import unitary_group

from repflow.theories.quantum import (
    SPACING_RATIOS,
    coe_form,
    cue_form,
    eigenphases,
    form_factor,
    generic_matrix,
    ising_chain,
    kicked_ising,
    plateau_time,
    ramp_time,
    spacing_ratio,
    spectral_kurtosis,
)


def phases_of(ensemble, D, draws, seed=0):
    """Eigenphases (draws, D), by NumPy's general eigenvalues."""
    rng = np.random.default_rng(seed)
    if ensemble == "Poisson":
        return rng.uniform(-np.pi, np.pi, size=(draws, D))
    found = []
    for _ in range(draws):
        U = unitary_group.rvs(D, random_state=rng)
        found.append(np.angle(np.linalg.eigvals(U.T @ U if ensemble == "COE" else U)))
    return np.array(found)


@pytest.mark.parametrize("N", [2, 5, 7])
def test_eigenphases_are_those_of_the_eigenvalues(N):
    U = kicked_ising(N, 1).unitary()
    np.testing.assert_allclose(eigenphases(U), np.sort(np.angle(np.linalg.eigvals(U))), atol=1e-11)


@pytest.mark.parametrize("at", [-1.0, 1.0, np.exp(0.7j), -np.exp(0.7j)])
def test_eigenphases_anywhere_and_degenerate(at):
    # The first trial transform has its pole at -e^{0.7i}.
    V = unitary_group.rvs(6, random_state=0)
    values = np.array([at, at, 1j, -1j, np.exp(0.3j), np.exp(2j)])
    found = eigenphases(V @ np.diag(values) @ V.conj().T)
    np.testing.assert_allclose(np.sort_complex(np.round(np.exp(1j * found), 9)), np.sort_complex(np.round(values, 9)))
    assert (found > -np.pi).all()
    assert (found <= np.pi).all()
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("ensemble", ["CUE", "COE", "Poisson"])
def test_spacing_ratio_of_random_matrices(ensemble):
    ratios = spacing_ratio(phases_of(ensemble, 100, 60))
    assert abs(ratios.mean() - SPACING_RATIOS[ensemble]) < 4 * ratios.std() / np.sqrt(60) + 0.002


def test_spacing_ratio_by_hand():
    # Spacings 1, 2, 3 and the rest of the circle.
    rest = 2 * np.pi - 6
    expected = np.mean([1 / 2, 2 / 3, rest / 3, rest])
    assert spacing_ratio([3.0, 0.0, 1.0, 6.0]) == pytest.approx(expected)
    assert spacing_ratio(np.array([[0.0, 1.0, 3.0, 6.0]]) + 2.0).shape == (1,)


def test_kurtosis_of_spectra():
    for H in (ising_chain(5).dense(), generic_matrix(5, 0)):
        E = np.linalg.eigvalsh(H)
        E -= E.mean()
        assert spectral_kurtosis(H + 3 * np.eye(32)) == pytest.approx((E**4).mean() / (E**2).mean() ** 2 - 3)
    assert spectral_kurtosis(np.diag([1.0, -1.0])) == pytest.approx(-2)


def test_form_factor_is_the_trace_of_powers():
    U = kicked_ising(3, 2).unitary()
    times = np.arange(0, 200, 7)
    expected = [abs(np.trace(np.linalg.matrix_power(U, int(t)))) ** 2 for t in times]
    np.testing.assert_allclose(form_factor(eigenphases(U), times), expected, atol=1e-8)
    both = np.stack([eigenphases(U), eigenphases(kicked_ising(3, 3).unitary())])
    np.testing.assert_allclose(form_factor(both, times)[0], expected, atol=1e-8)


@pytest.mark.parametrize(("ensemble", "form"), [("CUE", cue_form), ("COE", coe_form)])
def test_forms_are_those_of_drawn_matrices(ensemble, form):
    D, draws = 32, 240
    times = np.arange(1, 4 * D + 1)
    K = form_factor(phases_of(ensemble, D, draws), times) / D
    bins = K.reshape(draws, -1, 8).mean(-1)
    expected = form(times / D).reshape(-1, 8).mean(-1)
    z = (bins.mean(0) - expected) / (bins.std(0) / np.sqrt(draws))
    assert np.abs(z).max() < 4.5
    plateau = plateau_time(K * D, times, D, ensemble)
    assert abs(np.log2(plateau.time / D)) < 4 * plateau.log2_error + 0.03


def test_coe_form_is_smooth_and_reaches_the_plateau():
    assert coe_form(1 - 1e-9) == pytest.approx(coe_form(1.0), abs=1e-7)
    assert coe_form(1e-4) == pytest.approx(2e-4, rel=1e-3)
    assert 1 - coe_form(20.0) == pytest.approx(1 / (12 * 20.0**2), rel=0.01)


@pytest.mark.parametrize("share", [0.05, 0.4, 2.0])
def test_plateau_time_is_found_wherever_it_is(share):
    D, draws = 256, 100
    times = np.arange(1, 4 * D + 1)
    rng = np.random.default_rng(0)
    K = D * np.minimum(times / (share * D), 1) * rng.exponential(size=(draws, len(times)))
    found = plateau_time(K, times, D)
    assert abs(np.log2(found.time / (share * D))) < 4 * found.log2_error
    assert 0 < found.log2_error < 0.1
    fits = [np.log2(plateau_time(part, times, D).time) for part in K.reshape(10, 10, -1)]
    errors = [plateau_time(part, times, D).log2_error for part in K.reshape(10, 10, -1)]
    assert np.std(fits) == pytest.approx(np.mean(errors), rel=0.6)


def test_independent_phases_have_no_ramp():
    D = 64
    times = np.arange(1, 4 * D + 1)
    K = form_factor(phases_of("Poisson", D, 40), times)
    assert plateau_time(K, times, D).time < 2.5


def test_ramp_time_is_after_the_last_excess():
    D, draws = 128, 50
    times = np.arange(1, 4 * D + 1)
    K = np.minimum(times, D) * np.random.default_rng(0).exponential(size=(draws, len(times)))
    assert ramp_time(K, times, D) == 1
    K[:, 6] *= 3
    assert ramp_time(K, times, D) == 8
    K[:, 90] *= 3  # beyond D/2: not looked at
    assert ramp_time(K, times, D) == 8


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="square"):
        eigenphases(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="unitary to 1e-9"):
        eigenphases(2 * np.eye(3))
    with pytest.raises(ValueError, match="3 or more"):
        spacing_ratio([0.0, 1.0])
    with pytest.raises(ValueError, match="three equal"):
        spacing_ratio([0.0, 0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="Hermitian"):
        spectral_kurtosis(np.array([[0.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="no width"):
        spectral_kurtosis(np.eye(4))
    with pytest.raises(ValueError, match="whole numbers"):
        form_factor(np.zeros(3), [0.5])
    K, times = np.ones((2, 5)), np.arange(1, 6)
    for arguments, message in (
        ((K[:1], times, 4), "R of 2 or more"),
        ((K, times[:-1], 4), "shape"),
        ((K, times - 1, 4), "positive"),
        ((K, times, 4, "CSE"), "CUE, COE"),
    ):
        with pytest.raises(ValueError, match=message):
            plateau_time(*arguments)
