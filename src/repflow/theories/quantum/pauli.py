"""The couplings of an operator: its expansion in products of Pauli matrices, which single out a basis of sites.

In the basis in which it is local a Hamiltonian has O(N) couplings. The same operator seen from a basis at random, with
the same spectrum, has about 4^N: without knowing what the subsystems are there is nothing simple to observe.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import require_memory
from repflow.theories.quantum.floquet import require_spins

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

#: A coupling is counted where it exceeds this share of the norm of all of them, far above rounding (1e-16) and far
#: below the 2^-N of a coupling of a random operator.
THRESHOLD = 1e-6
#: Largest number of spins: 16 * 4^N bytes, a few times over.
MAX_SPINS = 12


def pauli_couplings(operator: ArrayLike) -> ComplexArray:
    """All 4^N coefficients c_P = tr(P O)/2^N of O = sum_P c_P P, in O(N 4^N) operations.

    For flips a and signs b, bit masks of the spins, P = i^|a & b| X^a Z^b: X on the spins with a bit in a only, Z in b
    only, Y in both. Since P maps the basis state y to i^|a & b| (-1)^{|b & y|} times y ^ a,

        c[a, b] = 2^-N i^|a & b| sum_y (-1)^{|b & y|} O[y, y ^ a],

    a Walsh-Hadamard transform over y for every a (by SciPy's Fourier transform of axes of length 2).

    Parameters
    ----------
    operator
        Shape (2^N, 2^N), N from 1 to 12; bit i of an index is set where spin i points down.

    Returns
    -------
    ndarray
        Shape (2^N, 2^N), ``[a, b]``; real up to rounding where the operator is Hermitian.

    Raises
    ------
    ValueError
        The operator is not square, its size is no power of 2, or N is above 12.
    MemoryError
        Four arrays of 16 * 4^N bytes do not fit in memory.
    """
    O, N = _square(operator, "operator")
    from scipy.fft import fftn

    index = np.arange(2**N)
    diagonals = O[index[None, :], index[None, :] ^ index[:, None]]  # [a, y] is O[y, y ^ a]
    transformed = fftn(diagonals.reshape(-1, *(2,) * N), axes=range(1, N + 1)).reshape(2**N, 2**N)
    return np.asarray(transformed * _phases(N) / 2**N)


def pauli_sum(couplings: ArrayLike) -> ComplexArray:
    """The operator with given couplings, shape (2^N, 2^N) each: the inverse of :func:`pauli_couplings`.

    Raises
    ------
    ValueError, MemoryError
        As for :func:`pauli_couplings`.
    """
    c, N = _square(couplings, "couplings")
    from scipy.fft import fftn

    index = np.arange(2**N)
    diagonals = fftn((c * _phases(N).conj()).reshape(-1, *(2,) * N), axes=range(1, N + 1)).reshape(2**N, 2**N)
    found = np.empty((2**N, 2**N), dtype=np.complex128)
    found[index[None, :], index[None, :] ^ index[:, None]] = diagonals
    return found


def _phases(N: int) -> ComplexArray:
    index = np.arange(2**N)
    return np.array([1, 1j, -1, -1j])[np.bitwise_count(index[:, None] & index) & 3]


def weights(N: int) -> NDArray[np.int64]:
    """On how many spins each Pauli string of :func:`pauli_couplings` acts, shape (2^N, 2^N)."""
    require_spins(N, 1, MAX_SPINS, "a Pauli expansion")
    index = np.arange(2**N)
    return np.asarray(np.bitwise_count(index[:, None] | index), dtype=np.int64)


@dataclass(frozen=True)
class CouplingCount:
    """How many couplings an operator has.

    Attributes
    ----------
    count
        Those above ``threshold`` times the norm of all of them, the multiple of 1 left out.
    participation
        (sum c^2)^2 / sum c^4: n for n equal couplings, 4^N/3 for Gaussian ones.
    local_weight
        Share of sum c^2 in strings on one and two spins.
    most_spins
        Spins in the longest string that is counted.
    total
        4^N - 1, the couplings there are.
    """

    count: int
    participation: float
    local_weight: float
    most_spins: int
    total: int


def count_couplings(couplings: ArrayLike, threshold: float = THRESHOLD) -> CouplingCount:
    """Count the couplings that are not zero.

    Parameters
    ----------
    couplings
        As :func:`pauli_couplings` returns them.
    threshold
        Relative to the norm of the couplings, between 0 and 1.

    Raises
    ------
    ValueError
        The threshold is not between 0 and 1, or there is no coupling but the multiple of 1.
    """
    c, N = _square(couplings, "couplings")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold!r}")
    square = c.real**2 + c.imag**2
    square[0, 0] = 0.0
    total = float(square.sum())
    if not total > 0:
        raise ValueError("couplings must hold one that is not 0 beside the multiple of 1")
    spins, counted = weights(N), square > threshold**2 * total
    return CouplingCount(
        count=int(counted.sum()),
        participation=total**2 / float((square**2).sum()),
        local_weight=float(square[spins <= 2].sum()) / total,
        most_spins=int(spins[counted].max()),
        total=4**N - 1,
    )


def _square(matrix: ArrayLike, name: str) -> tuple[ComplexArray, int]:
    array = np.asarray(matrix, dtype=np.complex128)
    N = len(array).bit_length() - 1 if array.ndim == 2 else 0
    if array.ndim != 2 or array.shape != (2**N, 2**N) or N < 1:
        raise ValueError(f"{name} must have shape (2^N, 2^N), got {array.shape}")
    require_spins(N, 1, MAX_SPINS, "a Pauli expansion")
    require_memory(4 * 16 * 4**N, f"a Pauli expansion on {N} spins", "take fewer spins")
    return array, N
