"""What is seen of a state on one or two spins: reduced density matrices, and how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.theories.quantum.floquet import MAX_STATE_SPINS, require_spins

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


def subsets(N: int, sites: int) -> list[tuple[int, ...]]:
    """All sets of so many of N spins, in lexicographic order."""
    return list(combinations(range(N), sites))


def reduced(states: ArrayLike, sites: Sequence[int]) -> ComplexArray:
    """Reduced density matrices of pure states on chosen spins.

    Parameters
    ----------
    states
        Shape (..., 2^N), normalised; bit i of the index is set where spin i points down.
    sites
        Different spins out of 0..N-1. Bit m of a row of the result belongs to ``sites[m]``.

    Returns
    -------
    ndarray
        Shape (..., d, d) with d = 2^len(sites): rho = tr_rest |psi><psi|.

    Raises
    ------
    ValueError
        The last axis is no power of 2, or the sites repeat or are out of range.
    """
    psi = np.asarray(states, dtype=np.complex128)
    N = spins_of(psi)
    chosen = [int(site) for site in sites]
    if not chosen or len(set(chosen)) != len(chosen) or min(chosen) < 0 or max(chosen) >= N:
        raise ValueError(f"sites must be different spins out of 0..{N - 1}, got {list(sites)}")
    lead = psi.ndim - 1
    # Axis lead + N - 1 - i of the tensor is spin i, since the last axis is the lowest bit.
    tensor = psi.reshape(*psi.shape[:-1], *(2,) * N)
    kept = [lead + N - 1 - site for site in reversed(chosen)]
    rest = [axis for axis in range(lead, lead + N) if axis not in kept]
    rows = tensor.transpose(*range(lead), *kept, *rest).reshape(*psi.shape[:-1], 2 ** len(chosen), -1)
    return np.asarray(rows @ rows.conj().swapaxes(-1, -2))


def all_reduced(states: ArrayLike, sites: int) -> ComplexArray:
    """Reduced density matrices of every set of so many spins, shape (sets, ..., d, d); sets as in :func:`subsets`."""
    psi = np.asarray(states, dtype=np.complex128)
    N = spins_of(psi)
    if not 1 <= sites <= N:
        raise ValueError(f"sites must lie between 1 and N = {N}, got {sites}")
    return np.stack([reduced(psi, chosen) for chosen in subsets(N, sites)])


def trace_distance(rho: ArrayLike, sigma: ArrayLike | None = None) -> FloatArray:
    """(1/2) ||rho - sigma||_1, the largest difference of the probabilities of any event; shape (...).

    Parameters
    ----------
    rho, sigma
        Density matrices, shape (..., d, d); without ``sigma`` it is the maximally mixed state 1/d.
    """
    left = np.asarray(rho, dtype=np.complex128)
    if left.ndim < 2 or left.shape[-1] != left.shape[-2]:
        raise ValueError(f"rho must have shape (..., d, d), got {left.shape}")
    right = np.eye(left.shape[-1]) / left.shape[-1] if sigma is None else np.asarray(sigma, dtype=np.complex128)
    if right.shape[-2:] != left.shape[-2:]:
        raise ValueError(f"sigma must have shape (..., {left.shape[-1]}, {left.shape[-1]}), got {right.shape}")
    return np.asarray(0.5 * np.abs(np.linalg.eigvalsh(left - right)).sum(axis=-1))


def purity(rho: ArrayLike) -> FloatArray:
    """tr rho^2 of Hermitian matrices of shape (..., d, d)."""
    matrix = np.asarray(rho, dtype=np.complex128)
    return np.asarray((matrix.real**2 + matrix.imag**2).sum(axis=(-2, -1)))


def overlap(left: ArrayLike, right: ArrayLike) -> FloatArray:
    """|<left|right>|^2 of states of shape (..., 2^N): the mean of the projector on one in the other."""
    product = (np.asarray(left).conj() * np.asarray(right)).sum(axis=-1)
    return np.asarray(np.abs(product) ** 2)


def spins_of(states: NDArray[np.complexfloating]) -> int:
    """N from the last axis, which must be 2^N.

    Raises
    ------
    ValueError
        It is no power of 2, or N is above 24.
    """
    size = states.shape[-1] if states.ndim else 0
    N = size.bit_length() - 1
    if size < 2 or size != 2**N:
        raise ValueError(f"states must have a last axis of 2^N entries, got shape {states.shape}")
    return require_spins(N, 1, MAX_STATE_SPINS)


def local_distances(states: ArrayLike, sites: int, others: ArrayLike | None = None) -> FloatArray:
    """Trace distances of the reductions to every set of so many spins, shape (sets, ...).

    Parameters
    ----------
    states
        Shape (..., 2^N).
    sites
        Spins in a set; sets as in :func:`subsets`.
    others
        States to compare with, of the same shape; without them, the maximally mixed state.
    """
    return trace_distance(all_reduced(states, sites), None if others is None else all_reduced(others, sites))
