"""Configurations of N spins, as arrays and as the bits of an index."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import require_memory

#: All 2^N configurations are enumerated up to here: 8 bytes each are 1 GiB at N = 27.
LARGEST = 30


def check_size(N: object, least: int = 1) -> int:
    """``N`` as an int; ``TypeError`` or ``ValueError`` unless it is a whole number of ``least`` or more."""
    if isinstance(N, bool) or not isinstance(N, (int, np.integer)):
        raise TypeError(f"N must be a whole number of spins, got {N!r}")
    if N < least:
        raise ValueError(f"N must be {least} or more, got {N}")
    return int(N)


def require_enumerable(N: int, what: str, bytes_each: int = 8) -> None:
    """Refuse what would need all 2^N configurations of too many spins.

    Raises
    ------
    MemoryError
        N is above :data:`LARGEST`, or 2^N times ``bytes_each`` is more than what is free.
    """
    remedy = "use fewer spins, or a family whose interaction terms are few"
    if N > LARGEST:
        raise MemoryError(f"{what} holds 2^{N} numbers; the limit is 2^{LARGEST}; {remedy}")
    require_memory(2**N * bytes_each, f"{what} of 2^{N} numbers", remedy)


def spins(N: int) -> NDArray[np.int8]:
    """All 2^N configurations of N spins: row x has spin i at -1 where bit i of x is set, else +1.

    Returns
    -------
    array (2^N, N) of int8

    Raises
    ------
    MemoryError
        They do not fit.
    """
    N = check_size(N)
    require_enumerable(N, "the array of all configurations", 2 * N)
    return unpack(np.arange(2**N, dtype=np.int64), N)


def unpack(index: ArrayLike, N: int) -> NDArray[np.int8]:
    """The configurations of these indices: shape (..., N), -1 where the bit is set."""
    x = np.asarray(index, dtype=np.int64)[..., None]
    return (1 - 2 * ((x >> np.arange(N)) & 1)).astype(np.int8)


def pack(configurations: ArrayLike) -> NDArray[np.int64]:
    """The index of each configuration, shape (..., N) to (...): bit i is set where spin i is -1; N of 62 or less."""
    s = np.asarray(configurations)
    return np.asarray((s < 0).astype(np.int64) @ (np.int64(1) << np.arange(s.shape[-1], dtype=np.int64)))


def check_spins(configurations: ArrayLike, N: int) -> NDArray[Any]:
    """``configurations`` as an array (..., N) of +-1.

    Raises
    ------
    ValueError
        The last axis is not of length N, or a value is neither +1 nor -1.
    """
    s = np.asarray(configurations)
    if s.ndim == 0 or s.shape[-1] != N:
        raise ValueError(f"spins must have shape (..., {N}), got {s.shape}")
    if s.dtype.kind not in "iuf" or not (np.abs(s) == 1).all():
        raise ValueError("spins must be +1 or -1; bits b become spins by 1 - 2 b")
    return s
