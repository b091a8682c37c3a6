"""The mixed-field Ising chain: how one spin equilibrates, and its couplings in a basis other than that of sites."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import generator
from repflow.theories import quantum as qm

FloatArray = NDArray[np.float64]

#: Direction of every spin in the state whose magnetisation is drawn: 2.2 from +z, in the plane of y and z.
TILTED = (0.0, math.sin(2.2), math.cos(2.2))
#: Times of that drawing, and those at which fluctuations are measured beside their formula.
TIMES, LATE = np.linspace(0.0, 20.0, 101), (100.0, 10_000.0, 200)
# Names of the random streams; 2 to 5 are those of the kicked chains.
_STATIC, _ROTATION, _LATE = 1, 6, 7


@dataclass(frozen=True)
class Equilibrated:
    """A static chain of N spins; z of its middle spin.

    Attributes
    ----------
    fluctuation, gap, deviation
        Root mean squares over initial states: temporal fluctuation, time average less thermal value, initial value less
        thermal value.
    beta
        Root mean square inverse temperature.
    dimension
        Mean effective dimension.
    curve, diagonal, thermal
        The tilted state: z at :data:`TIMES`, its time average, its thermal value.
    formula, measured
        The tilted state: the fluctuation by formula, and from random late times.
    """

    N: int
    fluctuation: float
    gap: float
    deviation: float
    beta: float
    dimension: float
    curve: FloatArray
    diagonal: float
    thermal: float
    formula: float
    measured: float


def equilibrate(N: int, products: int, seed: int) -> Equilibrated:
    """Diagonalise the mixed-field Ising chain and follow z of the middle spin from random product states."""
    dynamics = qm.ExactDynamics(qm.ising_chain(N).dense())
    observable = qm.SpinHamiltonian(N, (("z", (N // 2,), 1.0),)).sparse().real
    rng = generator(seed, _STATIC, N)
    tilted = qm.product_state([TILTED] * N)
    states = np.stack([tilted, *(qm.product_state(qm.random_directions(N, rng)) for _ in range(products))])
    found = dynamics.equilibrium(observable, states)
    z = observable.diagonal()
    low, high, count = LATE
    late = generator(seed, _LATE, N).uniform(low, high, size=int(count))
    curve, late_curve = ((np.abs(dynamics.evolve(tilted, times)) ** 2) @ z for times in (TIMES, late))

    def rms(values: FloatArray) -> float:
        return float(np.sqrt(np.mean(values[1:] ** 2)))  # the first state is the tilted one

    return Equilibrated(
        N=N,
        fluctuation=rms(found.fluctuation),
        gap=rms(found.diagonal - found.thermal),
        deviation=rms(found.initial - found.thermal),
        beta=rms(found.beta),
        dimension=float(found.effective_dimension[1:].mean()),
        curve=curve,
        diagonal=float(found.diagonal[0]),
        thermal=float(found.thermal[0]),
        formula=float(found.fluctuation[0]),
        measured=float(np.sqrt(np.mean((late_curve - found.diagonal[0]) ** 2))),
    )


@dataclass(frozen=True)
class Counted:
    """The static chain in its own basis and a random one, and a random matrix: couplings and shape of spectrum."""

    N: int
    own: qm.CouplingCount
    rotated: qm.CouplingCount
    generic: qm.CouplingCount
    kurtosis: float
    generic_kurtosis: float


def count(N: int, seed: int) -> Counted:
    """Expand the mixed-field Ising chain in Pauli strings, before and after a Haar-random unitary."""
    H, V = qm.ising_chain(N).dense(), qm.haar_unitary(N, generator(seed, _ROTATION, N))
    random = qm.generic_matrix(N, seed)
    own, rotated, generic = (qm.count_couplings(qm.pauli_couplings(A)) for A in (H, V @ H @ V.conj().T, random))
    return Counted(N, own, rotated, generic, qm.spectral_kurtosis(H), qm.spectral_kurtosis(random))
