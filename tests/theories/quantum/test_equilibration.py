"""Equilibration: against matrix exponentials, long times, and QuSpin's diagonal ensemble."""

import numpy as np
import pytest
from scipy.linalg import expm
from tests.theories.quantum.kronecker import local

from repflow.blocks import generator
from repflow.theories.quantum import (
    ExactDynamics,
    SpinHamiltonian,
    generic_matrix,
    inverse_temperature,
    ising_chain,
    product_state,
    random_directions,
)


@pytest.fixture(params=["real", "complex"])
def case(request):
    """Hamiltonian, observable, states."""
    N = 5
    H = ising_chain(N).dense() if request.param == "real" else generic_matrix(N, 1)
    states = np.stack([product_state(random_directions(N, generator(0, r))) for r in range(3)])
    return H, local(N, "y" if request.param == "complex" else "z", 2), states


def test_evolution_is_the_exponential(case):
    H, _, states = case
    found = ExactDynamics(H).evolve(states[0], [0.0, 0.7, 13.0])
    for t, psi in zip((0.0, 0.7, 13.0), found):
        np.testing.assert_allclose(psi, expm(-1j * H * t) @ states[0], atol=1e-11)


def test_mean_and_fluctuation_are_those_of_long_times(case):
    H, O, states = case
    dynamics = ExactDynamics(H)
    found = dynamics.equilibrium(O, states)
    times = np.random.default_rng(0).uniform(0, 1e6, size=20_000)
    for r, state in enumerate(states):
        psi = dynamics.evolve(state, times)
        values = np.einsum("tx,tx->t", psi.conj(), psi @ O.T).real
        assert found.diagonal[r] == pytest.approx(values.mean(), abs=6 * values.std() / np.sqrt(len(times)))
        assert found.fluctuation[r] == pytest.approx(values.std(), rel=0.05)
        assert found.initial[r] == pytest.approx(np.vdot(state, O @ state).real)


def test_thermal_value_has_the_energy_of_the_state(case):
    H, O, states = case
    found = ExactDynamics(H).equilibrium(O, states)
    for r, state in enumerate(states):
        rho = expm(-found.beta[r] * H)
        rho /= np.trace(rho)
        assert np.trace(rho @ H).real == pytest.approx(np.vdot(state, H @ state).real)
        assert np.trace(rho @ O).real == pytest.approx(found.thermal[r])


def test_sparse_observables_and_single_states(case):
    H, O, states = case
    dynamics = ExactDynamics(H)
    letter = "z" if np.isrealobj(dynamics.vectors) else "y"
    sparse = SpinHamiltonian(5, ((letter, (2,), 1.0),)).sparse()
    dense, found = dynamics.equilibrium(O, states), dynamics.equilibrium(sparse, states[1])
    for name in ("initial", "diagonal", "thermal", "fluctuation", "effective_dimension"):
        np.testing.assert_allclose(getattr(found, name), getattr(dense, name)[1:2], rtol=1e-10)


def test_effective_dimension():
    dynamics = ExactDynamics(ising_chain(4).dense())
    both = (dynamics.vectors[:, 3] + dynamics.vectors[:, 7]) / np.sqrt(2)
    found = dynamics.equilibrium(local(4, "z", 0), both)
    assert found.effective_dimension == pytest.approx(2)


def test_quspin_has_the_same_diagonal_ensemble(case):
    measurements = pytest.importorskip("quspin.tools.measurements")
    hamiltonian = pytest.importorskip("quspin.operators").hamiltonian
    H, O, states = case
    dynamics = ExactDynamics(H)
    found = dynamics.equilibrium(O, states)
    quspin_O = hamiltonian([O], [], dtype=np.complex128, check_herm=False, check_symm=False)
    for r, state in enumerate(states):
        theirs = measurements.diag_ensemble(
            5,
            state,
            dynamics.energies,
            dynamics.vectors,
            density=False,
            Obs=quspin_O,
            delta_t_Obs=bool(np.isrealobj(dynamics.vectors)),
        )
        assert float(np.real(theirs["Obs_pure"])) == pytest.approx(found.diagonal[r])
        if np.isrealobj(dynamics.vectors):  # QuSpin 1.0.1 squares complex elements instead of their sizes
            assert float(np.real(theirs["delta_t_Obs_pure"])) == pytest.approx(found.fluctuation[r], rel=1e-6)


def test_inverse_temperature():
    assert inverse_temperature([0.0, 1.0], 1 / (1 + np.e)) == pytest.approx(1)
    assert inverse_temperature([-2.0, 0.0, 2.0], 0.0) == pytest.approx(0, abs=1e-10)
    assert inverse_temperature([0.0, 1.0], np.e**3 / (1 + np.e**3)) == pytest.approx(-3)
    with pytest.raises(ValueError, match="ends of the spectrum"):
        inverse_temperature([0.0, 1.0], 1.0)


def test_what_does_not_fit_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"shape \(2\^N, 2\^N\)"):
        ExactDynamics(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="Hermitian"):
        ExactDynamics(np.array([[0, 1], [0, 0]]))
    dynamics = ExactDynamics(ising_chain(3).dense())
    with pytest.raises(ValueError, match=r"2\^N = 8"):
        dynamics.evolve(np.zeros(4), [0.0])
    with pytest.raises(ValueError, match="observable"):
        dynamics.equilibrium(np.eye(4), np.zeros(8))
    monkeypatch.setattr("repflow.blocks.available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match="fewer spins"):
        ExactDynamics(np.eye(16))
