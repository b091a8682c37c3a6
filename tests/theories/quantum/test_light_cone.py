"""Fronts, exactly known velocities, and a bound that holds and is reached."""

import numpy as np
import pytest
from scipy.linalg import expm
from tests.theories.quantum.kronecker import local

from repflow import theories as th
from repflow.theories.quantum.hamiltonian import SpinHamiltonian, ising_chain, random_hamiltonian
from repflow.theories.quantum.light_cone import (
    arrival_times,
    chain_lieb_robinson_velocity,
    fit_front,
    lieb_robinson_bound,
)


def test_arrival_times():
    times = [0.0, 1.0, 2.0, 3.0]
    values = np.array([[0.0, 0.6, 0.0], [0.2, 0.6, 0.1], [0.6, 0.6, 0.2], [0.1, 0.6, 0.3]])
    found = arrival_times(times, values, 0.5)
    assert found[0] == pytest.approx(1.75)  # the first crossing, though it falls again
    assert np.isnan(found[1:]).all()  # there before the first time; never there


def test_front_of_known_slope():
    rng = np.random.default_rng(0)
    r = np.arange(1, 12)
    inside = 0
    for _ in range(200):
        front = fit_front(r, 0.3 + r / 0.8 + 0.1 * rng.normal(size=11))
        inside += front.low < 0.8 < front.high
    assert 180 <= inside <= 199  # 190 expected
    exact = fit_front([1, 2, 3, 4], [2.0, 4.0, 6.0, np.nan])
    assert exact.velocity == pytest.approx(0.5)
    assert exact.r_squared == pytest.approx(1)
    # Errors of the times count where the scatter is smaller.
    wide = fit_front(r, r / 0.8, np.full(11, 0.1))
    assert (wide.high - wide.low) / 0.8 == pytest.approx(2 * 1.96 * 0.1 * 0.8 / np.sqrt(110), rel=0.01)


def test_free_fermions_move_at_twice_the_smaller_coupling():
    # Z at the end of the chain J zz + g x is one Majorana: the fastest wave moves at 2 min(J, g).
    N, J, g = 160, 1.0, 0.7
    couplings = np.array([g if m % 2 == 0 else J for m in range(2 * N - 1)])
    step = expm(0.5 * 2 * (np.diag(couplings, 1) - np.diag(couplings, -1)))
    times = 0.5 * np.arange(1, 201)
    R, values = np.eye(2 * N)[0], []
    for _ in times:
        R = R @ step
        values.append(2 * (R[0::2] ** 2 + R[1::2] ** 2))
    distance = np.arange(30, 110)
    front = fit_front(distance, arrival_times(times, np.array(values), 1e-3)[distance])
    assert front.velocity == pytest.approx(2 * g, rel=0.03)
    assert front.r_squared > 0.999
    assert front.velocity < chain_lieb_robinson_velocity(J, g)


def norm_bound(hamiltonian, W, V, t):
    """1/2 |[W(t), V]|^2 with the operator norm: no state has more."""
    N = hamiltonian.N
    U = expm(-1j * t * hamiltonian.dense())
    moved, other = U.conj().T @ local(N, *W) @ U, local(N, *V)
    return 0.5 * np.linalg.norm(moved @ other - other @ moved, 2) ** 2


@pytest.mark.parametrize(
    "hamiltonian",
    [
        ising_chain(5),
        ising_chain(4, periodic=True),
        random_hamiltonian(th.KLocal(4, 3), 0),
        random_hamiltonian(th.Local((4,), fields=True), 1),
    ],
    ids=["chain", "ring", "3-local", "random"],
)
@pytest.mark.parametrize(("W", "V"), [("z", "x"), ("x", "z"), ("y", "y")])
def test_bound_holds_for_the_operator_norm(hamiltonian, W, V):
    times = np.array([0.02, 0.1, 0.3, 1.0])
    for target in range(hamiltonian.N):
        bound = lieb_robinson_bound(hamiltonian, (W, (0,), 1.0), (V, (target,), 1.0), times)
        norms = [norm_bound(hamiltonian, (W, 0), (V, target), t) for t in times]
        assert (np.array(norms) <= bound + 1e-12).all()


def test_bound_is_reached_at_short_times():
    # [X_0(t), X_1] under J zz has norm 2 sin(2 J t).
    pair = SpinHamiltonian(2, (("zz", (0, 1), 0.7),))
    t = np.array([1e-3, 0.3])
    bound = lieb_robinson_bound(pair, ("x", (0,), 1.0), ("x", (1,), 1.0), t)
    exact = 2 * np.sin(2 * 0.7 * t) ** 2
    np.testing.assert_allclose([norm_bound(pair, ("x", 0), ("x", 1), s) for s in t], exact, rtol=1e-10)
    assert bound[0] == pytest.approx(exact[0], rel=1e-5)
    assert bound[1] > exact[1]


def test_velocity_of_the_bound():
    # X arcsinh X = sqrt(X^2 + 1) has the solution 1.50888; and the bound of a long chain moves at 2 X sqrt(J f).
    X = chain_lieb_robinson_velocity(1.0, 1.0) / 2
    assert X * np.arcsinh(X) == pytest.approx(np.sqrt(X**2 + 1), rel=1e-12)
    assert pytest.approx(1.5088795, abs=1e-7) == X
    N, J, g, h = 60, 1.0, 0.5, 0.4
    chain = ising_chain(N, J, g, h)
    velocity = chain_lieb_robinson_velocity(J, np.hypot(g, h))
    times = np.linspace(8, 26, 37)
    distance = np.arange(25, 50, 4)
    bounds = [lieb_robinson_bound(chain, ("z", (0,), 1.0), ("z", (int(r),), 1.0), times) for r in distance]
    front = fit_front(distance, arrival_times(times, np.array(bounds).T, 0.5))
    assert front.velocity == pytest.approx(velocity, rel=0.01)


def test_bad_input():
    with pytest.raises(ValueError, match="shape"):
        arrival_times([0.0, 1.0], np.zeros((3, 2)), 0.5)
    with pytest.raises(ValueError, match="positive"):
        arrival_times([0.0, 1.0], np.zeros((2, 2)), 0.0)
    with pytest.raises(ValueError, match="three arrivals"):
        fit_front([1, 2, 3], [1.0, 2.0, np.nan])
    with pytest.raises(ValueError, match="outwards"):
        fit_front([1, 2, 3], [3.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="0 or later"):
        lieb_robinson_bound(ising_chain(3), ("z", (0,), 1.0), ("z", (1,), 1.0), [-1.0])
