"""Couplings from configurations alone, drawn from the Boltzmann distribution: the inverse Ising problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import check_seed, generator, require_memory
from repflow.theories.family import Family
from repflow.theories.inference.designs import SpinArray, whole
from repflow.theories.spins import check_spins, pack, spins, unpack
from repflow.theories.theory import Theory

FloatArray = NDArray[np.float64]
#: The gradient of the pseudolikelihood per sample at which the search ends.
_GRADIENT = 1e-9


def boltzmann_samples(theory: Theory, amount: int, seed: int = 0) -> SpinArray:
    """Configurations drawn from p(s) = exp(-E(s))/Z, independent and exact: all 2^N probabilities are listed.

    Parameters
    ----------
    theory
        With its temperature in the couplings: E/T is the theory with couplings J/T.
    amount
        How many.

    Returns
    -------
    array (amount, N) of int8

    Raises
    ------
    TypeError, ValueError
        The amount is not a whole number of 1 or more.
    MemoryError
        2^N probabilities do not fit.
    """
    amount = whole(amount, "amount")
    require_memory(12 * amount * theory.N, f"the array of {amount} samples", "draw fewer")
    total = np.cumsum(np.exp(theory.log_probabilities()))
    chance = generator(check_seed(seed)).random(amount) * total[-1]
    return unpack(np.searchsorted(total, chance, side="right"), theory.N)


@dataclass(frozen=True, eq=False)
class Inferred:
    """Couplings learned from samples.

    Attributes
    ----------
    theory
        The couplings of largest pseudolikelihood.
    covariance
        (count, count): of their errors, estimated from the samples; it falls as 1/samples.
    samples
        How many there were.
    """

    theory: Theory
    covariance: FloatArray
    samples: int

    @property
    def stderr(self) -> FloatArray:
        """(count,): the standard error of each coupling."""
        return np.sqrt(np.diag(self.covariance))

    def __repr__(self) -> str:
        worst = float(self.stderr.max(initial=0.0))
        return f"Inferred({self.theory.family!r}, {self.samples} samples, standard errors up to {worst:.2g})"


def pseudolikelihood(family: Family, samples: ArrayLike) -> Inferred:
    """Learn the couplings of a family from samples of p(s) = exp(-E(s))/Z, without Z: maximum pseudolikelihood.

    Each spin given all others is a logistic function, p(s_i | rest) = 1/(1 + exp(e_i)) with e_i = E(s) - E(s with spin
    i turned) = 2 sum_{S with i} J_S prod_{j in S} s_j. The product of these over spins and samples is maximised,
    jointly for all couplings (J. Besag, *The Statistician* 24, 179 (1975)): a logistic regression without intercept,
    convex in the couplings. No sum over 2^N configurations is formed, so that N may be large.

    The covariance is H^-1 V H^-1/samples, with H the mean Hessian and V the mean square gradient of minus the log
    pseudolikelihood of a sample (V. P. Godambe, *Ann. Math. Stat.* 31, 1208 (1960)).

    Parameters
    ----------
    family
        Which interaction terms there are, and which share a coupling.
    samples
        (samples, N): configurations, each +1 or -1.

    Returns
    -------
    Inferred

    Raises
    ------
    ValueError
        The samples are not (samples, N) of +-1; or the pseudolikelihood has no maximum, since no sample is seen against
        some combination of couplings.
    MemoryError
        Samples times interaction terms do not fit.
    """
    from scipy.optimize import minimize

    if not isinstance(family, Family):
        raise TypeError(f"family must be a family of theories such as Local((3, 4)), got {type(family).__name__}")
    s = check_spins(samples, family.N)
    if s.ndim != 2 or len(s) == 0:
        raise ValueError(f"samples must have shape (samples, {family.N}), one or more; got {s.shape}")
    if family.count == 0:
        raise ValueError(f"family must have a coupling, got {family!r}")
    seen, weight = _counted(s)
    conditional = Conditionals(family, seen, weight)
    found = minimize(
        conditional.value,
        np.zeros(family.count),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": _GRADIENT, "ftol": 0.0, "maxiter": 10_000, "maxfun": 20_000, "maxcor": 20},
    )
    hessian, square = conditional.curvature(found.x)
    # A finite maximum has a sample against every direction, so a curvature of the order of 1/samples at least; without
    # one the curvature dies out as the couplings run off.
    if float(np.linalg.eigvalsh(hessian)[0]) < 1e-3 / len(s) or not np.isfinite(found.x).all():
        raise ValueError(
            f"samples must determine the couplings of {family!r}; {len(s)} do not: the pseudolikelihood has no "
            "maximum; take more samples, weaker couplings, or a smaller family"
        )
    return Inferred(family.theory(found.x), sandwich(hessian, square) / len(s), len(s))


def pseudolikelihood_covariance(theory: Theory) -> FloatArray:
    """The covariance of the errors of :func:`pseudolikelihood` at many samples, times their number.

    H^-1 V H^-1 with both means over the Boltzmann distribution itself, by enumeration.

    Returns
    -------
    array (count, count)

    Raises
    ------
    MemoryError
        All 2^N configurations do not fit.
    """
    probability = np.exp(theory.log_probabilities())
    return sandwich(*Conditionals(theory.family, spins(theory.N), probability).curvature(theory.parameters))


def sandwich(hessian: FloatArray, square: FloatArray) -> FloatArray:
    """H^-1 V H^-1, symmetric."""
    half = np.linalg.solve(hessian, square)
    found = np.linalg.solve(hessian, half.T)
    return np.asarray((found + found.T) / 2)


class Conditionals:
    """Minus the log pseudolikelihood per sample, on configurations with weights that sum to 1.

    Parameters
    ----------
    family
        Of theories.
    configurations
        (K, N) of +-1.
    weight
        (K,).
    """

    def __init__(self, family: Family, configurations: NDArray[np.generic], weight: FloatArray) -> None:
        from scipy.sparse import csr_array

        terms, K = family.terms, len(configurations)
        need = 8 * K * (4 * len(terms) + 4 * family.N + 2 * family.count)
        require_memory(need, f"the pseudolikelihood of {K} configurations", "take fewer samples")
        flat = np.ascontiguousarray(configurations.T, dtype=np.float64)
        self._products = np.array([flat[list(term)].prod(axis=0) for term in terms]).reshape(len(terms), K)
        where = [(i, number) for number, term in enumerate(terms) for i in term]
        rows, columns = np.array(where, dtype=np.int64).reshape(-1, 2).T
        # (N, terms): 2 where the spin is in the term, which turning it changes by twice its value.
        self._turns = csr_array((np.full(len(where), 2.0), (rows, columns)), shape=(family.N, len(terms)))
        self._group, self._count, self._weight = family.group, family.count, weight

    def value(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """Minus the log pseudolikelihood and its gradient, (count,)."""
        gap = self._gap(parameters)
        # log(1 + e^gap) and its derivative from one exponential that cannot overflow.
        small = np.exp(-np.abs(gap))
        loss = float((np.maximum(gap, 0.0) + np.log1p(small)).sum(axis=0) @ self._weight)
        chance = np.where(gap > 0.0, 1.0, small) / (1.0 + small)
        pull = self._turns.T @ (chance * self._weight)
        slope = np.einsum("tk,tk->t", self._products, pull)
        return loss, np.bincount(self._group, slope, self._count).astype(np.float64)

    def curvature(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The mean Hessian and the mean square gradient of a sample, both (count, count)."""
        from scipy.special import expit

        chance = expit(self._gap(parameters))  # that the spin is the other way
        gradient = np.zeros((self._count, chance.shape[1]))
        hessian = np.zeros((self._count, self._count))
        for i, each in enumerate(chance):
            member = self._turns.indices[self._turns.indptr[i] : self._turns.indptr[i + 1]]
            used, place = np.unique(self._group[member], return_inverse=True)
            change = np.zeros((len(used), len(each)))  # of the energy as spin i turns, by coupling
            np.add.at(change, place, 2.0 * self._products[member])
            gradient[used] += each * change
            hessian[np.ix_(used, used)] += (change * (self._weight * each * (1.0 - each))) @ change.T
        return hessian, (gradient * self._weight) @ gradient.T

    def _gap(self, parameters: FloatArray) -> FloatArray:
        """(N, K): what the energy is above that with the spin turned."""
        return np.asarray(self._turns @ (self._products * parameters[self._group][:, None]))


def _counted(s: NDArray[np.generic]) -> tuple[NDArray[np.generic], FloatArray]:
    """The different configurations, and the share of the samples that each has."""
    if s.shape[1] <= 62:
        _, first, times = np.unique(pack(s), return_index=True, return_counts=True)
        seen = s[first]
    else:
        seen, times = np.unique(s, axis=0, return_counts=True)
    return seen, times / math.fsum(times)
