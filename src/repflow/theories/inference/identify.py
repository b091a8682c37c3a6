"""Which family a theory belongs to, from experiments alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from repflow.theories.family import Family
from repflow.theories.inference.noise_free import TOLERANCE, Fit, check_experiments, design, least_norm


@dataclass(frozen=True, eq=False)
class Identification:
    """The family picked among candidates.

    Attributes
    ----------
    family
        The one picked; None where the experiments do not decide.
    fits
        The fit of every candidate, those with the fewest couplings first.
    reason
        Why, in a sentence.
    """

    family: Family | None
    fits: tuple[Fit, ...]
    reason: str

    @property
    def fit(self) -> Fit | None:
        """The fit of the family picked, if one was."""
        return next((found for found in self.fits if found.theory.family is self.family), None)

    def __repr__(self) -> str:
        return f"Identification({self.family!r}: {self.reason})"


def identify(families: Sequence[Family], spins: ArrayLike, energies: ArrayLike) -> Identification:
    """Pick the family that a theory belongs to, from configurations and their energies without noise.

    Rule: the family with the fewest couplings that gives all energies, if it was put to the test. A family with as many
    free couplings as experiments gives any energies whatever, so that alone says nothing. It was tested where every
    family with more couplings has a larger rank on these experiments: then those could have had other energies in
    rank - rank independent ways, and that none of these occurred is a coincidence of probability 0 unless the smaller
    family holds. A configuration that came before, or one with all spins turned where every candidate is even, raises
    no rank and is no test. Nothing is larger than the largest family, which cannot be tested: it is picked where it
    gives the energies and every other candidate fails.

    So nothing is picked where a family gives the energies untested, where two of the same size do, or where none does.

    Parameters
    ----------
    families
        The candidates, of the same number of spins.
    spins
        (M, N): the configurations, each +1 or -1. Those that come again are dropped.
    energies
        (M,).

    Returns
    -------
    Identification

    Raises
    ------
    TypeError, ValueError
        There are fewer than two candidates, or their numbers of spins differ; the experiments are not as for
        :func:`repflow.theories.inference.fit`; or a configuration has two energies.
    MemoryError
        M times the largest number of couplings does not fit.
    """
    if len(families) < 2:
        raise ValueError(f"families must be two or more, got {len(families)}")
    s, E = check_experiments(families[0], spins, energies)
    for family in families[1:]:
        check_experiments(family, s[:1], E[:1])
    s, E = _different(s, E)
    fits = tuple(
        least_norm(family, design(family, s), E) for family in sorted(families, key=lambda family: family.count)
    )
    good = [found for found in fits if found.consistent]
    if not good:
        return Identification(None, fits, "no candidate gives these energies")
    first = good[0]
    count = first.theory.family.count
    if sum(found.theory.family.count == count for found in good) > 1:
        return Identification(None, fits, f"two candidates with {count} couplings give these energies")
    larger = [found for found in fits if found.theory.family.count > count]
    spare = min((found.rank for found in larger), default=first.rank) - first.rank
    if larger and spare < 1:
        reason = f"{first.theory.family!r} gives these energies untested: a larger family is as constrained by them"
        return Identification(None, fits, reason)
    reason = f"the smallest that gives all energies, {spare} of them as a test" if larger else "no smaller one does"
    return Identification(first.theory.family, fits, reason)


def _different(
    s: np.ndarray[tuple[int, ...], np.dtype[np.generic]], E: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.generic]], np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Each configuration once, in the order in which they came first."""
    _, first, which = np.unique(s, axis=0, return_index=True, return_inverse=True)
    apart = np.abs(E - E[first][which.reshape(-1)])
    worst = int(apart.argmax())
    if apart[worst] > TOLERANCE * float(np.abs(E).max()):
        raise ValueError(
            f"energies must be the same for the same configuration; experiment {worst} contradicts another"
        )
    kept = np.sort(first)
    return s[kept], E[kept]
