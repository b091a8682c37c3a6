"""Which experiments are made: configurations at random, or at random without those that teach nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import check_seed, generator, require_memory
from repflow.theories.family import Family
from repflow.theories.spins import check_size, unpack

SpinArray = NDArray[np.int8]
#: A row is new if more than this share of its norm is outside the span of those before.
_NEW = 1e-8


def random_experiments(N: int, amount: int, seed: int = 0, repeat: bool = False) -> SpinArray:
    """Configurations drawn at random, the same chance for each.

    Parameters
    ----------
    N
        Number of spins.
    amount
        How many.
    repeat
        Whether a configuration may come twice.

    Returns
    -------
    array (amount, N) of int8

    Raises
    ------
    TypeError, ValueError
        N or the amount is not a whole number of 1 or more; or there are fewer than that many configurations.
    """
    N, amount = check_size(N), whole(amount, "amount")
    if not repeat and N < 63 and amount > 2**N:
        raise ValueError(f"amount must be at most 2^{N} = {2**N}, the number of configurations, or repeat=True")
    require_memory(12 * amount * N, f"the array of {amount} configurations", "draw fewer")
    return draw(N, amount, generator(check_seed(seed)), repeat)


def draw(N: int, amount: int, random: np.random.Generator, repeat: bool = False) -> SpinArray:
    """As :func:`random_experiments`, from a generator."""
    if not repeat and N <= 20:
        return unpack(random.permutation(2**N)[:amount], N)
    found = (1 - 2 * random.integers(0, 2, (amount, N), dtype=np.int8)).astype(np.int8)
    while not repeat:
        first = np.sort(np.unique(found, axis=0, return_index=True)[1])
        if len(first) == amount:
            break
        more = 1 - 2 * random.integers(0, 2, (amount - len(first), N), dtype=np.int8)
        found = np.concatenate([found[first], more.astype(np.int8)])
    return found


def independent_experiments(family: Family, amount: int, seed: int = 0) -> SpinArray:
    """Random configurations without those whose energy the earlier ones foretell.

    Whether features(s) is a combination of those seen can be told before the experiment is made, so nobody need make
    it. Each of these experiments raises the rank by one.

    Parameters
    ----------
    family
        Which interaction terms there may be.
    amount
        How many, ``family.count`` at most.

    Returns
    -------
    array (amount, N) of int8

    Raises
    ------
    TypeError, ValueError
        The amount is not a whole number between 1 and ``family.count``.
    MemoryError
        The rows seen do not fit.
    """
    amount = whole(amount, "amount")
    if amount > family.count:
        raise ValueError(f"amount must be at most the number of couplings, {family.count}, got {amount}")
    require_memory(32 * amount * family.count, f"the basis of {amount} experiments", "ask for fewer")
    random = generator(check_seed(seed))
    kept = np.empty((amount, family.N), dtype=np.int8)
    basis = np.empty((amount, family.count))
    found = 0
    # Ends: the features of all configurations have full rank, since products of different spins are orthogonal.
    while found < amount:
        tried = draw(family.N, min(max(16, amount), 2 ** min(family.N, 40)), random)
        for s, row in zip(tried, family.features(tried), strict=True):
            left = row
            for _ in range(2):  # the second pass takes out what rounding left
                left = left - (basis[:found] @ left) @ basis[:found]
            norm = float(np.linalg.norm(left))
            if norm > _NEW * float(np.linalg.norm(row)):
                basis[found], kept[found] = left / norm, s
                found += 1
                if found == amount:
                    break
    return kept


def whole(number: object, name: str) -> int:
    """``number`` as an int; ``TypeError`` or ``ValueError`` unless it is a whole number of 1 or more."""
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {number!r}")
    if number < 1:
        raise ValueError(f"{name} must be 1 or more, got {number}")
    return int(number)
