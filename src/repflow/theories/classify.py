"""Which family a set of couplings belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.theories.families import Generic, KLocal, Local, TranslationInvariant
from repflow.theories.family import Family
from repflow.theories.lattice import Lattice, check_tiles
from repflow.theories.walsh import as_table, orders

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Classification:
    """The smallest of the four families that holds a set of couplings.

    Attributes
    ----------
    family
        With its spins and lattice; ``family.name`` is the family's name.
    nonzero
        Couplings that are not 0, the constant aside.
    order
        The largest number of spins in one of them; 0 where there is none.
    invariant
        Whether translations of the periodic lattice leave all couplings as they are, of whatever order and range; None
        where no shape was given.
    """

    family: Family
    nonzero: int
    order: int
    invariant: bool | None

    @property
    def name(self) -> str:
        """``"generic"``, ``"k-local"``, ``"local"`` or ``"translation-invariant"``."""
        return self.family.name

    @property
    def parameters(self) -> int:
        """Number of couplings that the family has."""
        return self.family.count

    def __str__(self) -> str:
        couplings = f"{self.nonzero} non-zero couplings of order {self.order} or less"
        shared = ", translation invariant" if self.invariant and self.name != TranslationInvariant.name else ""
        return f"{self.name}: {self.parameters} parameters, {couplings}{shared}"


def classify(couplings: ArrayLike, shape: int | Sequence[int] | None = None, tolerance: float = 1e-9) -> Classification:
    """The family with the fewest parameters that holds these couplings.

    Parameters
    ----------
    couplings
        (2^N,), indexed as :func:`repflow.theories.couplings` returns them. The constant does not count.
    shape
        The lattice on which the spins sit, in row-major order. Without it there are no neighbours, so that the answer
        is ``"k-local"`` or ``"generic"``.
    tolerance
        What is below this times the largest coupling (the constant aside) is 0, and couplings closer than that are
        the same.

    Returns
    -------
    Classification
        Its family has one-body terms where one of them is not 0. k-local with k = N is generic. A lattice is open where
        no coupling closes it.

    Raises
    ------
    ValueError
        The number of couplings is not a power of two, one is not finite, the lattice does not tile N spins, or the
        tolerance is not in [0, 1).
    """
    J, N = as_table(couplings, "couplings")
    if N == 0:
        raise ValueError("couplings must be of one spin or more, got the constant alone")
    sides = None if shape is None else check_tiles(shape, N)
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"tolerance must be in [0, 1), got {tolerance!r}")
    J = J.copy()
    J[0] = 0.0
    small = tolerance * float(np.abs(J).max())
    order = orders(N)
    there = np.abs(J) > small
    highest = int(order[there].max(initial=0))
    fields = bool(there[order == 1].any())
    family = _on_lattice(J, there, order, fields, sides, small) if sides is not None and highest <= 2 else None
    if family is None:
        k = max(highest, 1 if fields else 2)
        family = KLocal(N, k, fields) if k < N or (N, k) == (2, 2) else Generic(N, fields)
    invariant = None if sides is None else _invariant(J, Lattice(sides), small)
    return Classification(family, int(there.sum()), highest, invariant)


def _on_lattice(
    J: FloatArray,
    there: NDArray[np.bool_],
    order: NDArray[np.int64],
    fields: bool,
    sides: tuple[int, ...],
    small: float,
) -> Family | None:
    """The smallest family on the lattice, open before periodic; None where spins that are no neighbours interact."""
    pairs = there & (order == 2)
    for periodic in (False, True):
        links = (np.int64(1) << Lattice(sides, periodic).links()).sum(axis=1)
        outside = pairs.copy()
        outside[links] = False
        if outside.any():
            continue
        uniform = _alike(J[links], small) and _alike(J[order == 1], small)
        if uniform and (len(links) or fields):
            return TranslationInvariant(sides, periodic, fields)
        return Local(sides, periodic, fields)
    return None


def _alike(numbers: FloatArray, small: float) -> bool:
    return len(numbers) == 0 or float(np.ptp(numbers)) <= small


def _invariant(J: FloatArray, lattice: Lattice, small: float) -> bool:
    N = lattice.N
    tensor = J.reshape((2,) * N)  # axis N - 1 - i is spin i
    for moved in lattice.steps():
        source = np.empty(N, dtype=np.int64)
        source[moved] = np.arange(N)
        axes = [N - 1 - int(source[N - 1 - axis]) for axis in range(N)]
        if np.abs(tensor.transpose(axes) - tensor).max() > small:
            return False
    return True
