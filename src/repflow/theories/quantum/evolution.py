"""exp(-iHt) on many states at once: exactly by eigenvectors, or by a Chebyshev series where H is sparse and large."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import generator, require_memory
from repflow.theories.quantum.hamiltonian import ComplexArray, FloatArray, SpinHamiltonian, require_dense

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Method = Literal["auto", "eigenvectors", "chebyshev"]

#: Largest number of spins for which ``"auto"`` diagonalises a sparse Hamiltonian.
DENSE_SPINS = 10
#: Share of the spectrum's width that is added at both ends, since Lanczos finds the ends from inside.
_MARGIN = 0.01


class Evolution:
    """The unitary exp(-iHt) of one Hamiltonian.

    Parameters
    ----------
    hamiltonian
        A :class:`SpinHamiltonian`, or a dense Hermitian matrix of shape (2^N, 2^N).
    method
        ``"eigenvectors"`` diagonalises once: any t then costs two products with a dense matrix. ``"chebyshev"``
        expands exp(-iHt) in Chebyshev polynomials of H (H. Tal-Ezer and R. Kosloff, J. Chem. Phys. 81, 3967 (1984)):
        with the spectrum in [b - a, b + a] and H = b + a X,

            exp(-iHt) = exp(-ibt) sum_k (2 - delta_k0) (-i)^k J_k(a t) T_k(X),

        whose coefficients vanish faster than exponentially beyond k = a t. It needs a third of the products that a
        Taylor series does. ``"auto"`` diagonalises up to 10 spins, and dense matrices.

    Raises
    ------
    TypeError, ValueError
        The Hamiltonian is neither of the two, not Hermitian, or its size is not a power of 2.
    MemoryError
        The matrices don't fit; the message states the limit.
    """

    def __init__(self, hamiltonian: SpinHamiltonian | ComplexArray, method: Method = "auto") -> None:
        if method not in ("auto", "eigenvectors", "chebyshev"):
            raise ValueError(f'method must be "auto", "eigenvectors" or "chebyshev", got {method!r}')
        if isinstance(hamiltonian, SpinHamiltonian):
            self.N = hamiltonian.N
        else:
            self.N = _checked(hamiltonian)
        self._hamiltonian = hamiltonian
        small = self.N <= DENSE_SPINS or not isinstance(hamiltonian, SpinHamiltonian)
        self.method = ("eigenvectors" if small else "chebyshev") if method == "auto" else method
        if self.method == "eigenvectors":
            require_dense(self.N, 3)

    @property
    def dimension(self) -> int:
        """2^N."""
        return 2**self.N

    def apply(self, states: ComplexArray, t: float) -> ComplexArray:
        """exp(-iHt) times states.

        Parameters
        ----------
        states
            Shape (2^N,) or (2^N, M), one state a column; left as it is.
        t
            Time, of either sign.

        Raises
        ------
        ValueError
            The states have another length, or t is not finite.
        MemoryError
            Five arrays of that shape don't fit.
        """
        states = np.asarray(states, dtype=np.complex128)
        if states.ndim not in (1, 2) or len(states) != self.dimension:
            raise ValueError(f"states must have shape ({self.dimension},) or ({self.dimension}, M), got {states.shape}")
        if not math.isfinite(t):
            raise ValueError(f"t must be a finite time, got {t!r}")
        require_memory(5 * states.nbytes, f"the evolution of states of {self.N} spins", "take fewer spins or states")
        block = np.ascontiguousarray(states.reshape(self.dimension, -1))
        moved = self._by_eigenvectors(block, t) if self.method == "eigenvectors" else self._by_series(block, t)
        return moved.reshape(states.shape)

    def heisenberg(self, operator: ComplexArray, t: float) -> ComplexArray:
        """O(t) = exp(iHt) O exp(-iHt) as a dense matrix.

        Parameters
        ----------
        operator
            Shape (2^N, 2^N).
        t
            Time.
        """
        half = self.apply(np.ascontiguousarray(operator.conj().T), -t)
        return self.apply(np.ascontiguousarray(half.conj().T), -t)

    @cached_property
    def spectrum(self) -> FloatArray:
        """All energies in order, shape (2^N,), by diagonalisation."""
        return self._eigen[0]

    @cached_property
    def _eigen(self) -> tuple[FloatArray, NDArray[np.float64] | ComplexArray]:
        from scipy.linalg import eigh

        require_dense(self.N, 3)
        matrix = self._hamiltonian.dense() if isinstance(self._hamiltonian, SpinHamiltonian) else self._hamiltonian
        real = not matrix.imag.any()
        energies, vectors = eigh(matrix.real if real else matrix, check_finite=False)
        return energies, np.ascontiguousarray(vectors)

    def _by_eigenvectors(self, block: ComplexArray, t: float) -> ComplexArray:
        energies, vectors = self._eigen
        inside = _times(vectors.conj().T, block)
        inside *= np.exp(-1j * t * energies)[:, None]
        return _times(vectors, inside)

    @cached_property
    def _series(self) -> tuple[csr_array | NDArray[np.float64] | ComplexArray, float, float]:
        """H, real where it is, and centre and half-width of an interval that holds the spectrum."""
        from scipy.sparse.linalg import eigsh

        if isinstance(self._hamiltonian, SpinHamiltonian):
            matrix: Any = self._hamiltonian.sparse()
            real = not matrix.data.imag.any()
        else:
            matrix, real = self._hamiltonian, not self._hamiltonian.imag.any()
        if real:
            matrix = matrix.real
        if self.N == 1:
            low, high = np.linalg.eigvalsh(matrix if isinstance(matrix, np.ndarray) else matrix.toarray())
        else:
            start = generator(0, self.N).standard_normal(self.dimension)
            low, high = (
                float(eigsh(matrix, 1, which=end, return_eigenvectors=False, tol=1e-3, v0=start)[0])
                for end in ("SA", "LA")
            )
        width = max(high - low, 1e-12)
        return matrix, (low + high) / 2, width * (0.5 + _MARGIN)

    def _by_series(self, block: ComplexArray, t: float) -> ComplexArray:
        from scipy.special import jv

        matrix, centre, radius = self._series
        reach = radius * abs(t)
        coefficients = jv(np.arange(int(reach + 12 * reach ** (1 / 3)) + 20), reach)
        order = int(np.flatnonzero(np.abs(coefficients) > 1e-16)[-1]) + 1
        turn = -1j if t >= 0 else 1j
        earlier, now = block, (_times(matrix, block) - centre * block) / radius
        total = coefficients[0] * block + (2 * turn * coefficients[1]) * now
        for k in range(2, order):
            after = _times(matrix, now)
            after -= centre * now
            after *= 2 / radius
            after -= earlier
            earlier, now = now, after
            total += (2 * turn**k * coefficients[k]) * now
        total *= np.exp(-1j * centre * t)
        return total


def _times(matrix: csr_array | NDArray[np.float64] | ComplexArray, block: ComplexArray) -> ComplexArray:
    """matrix @ block; a real matrix acts on the real and imaginary parts as on columns, in half the operations."""
    if np.iscomplexobj(matrix):
        return matrix @ block
    return np.ascontiguousarray(matrix @ block.view(np.float64)).view(np.complex128)


def haar_states(N: int, count: int, seed: int, *key: int) -> ComplexArray:
    """Independent Haar-random states of N spins: normalised complex Gaussian vectors, shape (2^N, count).

    The expectation of an operator in one of them is its mean at infinite temperature up to about 2^(-N/2).

    Parameters
    ----------
    N, count
        Spins and states.
    seed, *key
        As for :func:`repflow.blocks.generator`.

    Raises
    ------
    MemoryError
        Two arrays of 16 * 2^N * count bytes don't fit.
    """
    require_memory(2 * 16 * count * 2**N, f"{count} states of {N} spins", "take fewer spins or states")
    rng = generator(seed, *key)
    states = rng.standard_normal((2**N, count)) + 1j * rng.standard_normal((2**N, count))
    states /= np.linalg.norm(states, axis=0)
    return states


def apply_pauli(pauli: str, site: int, states: ComplexArray) -> ComplexArray:
    """The Pauli matrix x, y or z on one spin, times states of shape (2^N, ...)."""
    dimension = len(states)
    # Bit `site` of the index is the middle axis: 0 is up.
    split = states.reshape(dimension >> (site + 1), 2, (1 << site), -1)
    up, down = split[:, 0], split[:, 1]
    if pauli == "x":
        pair = (down, up)
    elif pauli == "y":
        pair = (-1j * down, 1j * up)
    elif pauli == "z":
        pair = (up, -down)
    else:
        raise ValueError(f"pauli must be x, y or z, got {pauli!r}")
    return np.stack(pair, axis=1).reshape(states.shape)


def _checked(matrix: object) -> int:
    """The number of spins of a dense Hermitian matrix."""
    if not isinstance(matrix, np.ndarray):
        raise TypeError(f"hamiltonian must be a SpinHamiltonian or a dense matrix, got {type(matrix).__name__}")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 2:
        raise ValueError(f"hamiltonian must be a square matrix of side 2^N, got shape {matrix.shape}")
    spins = matrix.shape[0].bit_length() - 1
    if 2**spins != matrix.shape[0]:
        raise ValueError(f"hamiltonian must have a side of 2^N, got {matrix.shape[0]}")
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.conj().T, rtol=0, atol=1e-10):
        raise ValueError("hamiltonian must be Hermitian and finite; give (H + H^dagger)/2")
    return spins
