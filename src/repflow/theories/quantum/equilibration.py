"""Equilibration of a local observable under a Hamiltonian with few couplings, from all of its eigenstates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import require_memory
from repflow.theories.quantum.floquet import require_spins

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

#: Largest number of spins that is diagonalised.
MAX_SPINS = 14


@dataclass(frozen=True)
class Equilibrium:
    """Where an observable ends up; arrays of shape (R,), one entry for each initial state.

    Attributes
    ----------
    initial
        Its mean at time 0.
    diagonal
        Its mean over all times, sum_n |c_n|^2 O_nn: the diagonal ensemble.
    thermal
        tr(O e^{-beta H})/tr(e^{-beta H}) with the energy of the state.
    beta
        That inverse temperature.
    fluctuation
        Its standard deviation over all times, (sum_{n != m} |c_n|^2 |c_m|^2 |O_nm|^2)^(1/2) where no two gaps are
        equal.
    effective_dimension
        1/sum_n |c_n|^4: how many eigenstates take part.
    """

    initial: FloatArray
    diagonal: FloatArray
    thermal: FloatArray
    beta: FloatArray
    fluctuation: FloatArray
    effective_dimension: FloatArray


class ExactDynamics:
    """Time evolution by e^{-iHt} from the eigenstates of H.

    Parameters
    ----------
    hamiltonian
        Hermitian, shape (2^N, 2^N), N up to 14; a matrix without imaginary part is treated as real, which is faster.

    Attributes
    ----------
    energies
        Ascending, (2^N,).
    vectors
        Eigenvectors in columns, (2^N, 2^N).

    Raises
    ------
    ValueError
        The matrix is not square, not Hermitian, or its size is no power of 2 up to 2^14.
    MemoryError
        Five such matrices do not fit in memory.
    """

    def __init__(self, hamiltonian: ArrayLike) -> None:
        H: NDArray[Any] = np.asarray(hamiltonian)
        N = len(H).bit_length() - 1 if H.ndim == 2 else 0
        if H.ndim != 2 or H.shape != (2**N, 2**N):
            raise ValueError(f"hamiltonian must have shape (2^N, 2^N), got {H.shape}")
        require_spins(N, 1, MAX_SPINS, "an exact diagonalisation")
        if not np.iscomplexobj(H) or not H.imag.any():
            H = np.asarray(H.real, dtype=np.float64)
        require_memory(5 * H.itemsize * 4**N, f"the eigenstates of {N} spins", "take fewer spins")
        if not np.allclose(H, H.conj().T, atol=1e-10 * max(1.0, float(np.abs(H).max()))):
            raise ValueError("hamiltonian must be Hermitian")
        self.N = N
        self.energies, self.vectors = np.linalg.eigh(H)

    def evolve(self, state: ArrayLike, times: ArrayLike) -> ComplexArray:
        """e^{-iHt}|psi> for one state (2^N,) at times (T,), shape (T, 2^N)."""
        psi, t = self._states(state)[0], np.asarray(times, dtype=np.float64)
        if t.ndim != 1:
            raise ValueError(f"times must have one axis, got shape {t.shape}")
        require_memory(3 * 16 * len(t) * len(psi), f"states at {len(t)} times", "take fewer times")
        c = self.vectors.conj().T @ psi
        return np.asarray((np.exp(-1j * t[:, None] * self.energies) * c) @ self.vectors.T)

    def equilibrium(self, observable: Any, states: ArrayLike) -> Equilibrium:
        """Where the observable ends up from each of the states.

        Parameters
        ----------
        observable
            Hermitian, shape (2^N, 2^N), dense or a SciPy sparse array.
        states
            Normalised, shape (R, 2^N) or (2^N,).

        Raises
        ------
        ValueError
            Shapes do not fit, or a state has the energy of an end of the spectrum, which no temperature gives.
        """
        psi = self._states(states)
        if observable.shape != self.vectors.shape:
            raise ValueError(f"observable must have shape {self.vectors.shape}, got {observable.shape}")
        amplitudes = psi @ self.vectors.conj()
        share = amplitudes.real**2 + amplitudes.imag**2  # |c_n|^2, (R, 2^N)
        applied = observable @ self.vectors
        if not np.iscomplexobj(self.vectors) and np.iscomplexobj(applied) and not applied.imag.any():
            applied = applied.real
        elements = self.vectors.conj().T @ applied
        levels = np.diagonal(elements).real
        squares = elements.real**2 + (elements.imag**2 if np.iscomplexobj(elements) else 0.0)
        # The sum over n != m: all, less the diagonal.
        variance = ((share @ squares) * share).sum(axis=1) - share**2 @ np.diagonal(squares)
        beta = np.array([inverse_temperature(self.energies, float(one @ self.energies)) for one in share])
        gibbs = np.array([_gibbs(self.energies, one) for one in beta])
        return Equilibrium(
            initial=np.einsum("rx,rx->r", psi.conj(), (observable @ psi.T).T).real,
            diagonal=share @ levels,
            thermal=gibbs @ levels,
            beta=beta,
            fluctuation=np.sqrt(np.maximum(variance, 0.0)),
            effective_dimension=1.0 / (share**2).sum(axis=1),
        )

    def _states(self, states: ArrayLike) -> ComplexArray:
        psi = np.atleast_2d(np.asarray(states, dtype=np.complex128))
        if psi.ndim != 2 or psi.shape[1] != len(self.energies):
            raise ValueError(f"states must have a last axis of 2^N = {len(self.energies)}, got shape {psi.shape}")
        return psi


def inverse_temperature(energies: ArrayLike, energy: float) -> float:
    """The beta at which the canonical mean of the energies is ``energy``; negative above their plain mean.

    Raises
    ------
    ValueError
        The energy lies within 1e-6 of the width of the spectrum of an end of it, or beyond.
    """
    from scipy.optimize import brentq

    E = np.asarray(energies, dtype=np.float64)
    low, high = float(E.min()), float(E.max())
    margin = 1e-6 * (high - low)
    if not low + margin < energy < high - margin:
        raise ValueError(f"energy must lie between the ends of the spectrum, {low:g} and {high:g}, got {energy:g}")

    def excess(beta: float) -> float:
        return float(_gibbs(E, beta) @ E) - energy

    reach = 1.0 / (high - low)
    while excess(reach) > 0 or excess(-reach) < 0:
        reach *= 2
    return float(brentq(excess, -reach, reach, xtol=1e-12))


def _gibbs(energies: FloatArray, beta: float) -> FloatArray:
    exponent = -beta * energies
    weight = np.exp(exponent - exponent.max())
    return np.asarray(weight / weight.sum())
