"""How many experiments it takes, measured: the couplings found are compared with the true ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import check_seed, generator, require_memory
from repflow.theories.family import Family
from repflow.theories.inference.designs import draw, whole
from repflow.theories.inference.noise_free import least_norm
from repflow.theories.inference.sparse import least_absolute

FloatArray = NDArray[np.float64]
#: Couplings are found where none is off by more than this times the largest.
FOUND = 1e-7
#: By how much cheaper each other coupling is made, to see whether the true ones are the only answer.
CHEAPER = 1e-3


@dataclass(frozen=True)
class Needed:
    """The smallest number of experiments that gave the couplings of one theory.

    Attributes
    ----------
    experiments
        Drawn at random one after the other, no configuration twice.
    independent
        The rank of their features.
    without_last
        The rank of all but the last, from which the couplings did not come out.
    """

    experiments: int
    independent: int
    without_last: int


def experiments_needed(family: Family, seed: int = 0) -> Needed:
    """Draw a theory and experiments at random, and find from how many experiments on least squares finds its couplings.

    Adding an experiment never spoils the answer, so that halving finds the number.

    Raises
    ------
    ValueError
        The family has no coupling.
    TypeError, ValueError
        The seed is not a whole number of 0 or more.
    """
    if family.count == 0:
        raise ValueError(f"family must have a coupling, got {family!r}")
    random = generator(check_seed(seed))
    truth = random.standard_normal(family.count)
    features = _features(family, 4 * family.count + 100, random)

    def solve(first: int) -> tuple[bool, int]:
        got = least_norm(family, features[:first], features[:first] @ truth)
        return _same(got.theory.parameters, truth), got.rank

    needed = _first(lambda first: solve(first)[0], family.count, len(features))
    return Needed(needed, solve(needed)[1], solve(needed - 1)[1] if needed > 1 else 0)


def sparse_experiments_needed(family: Family, nonzero: int, seed: int = 0) -> int:
    """Draw ``nonzero`` couplings of a family and experiments at random, and find from how many on l1 finds them.

    Found means that no other couplings with these energies have an absolute sum as small. Products of +-1 repeat, so
    that ties are common where experiments are few, and what a program returns then is chance; so the search is made
    with every coupling that is 0 a thousandth cheaper than the others, which no tie survives. Each experiment narrows
    the set of couplings that are possible, and the true ones stay in it; so once they are found they stay found, and
    halving gives the number. It starts at 1.3 s log(M/s).

    Raises
    ------
    TypeError, ValueError
        ``nonzero`` is not a whole number between 1 and half of ``family.count``, or the seed not one of 0 or more.
    """
    nonzero = whole(nonzero, "nonzero")
    if 2 * nonzero > family.count:
        raise ValueError(f"nonzero must be at most half of {family.count} couplings, got {nonzero}")
    random = generator(check_seed(seed))
    truth = np.zeros(family.count)
    truth[random.choice(family.count, nonzero, replace=False)] = random.standard_normal(nonzero)
    features = _features(family, 2 * family.count + 100, random)
    energies = features @ truth
    cost = np.where(truth != 0.0, 1.0, 1.0 - CHEAPER)

    def found(first: int) -> bool:
        got = least_absolute(features[:first], energies[:first], cost)
        return got is not None and _same(got, truth)

    return _first(found, round(1.3 * nonzero * math.log(family.count / nonzero)), len(features))


def _features(family: Family, amount: int, random: np.random.Generator) -> FloatArray:
    """The features of that many configurations, or of all where few exist, in the order drawn."""
    if family.N <= 12 or 2 ** min(family.N, 40) < amount:
        amount = 2**family.N
    require_memory(24 * amount * family.count, f"the features of {amount} experiments", "use a smaller family")
    return family.features(draw(family.N, amount, random))


def _same(found: FloatArray, truth: FloatArray) -> bool:
    return bool(np.abs(found - truth).max() <= FOUND * np.abs(truth).max())


def _first(works: Callable[[int], bool], guess: int, most: int) -> int:
    """The smallest number from which on it works, by steps out from a guess that double, and then by halving.

    Raises
    ------
    ArithmeticError
        It does not work with the largest number.
    """
    low, high = 0, most + 1  # fails, works
    tried, step = min(max(guess, 1), most), max(1, guess // 8)
    down = works(tried)
    while True:
        low, high = (low, tried) if down else (tried, high)
        tried = tried - step if down else tried + step
        if not low < tried < high:
            break
        if works(tried) != down:
            low, high = (tried, high) if down else (low, tried)
            break
        step *= 2
    while high - low > 1:
        tried = (low + high) // 2
        low, high = (low, tried) if works(tried) else (tried, high)
    if high > most:
        raise ArithmeticError(f"{most} experiments did not determine the couplings")
    return high
