"""Light cones: arrival times of a disturbance, the butterfly velocity, and the Lieb-Robinson bound."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from repflow.theories.quantum.covering import r_squared
from repflow.theories.quantum.hamiltonian import FloatArray, SpinHamiltonian, Term


def arrival_times(times: ArrayLike, values: ArrayLike, threshold: float) -> FloatArray:
    """When each column first reaches a threshold, by linear interpolation between the times that were looked at.

    Parameters
    ----------
    times
        (T,), ascending.
    values
        (T, M).
    threshold
        Positive.

    Returns
    -------
    numpy.ndarray
        (M,); NaN where the threshold is not reached, or reached at the first time already.
    """
    t, c = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if c.ndim != 2 or t.shape != (len(c),):
        raise ValueError(f"values must have shape ({len(t)}, M), one row a time, got {c.shape}")
    if not threshold > 0:
        raise ValueError(f"threshold must be positive, got {threshold}")
    above = c >= threshold
    first = above.argmax(axis=0)
    found = np.full(c.shape[1], np.nan)
    for column in np.flatnonzero(above.any(axis=0) & (first > 0)):
        k = first[column]
        low, high = c[k - 1, column], c[k, column]
        found[column] = t[k - 1] + (threshold - low) / (high - low) * (t[k] - t[k - 1])
    return found


@dataclass(frozen=True)
class Front:
    """A straight front t = offset + r / velocity.

    Attributes
    ----------
    velocity, low, high
        Its 95% interval is that of the slope of t against r; ``high`` is infinite where the slope may be 0.
    offset
        The time at r = 0.
    r_squared
        Share of the variance of t that the line explains.
    """

    velocity: float
    low: float
    high: float
    offset: float
    r_squared: float


def fit_front(distances: ArrayLike, times: ArrayLike, errors: ArrayLike | None = None) -> Front:
    """Least squares of arrival times against distance.

    The half-width of the slope's 95% interval is the larger of that of the scatter around the line (Student's t) and
    that which the errors imply.

    Parameters
    ----------
    distances, times
        (M,), three or more; NaN times are left out.
    errors
        Standard errors of the times, if known.

    Raises
    ------
    ValueError
        Fewer than three arrivals, or the front doesn't move outwards.
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    r, t = np.asarray(distances, dtype=np.float64), np.asarray(times, dtype=np.float64)
    error = np.zeros_like(t) if errors is None else np.asarray(errors, dtype=np.float64)
    known = np.isfinite(t)
    r, t, error = r[known], t[known], error[known]
    if len(r) < 3:
        raise ValueError(f"a front needs three arrivals or more, got {len(r)}; look at later times")
    centred = r - r.mean()
    total = float(centred @ centred)
    slope = float(centred @ t) / total
    if not slope > 0:
        raise ValueError(f"the front does not move outwards: slope {slope:.3g} of time against distance")
    residual = t - t.mean() - slope * centred
    scatter = float(student.ppf(0.975, len(r) - 2)) * math.sqrt(float(residual @ residual) / (len(r) - 2) / total)
    half = max(scatter, float(norm.ppf(0.975)) * math.sqrt(float(centred**2 @ error**2)) / total)
    return Front(
        velocity=1 / slope,
        low=1 / (slope + half),
        high=1 / (slope - half) if slope > half else math.inf,
        offset=float(t.mean() - slope * r.mean()),
        r_squared=r_squared(r, t),
    )


def chain_lieb_robinson_velocity(J: float, field: float) -> float:
    """Lieb-Robinson velocity of a chain with links J zz and fields of norm |field| on every spin.

    Z. Wang and K. R. A. Hazzard, PRX Quantum 1, 010303 (2020), for the transverse-field Ising chain: v = 2 X sqrt(|J
    g|), X = 1.5089 the solution of X arcsinh X = sqrt(X^2 + 1). Links commute with links and fields with fields, so
    that the commutator graph is a line on which links and fields alternate, whatever the direction of the field
    (:func:`lieb_robinson_bound`). There y' <= 2 n y of the neighbours; a wave exp(kappa (v t - r)) on it moves at v =
    2 sqrt(J f) cosh(kappa)/kappa spins, smallest where kappa tanh kappa = 1, and cosh(kappa)/kappa = sinh(kappa) = X.

    Parameters
    ----------
    J
        Coupling of the links; the largest where they differ.
    field
        Norm of the field on a spin, sqrt(g^2 + h^2); the largest where they differ.
    """
    from scipy.optimize import brentq

    kappa = float(brentq(lambda k: k * math.tanh(k) - 1, 1.0, 1.5, xtol=1e-15))
    return 2 * math.sinh(kappa) * math.sqrt(abs(J * field))


def lieb_robinson_bound(hamiltonian: SpinHamiltonian, W: Term, V: Term, times: ArrayLike) -> FloatArray:
    """Upper bound on C(t) = 1/2 <|[W(t), V]|^2> for two Pauli strings, in every state.

    H = sum_i n_i g_i with |g_i| = 1, the one-body terms of a spin taken together. By Jacobi's identity

        d/dt [g_i(t), V] = i [sum_j n_j g_j, [g_i, V]] - i sum_j n_j [g_i, [g_j, V]],

    j over the terms that don't commute with g_i. The first part only rotates, so that |[g_i(t), V]| <= y_i(t), where
    y_i' = 2 sum_j n_j y_j over the neighbours in the graph of terms that don't commute (Wang and Hazzard, PRX Quantum
    1, 010303 (2020)). W is one more vertex, with n = 0.

    Parameters
    ----------
    hamiltonian
        Of Pauli strings.
    W, V
        Pauli strings such as ``("z", (0,), 1.0)``; their couplings are ignored.
    times
        (T,), 0 or later.

    Returns
    -------
    numpy.ndarray
        (T,): 1/2 min(2, y_W)^2.
    """
    at = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if not np.isfinite(at).all() or (at < 0).any():
        raise ValueError("times must be finite and 0 or later")
    groups = _groups(hamiltonian.terms)
    norms = np.array([*(math.sqrt(sum(J**2 for _, _, J in group)) for group in groups), 0.0])
    vertices = [*groups, [W]]
    neighbours = np.array([[_noncommuting(one, other) > 0 for other in vertices] for one in vertices])
    np.fill_diagonal(neighbours, False)  # a spin's fields taken together commute with themselves
    growth = 2 * neighbours * norms[None, :]
    # Only the part that doesn't commute with V counts; it is of the same norm formula, one spin's fields anticommute.
    start = np.array([2 * _noncommuting(group, [V]) for group in vertices])
    start[:-1] /= np.where(norms[:-1] > 0, norms[:-1], 1.0)
    start[-1] = 2.0 * (start[-1] > 0)
    return 0.5 * np.minimum(_grown(growth, start, at)[-1], 2.0) ** 2


def _grown(growth: FloatArray, start: FloatArray, times: FloatArray) -> FloatArray:
    """exp(growth t) start, shape (vertices, T), for entries of 0 or more.

    The power series has no cancellation then, so that every entry has its own relative accuracy; scipy.linalg.expm
    would drown the small ones far ahead of the front in the rounding of the large ones.
    """
    term = np.repeat(start[:, None], len(times), axis=1)
    total = term.copy()
    largest = float(growth.sum(axis=1).max(initial=0.0) * times.max(initial=0.0))
    with np.errstate(over="ignore", invalid="ignore"):
        # Beyond e times the largest exponent terms fall faster than a power; far vertices need a term for each step.
        for k in range(1, int(3 * largest) + len(start) + 40):
            term = (growth @ term) * (times / k)
            total += term
    return np.where(np.isnan(total), np.inf, total)


def _groups(terms: Iterable[Term]) -> list[list[Term]]:
    """Terms of one spin together, every other one for itself."""
    alone: dict[int, list[Term]] = {}
    groups: list[list[Term]] = []
    for term in terms:
        if len(term[1]) == 1:
            alone.setdefault(term[1][0], []).append(term)
        else:
            groups.append([term])
    return groups + list(alone.values())


def _noncommuting(one: list[Term], other: list[Term]) -> float:
    """Norm of the part of the first group that doesn't commute with some term of the second."""
    return math.sqrt(sum(J**2 for paulis, sites, J in one if any(_anticommute((paulis, sites), b[:2]) for b in other)))


def _anticommute(a: tuple[str, tuple[int, ...]], b: tuple[str, tuple[int, ...]]) -> bool:
    letters = dict(zip(b[1], b[0]))
    return sum(site in letters and letters[site] != pauli for pauli, site in zip(*a)) % 2 == 1
