"""A function of N spins and its 2^N couplings: the Walsh-Hadamard transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.theories.spins import require_enumerable

FloatArray = NDArray[np.float64]


def couplings(values: ArrayLike) -> FloatArray:
    """The couplings of any function of N spins: f(s) = sum_S J_S prod_{i in S} s_i.

    J_S = 2^-N sum_s f(s) prod_{i in S} s_i, for all 2^N subsets S at once: the discrete Fourier transform over N axes
    of length 2 (the Walsh-Hadamard transform; R. O'Donnell, *Analysis of Boolean Functions*, section 1.2).

    Parameters
    ----------
    values
        (2^N,) function values: at index x spin i is -1 where bit i of x is set, else +1.

    Returns
    -------
    array (2^N,)
        At index S the coupling of the spins whose bits are set in S; index 0 is the constant.

    Raises
    ------
    ValueError
        The number of values is not a power of two, or a value is not finite.
    MemoryError
        The transform does not fit.
    """
    f, N = as_table(values, "values")
    return _transform(f, N) / 2**N


def values(couplings: ArrayLike) -> FloatArray:
    """The function values of given couplings, f(s) = sum_S J_S prod_{i in S} s_i: the inverse of :func:`couplings`.

    Parameters
    ----------
    couplings
        (2^N,), indexed as :func:`couplings` returns them.

    Returns
    -------
    array (2^N,)

    Raises
    ------
    ValueError, MemoryError
        As for :func:`couplings`.
    """
    return _transform(*as_table(couplings, "couplings"))


def orders(N: int) -> NDArray[np.int64]:
    """(2^N,): the number of spins in each subset, the order of its coupling."""
    return np.bitwise_count(np.arange(2**N, dtype=np.int64)).astype(np.int64)


def _transform(f: FloatArray, N: int) -> FloatArray:
    from scipy.fft import fftn

    if N == 0:
        return f.copy()
    # SciPy's transform of an axis of length 2 is (a + b, a - b); its result is complex, and real here.
    return np.ascontiguousarray(fftn(f.reshape((2,) * N)).real).reshape(-1)


def as_table(numbers: ArrayLike, name: str) -> tuple[FloatArray, int]:
    """2^N numbers as an array of one axis, and N; ValueError where they are not."""
    f = np.asarray(numbers, dtype=np.float64)
    N = f.size.bit_length() - 1
    if f.ndim != 1 or f.size != 2**N:
        raise ValueError(f"{name} must hold 2^N numbers in one axis, got shape {f.shape}")
    if not np.isfinite(f).all():
        raise ValueError(f"{name} must be finite: a log-probability of -inf has no couplings")
    require_enumerable(N, "the transform", 48)
    return f, N
