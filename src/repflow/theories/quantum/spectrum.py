"""Levels: the phases of a unitary, how they are spaced, and the shape of a Hamiltonian's spectrum."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import require_memory

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

#: Mean ratio of neighbouring spacings of large matrices: Y. Y. Atas et al., Phys. Rev. Lett. 110, 084101 (2013), for
#: the Gaussian ensembles, whose local statistics are those of the circular ones.
SPACING_RATIOS = {"CUE": 0.5996, "COE": 0.5307, "Poisson": 2 * math.log(2) - 1}


def eigenphases(unitary: ArrayLike) -> FloatArray:
    """The phases theta of the eigenvalues e^{i theta} of a unitary matrix, ascending in (-pi, pi].

    By the Cayley transform i (1 - W)(1 + W)^-1 of W = e^{-i a} U, a Hermitian matrix with the eigenvalues
    tan((theta - a)/2): a Hermitian eigenvalue problem takes a tenth of the time of a general one. Where an eigenvalue
    of W comes close to -1, another angle a is taken.

    Raises
    ------
    ValueError
        The matrix is not square, or not unitary to 1e-9.
    """
    U = np.asarray(unitary, dtype=np.complex128)
    if U.ndim != 2 or U.shape[0] != U.shape[1] or len(U) < 1:
        raise ValueError(f"unitary must be a square matrix, got shape {U.shape}")
    one = np.eye(len(U))
    apart = float(np.abs(U @ U.conj().T - one).max())
    if not apart < 1e-9:
        raise ValueError(f"unitary must be unitary to 1e-9, but U U^+ differs from 1 by {apart:.2g}")
    # Rounding in the tangents is about 1e-16 times the largest of them. It is about 2^N for an angle at random, and
    # among 16 angles one lies in no gap narrower than 1/16 of the mean, as long as the phases are not all in gaps.
    best, best_size = np.empty(0), math.inf
    for trial in range(16):
        angle = 0.7 + 2 * math.pi * trial * 0.6180339887498949
        try:
            tangents = _cayley(np.exp(-1j * angle) * U, one)
        except np.linalg.LinAlgError:
            continue
        size = float(np.abs(tangents).max())
        if size < best_size:
            best, best_size = 2 * np.arctan(tangents) + angle, size
        if size < 1e3 * len(U):
            break
    return np.sort(np.pi - (np.pi - best) % (2 * np.pi))


def _cayley(W: ComplexArray, one: FloatArray) -> FloatArray:
    transformed = np.linalg.solve(one + W, 1j * (one - W))
    return np.asarray(np.linalg.eigvalsh(0.5 * (transformed + transformed.conj().T)))


def spacing_ratio(phases: ArrayLike) -> FloatArray:
    """Mean over neighbours of min(s_n, s_{n+1})/max(s_n, s_{n+1}), s_n the spacings of phases on the circle.

    It needs no unfolding (V. Oganesyan and D. A. Huse, Phys. Rev. B 75, 155111 (2007)); :data:`SPACING_RATIOS` holds
    what random matrices and independent phases give.

    Parameters
    ----------
    phases
        Shape (..., D), D of 3 or more, in any order.

    Returns
    -------
    ndarray
        Shape (...).
    """
    theta = np.sort(np.asarray(phases, dtype=np.float64) % (2 * np.pi), axis=-1)
    if theta.ndim < 1 or theta.shape[-1] < 3:
        raise ValueError(f"phases must have a last axis of 3 or more, got shape {theta.shape}")
    spacing = np.diff(theta, axis=-1, append=theta[..., :1] + 2 * np.pi)
    following = np.roll(spacing, -1, axis=-1)
    larger = np.maximum(spacing, following)
    if not (larger > 0).all():
        raise ValueError("phases must not hold three equal ones in a row: their ratio of spacings is 0/0")
    return np.asarray((np.minimum(spacing, following) / larger).mean(axis=-1))


def spectral_kurtosis(hamiltonian: ArrayLike) -> float:
    """Excess kurtosis of the density of states, from traces: <E^4>/<E^2>^2 - 3 with E counted from its mean.

    0 for a Gaussian, which a sum of local terms tends to as 1/N by the central limit theorem; -1 for the semicircle of
    a random matrix.

    Raises
    ------
    ValueError
        The matrix is not square and Hermitian, or is a multiple of 1.
    """
    H = np.array(hamiltonian, dtype=np.complex128)
    if H.ndim != 2 or H.shape[0] != H.shape[1]:
        raise ValueError(f"hamiltonian must be a square matrix, got shape {H.shape}")
    if not np.allclose(H, H.conj().T, atol=1e-10 * max(1.0, float(np.abs(H).max()))):
        raise ValueError("hamiltonian must be Hermitian")
    require_memory(H.nbytes, "the square of the Hamiltonian", "take fewer spins")
    H -= np.trace(H) / len(H) * np.eye(len(H))
    square = H @ H
    second, fourth = np.trace(square).real / len(H), np.vdot(square, square).real / len(H)
    if not second > 0:
        raise ValueError("hamiltonian must not be a multiple of 1: its spectrum has no width")
    return float(fourth / second**2 - 3)
