"""Simple states and random ones: product states, Haar-random unitaries, and means over Haar-random states."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import require_memory
from repflow.theories.quantum.floquet import MAX_DENSE_SPINS, MAX_STATE_SPINS, require_spins

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


def product_state(directions: ArrayLike) -> ComplexArray:
    """Every spin in a direction of its own.

    Parameters
    ----------
    directions
        Shape (N, 3), none of length 0; spin i points along ``directions[i]``, so that its mean is that unit vector.

    Returns
    -------
    ndarray
        Shape (2^N,), normalised; bit i of the index is set where spin i points down.

    Raises
    ------
    ValueError
        The shape is another, N is above 24, or a direction is zero or not finite.
    """
    vectors = np.asarray(directions, dtype=np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != 3:
        raise ValueError(f"directions must have shape (N, 3), got {vectors.shape}")
    require_spins(len(vectors), 1, MAX_STATE_SPINS)
    length = np.linalg.norm(vectors, axis=1)
    if not (np.isfinite(length) & (length > 0)).all():
        raise ValueError("directions must be finite and none of length 0")
    x, y, z = (vectors / length[:, None]).T
    theta, phi = np.arccos(np.clip(z, -1, 1)), np.arctan2(y, x)
    state = np.ones(1, dtype=np.complex128)
    for spin in np.stack([np.cos(theta / 2), np.sin(theta / 2) * np.exp(1j * phi)], axis=1):
        state = np.kron(spin, state)  # the later spin is the more significant bit
    return state


def random_directions(N: int, rng: np.random.Generator) -> FloatArray:
    """N directions, uniform on the sphere, shape (N, 3)."""
    vectors = rng.standard_normal((N, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def haar_unitary(N: int, rng: np.random.Generator) -> ComplexArray:
    """A unitary matrix of N spins from the Haar measure, shape (2^N, 2^N), by SciPy.

    Raises
    ------
    ValueError
        N is below 1 or above 13.
    MemoryError
        It does not fit in memory.
    """
    from scipy.stats import unitary_group

    require_spins(N, 1, MAX_DENSE_SPINS, "a dense unitary")
    require_memory(5 * 16 * 4**N, f"a random unitary of {N} spins", "take fewer spins")
    return np.asarray(unitary_group.rvs(2**N, random_state=rng), dtype=np.complex128)


def haar_purity(sites: int, N: int) -> float:
    """Mean of tr rho^2 over Haar-random states, rho the reduction to some of N spins.

    (d_A + d_B)/(d_A d_B + 1) with d_A = 2^sites and d_B = 2^(N - sites) (E. Lubkin, J. Math. Phys. 19, 1028 (1978)).
    """
    d_A, d_B = _dimensions(sites, N)
    return (d_A + d_B) / (d_A * d_B + 1)


def haar_distance_bound(sites: int, N: int) -> float:
    """A bound on the mean trace distance of a Haar-random state's reduction from the maximally mixed state.

    The trace distance (1/2) ||X||_1 of X = rho - 1/d_A is at most (1/2) sqrt(d_A) ||X||_2, and E ||X||_2^2 is
    :func:`haar_purity` less 1/d_A, which is (d_A^2 - 1)/(d_A (2^N + 1)); by Jensen the mean is at most

        (1/2) sqrt((d_A^2 - 1)/(2^N + 1)).

    It falls as 2^(-N/2), and the mean lies below by a constant factor for each d_A.
    """
    d_A, d_B = _dimensions(sites, N)
    return 0.5 * math.sqrt((d_A**2 - 1) / (d_A * d_B + 1))


def haar_distance_one_site(N: int) -> float:
    """Mean trace distance of one spin of a Haar-random state from the maximally mixed state, exactly.

    rho = (1 + r . sigma)/2 has the distance |r|/2. The eigenvalues (1 -+ |r|)/2 of rho have the density
    (lambda_1 - lambda_2)^2 (lambda_1 lambda_2)^(d_B - 2) (K. Zyczkowski and H.-J. Sommers, J. Phys. A 34, 7111 (2001)),
    so |r| has r^2 (1 - r^2)^(d_B - 2), d_B = 2^(N - 1), and

        E |r| / 2 = Gamma(d_B + 1/2) / (2 Gamma(3/2) Gamma(d_B + 1)).
    """
    d_B = _dimensions(1, N)[1]
    return 0.5 * math.exp(math.lgamma(d_B + 0.5) - math.lgamma(1.5) - math.lgamma(d_B + 1.0))


def haar_distance(sites: int, N: int) -> float:
    """Mean trace distance of a Haar-random state's reduction from the maximally mixed state, for a large rest.

    For d_B >> d_A the deviation X = rho - 1/d_A is a traceless Gaussian Hermitian matrix (the Wishart matrix of the
    rest by the central limit theorem, its trace fixed), with the exact E ||X||_2^2 of :func:`haar_distance_bound`. A
    matrix H of the Gaussian unitary ensemble, E |H_ij|^2 = 1, is a traceless one plus an independent Gaussian multiple
    of 1 with variance 1/d, and sum_j E e^{itx_j} = e^{-t^2/2} L^1_{d-1}(t^2) over its eigenvalues (U. Haagerup and
    S. Thorbjornsen, Expo. Math. 21, 293 (2003)). Hence over those of the traceless one it is e^{-a t^2/2}
    L^1_{d-1}(t^2) with a = 1 - 1/d, and by E|x| = (2/pi) int (1 - Re phi(t))/t^2 dt over t > 0, with
    L^1_{d-1}(x) = sum_k l_k x^k,

        E ||X||_1 = -(1/pi) sum_k l_k Gamma(k - 1/2) (2/a)^(k - 1/2)    at E ||X||_2^2 = d^2 - 1.

    Corrections are of relative order 1/d_B: for one site see :func:`haar_distance_one_site`.
    """
    d_A, d_B = _dimensions(sites, N)
    a = 1 - 1 / d_A
    # The terms alternate in sign and cancel for large matrices; reductions to a few sites are what this is for.
    if sites > 3:
        raise ValueError(f"sites must be 3 or fewer, got {sites}: the alternating sum loses its digits beyond")
    terms = [
        (-1) ** k * math.comb(d_A, d_A - 1 - k) / math.factorial(k) * math.gamma(k - 0.5) * (2 / a) ** (k - 0.5)
        for k in range(d_A)
    ]
    norm = -sum(terms) / math.pi
    return 0.5 * norm / math.sqrt(d_A * (d_A * d_B + 1))


def _dimensions(sites: int, N: int) -> tuple[int, int]:
    require_spins(N, 2, 1000)
    if isinstance(sites, bool) or not isinstance(sites, int) or not 1 <= sites < N:
        raise ValueError(f"sites must be a whole number from 1 to N - 1 = {N - 1}, got {sites!r}")
    return 2**sites, 2 ** (N - sites)
