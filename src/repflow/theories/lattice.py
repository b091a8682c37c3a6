"""Rectangular lattices: sites in row-major order, nearest-neighbour links, translations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lattice:
    """A lattice of ``shape`` in d dimensions, open or periodic in all of them.

    Attributes
    ----------
    shape
        Length of each side; one number is a chain.
    periodic
        Whether each side of three sites or more closes on itself. A side of two sites has one link either way, a side
        of one has none.

    Raises
    ------
    TypeError, ValueError
        The shape is empty, or a side is not a whole number of 1 or more.
    """

    shape: tuple[int, ...]
    periodic: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", check_shape(self.shape))
        object.__setattr__(self, "periodic", bool(self.periodic))

    @property
    def N(self) -> int:
        """Number of sites."""
        return math.prod(self.shape)

    @property
    def dimension(self) -> int:
        """d, the number of sides."""
        return len(self.shape)

    @property
    def link_count(self) -> int:
        """Number of links, without listing them: d N where all sides are periodic and longer than two."""
        total = 0
        for side in self.shape:
            along = side if self.periodic and side > 2 else side - 1
            total += along * (self.N // side)
        return total

    def links(self) -> NDArray[np.int64]:
        """(links, 2): the sites of every nearest-neighbour pair, the smaller first, in order."""
        site = np.arange(self.N).reshape(self.shape)
        found = []
        for axis, side in enumerate(self.shape):
            if side > 1:
                inner = np.take(site, np.arange(side - 1), axis), np.take(site, np.arange(1, side), axis)
                found.append(np.stack([inner[0].ravel(), inner[1].ravel()], axis=1))
            if self.periodic and side > 2:
                ends = np.take(site, side - 1, axis), np.take(site, 0, axis)
                found.append(np.stack([ends[0].ravel(), ends[1].ravel()], axis=1))
        if not found:
            return np.empty((0, 2), dtype=np.int64)
        pairs = np.sort(np.concatenate(found), axis=1).astype(np.int64)
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    def steps(self) -> Iterator[NDArray[np.int64]]:
        """The elementary translations: for each side, (N,) the site to which each site moves. Periodic lattices only.

        Raises
        ------
        ValueError
            The lattice is open: a translation takes sites out of it.
        """
        if not self.periodic:
            raise ValueError("an open lattice has no translations; use periodic=True")
        site = np.arange(self.N).reshape(self.shape)
        for axis, side in enumerate(self.shape):
            if side > 1:
                yield np.roll(site, -1, axis).ravel()


def check_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """The shape as a tuple of whole numbers of 1 or more; one number is a chain."""
    if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
        shape = (int(shape),)
    if isinstance(shape, (str, bytes)) or not isinstance(shape, (Sequence, np.ndarray)):
        raise TypeError(f"shape must be a whole number or a sequence of them, such as (4, 4); got {shape!r}")
    if len(shape) == 0:
        raise ValueError("shape must have one side or more, got none")
    sides = []
    for side in shape:
        if isinstance(side, bool) or not isinstance(side, (int, np.integer)):
            raise TypeError(f"shape must hold whole numbers, got {side!r} in {tuple(shape)!r}")
        if side < 1:
            raise ValueError(f"shape must hold sides of 1 or more, got {side} in {tuple(shape)!r}")
        sides.append(int(side))
    return tuple(sides)


def check_tiles(shape: int | Sequence[int], N: int) -> tuple[int, ...]:
    """The shape, if its sites are N.

    Raises
    ------
    ValueError
        The lattice does not tile N spins.
    """
    sides = check_shape(shape)
    sites = math.prod(sides)
    if sites != N:
        raise ValueError(f"shape {sides} has {sites} sites and does not tile {N} spins")
    return sides
