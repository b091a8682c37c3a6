"""Couplings from energies without noise: linear equations, solved by as many independent experiments as couplings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import require_memory
from repflow.theories.family import Family
from repflow.theories.spins import check_spins, pack
from repflow.theories.theory import Theory

FloatArray = NDArray[np.float64]
#: Energies that differ by less than this, relative to their root mean square, are the same.
TOLERANCE = 1e-9
#: Singular values below this times the largest are 0. The features are whole numbers, so those of a singular matrix
#: come out near 1e-16, and those of a regular one are far above.
_RANK = 1e-11


@dataclass(frozen=True, eq=False)
class Fit:
    """What experiments say about the couplings of a family.

    Attributes
    ----------
    theory
        The couplings of least norm among those that fit best.
    experiments
        How many there were.
    rank
        How many of them were independent: the number of combinations of couplings that they fix.
    residual
        Root mean square of the energies that the theory leaves over, relative to that of the energies.
    """

    theory: Theory
    experiments: int
    rank: int
    residual: float

    @property
    def determined(self) -> bool:
        """Whether one set of couplings fits best: as many independent experiments as couplings."""
        return self.rank == self.theory.family.count

    @property
    def consistent(self) -> bool:
        """Whether the theory gives the energies that were seen."""
        return self.residual <= TOLERANCE

    @property
    def exact(self) -> bool:
        """Whether the couplings are known: determined, and consistent with all energies."""
        return self.determined and self.consistent

    def __repr__(self) -> str:
        state = "exact" if self.exact else "consistent" if self.consistent else f"residual {self.residual:.2g}"
        family = self.theory.family
        return f"Fit({family!r}, rank {self.rank} of {family.count} from {self.experiments} experiments, {state})"


def fit(family: Family, spins: ArrayLike, energies: ArrayLike) -> Fit:
    """Learn the couplings of a family from experiments: configurations and their energies.

    E(s) = features(s) @ J is linear in J. Couplings that the experiments leave open are set by the least norm, which
    by Parseval (sum_S J_S^2 = mean E^2) is the least energy; where nothing is known, that is 0.

    Parameters
    ----------
    family
        Which interaction terms there may be.
    spins
        (M, N): the configurations, each +1 or -1.
    energies
        (M,).

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        The shapes do not fit, the spins are not +-1, or an energy is not finite.
    MemoryError
        M times ``family.count`` numbers do not fit.

    Examples
    --------
    >>> from repflow import theories as th
    >>> from repflow.theories import inference
    >>> truth = th.KLocal(6, 2).random(seed=1)
    >>> s = inference.random_experiments(6, 30)
    >>> inference.fit(truth.family, s, truth.energy(s)).exact
    True
    """
    s, E = check_experiments(family, spins, energies)
    return least_norm(family, design(family, s), E)


def least_norm(family: Family, features: FloatArray, energies: FloatArray) -> Fit:
    """As :func:`fit`, from the features of the configurations, (M, count)."""
    from scipy.linalg import lstsq

    if family.count == 0:
        return Fit(family.theory(np.zeros(0)), len(energies), 0, 1.0 if energies.any() else 0.0)
    parameters, _, rank, _ = lstsq(features, energies, cond=_RANK, lapack_driver="gelsd", check_finite=False)
    scale = math.sqrt(float(np.mean(energies**2)))
    left = math.sqrt(float(np.mean((features @ parameters - energies) ** 2)))
    return Fit(family.theory(parameters), len(energies), int(rank), left / scale if scale else 0.0)


def design(family: Family, spins: NDArray[np.generic], copies: int = 4) -> FloatArray:
    """The features of checked configurations, (M, count), if ``copies`` times as much fits in memory."""
    need = 8 * copies * len(spins) * family.count
    require_memory(need, f"the fit of {family.count} couplings to {len(spins)} experiments", "use a smaller family")
    return family.features(spins)


def check_experiments(family: Family, spins: ArrayLike, energies: ArrayLike) -> tuple[NDArray[np.generic], FloatArray]:
    """Configurations (M, N) and energies (M,), checked."""
    if not isinstance(family, Family):
        raise TypeError(f"family must be a family of theories such as KLocal(9, 2), got {type(family).__name__}")
    s = check_spins(spins, family.N)
    E = np.asarray(energies, dtype=np.float64)
    if s.ndim != 2 or len(s) == 0:
        raise ValueError(f"spins must have shape (experiments, {family.N}), one experiment or more; got {s.shape}")
    if E.shape != (len(s),):
        raise ValueError(f"energies must have shape ({len(s)},), one for each configuration; got {E.shape}")
    if not np.isfinite(E).all():
        raise ValueError("energies must be finite")
    return s, E


def unseen_error(learned: Theory, truth: Theory, spins: ArrayLike) -> float:
    """Mean square error on all configurations that are not among ``spins``, over the variance of the true energies.

    1 is what predicting the mean would do. NaN where nothing is unseen.

    Parameters
    ----------
    learned, truth
        Of the same number of spins; all 2^N energies are compared.
    spins
        (M, N): the configurations of the experiments.

    Raises
    ------
    ValueError
        The numbers of spins differ, or the true energies are all the same.
    MemoryError
        2^N energies do not fit.
    """
    if learned.N != truth.N:
        raise ValueError(f"learned and truth must have the same number of spins, got {learned.N} and {truth.N}")
    true = truth.values()
    variance = float(true.var())
    if variance == 0.0:
        raise ValueError("truth must have energies that differ, got a theory without couplings")
    unseen = np.ones(len(true), dtype=bool)
    unseen[pack(check_spins(spins, truth.N))] = False
    if not unseen.any():
        return math.nan
    return float(np.mean((learned.values()[unseen] - true[unseen]) ** 2)) / variance


def expected_unseen_error(family: Family, rank: int, experiments: int) -> float:
    """The mean of :func:`unseen_error` over theories whose couplings are independent, of mean 0 and one variance.

    (1 - rank/P) / (1 - M/2^N), with P couplings and M different configurations. The fit projects the couplings on the
    rows seen, which leaves the share 1 - rank/P of their squared norm; by Parseval that is the mean squared error over
    all 2^N configurations, and it sits on those unseen. So k-local and local theories are learned along a straight
    line; a generic one, for which P is about 2^N, stays at 1 until nothing is unseen.

    Exact where each coupling has one interaction term; where terms share couplings, of different numbers of terms, an
    estimate.

    Raises
    ------
    ValueError
        The rank is not between 0 and P, or nothing is unseen.
    """
    if not 0 <= rank <= family.count:
        raise ValueError(f"rank must be between 0 and {family.count} couplings, got {rank}")
    if not 0 <= experiments < 2**family.N:
        raise ValueError(
            f"experiments must be between 0 and 2^{family.N} - 1, so that some is unseen; got {experiments}"
        )
    return (1.0 - rank / family.count) / (1.0 - experiments / 2.0**family.N)
