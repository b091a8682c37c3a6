"""Independent components of tensors over four inputs: one for each orbit of the permutations that change nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from repflow.ensemble.arithmetic import Array
from repflow.ensemble.layout import Index

Permutation: TypeAlias = tuple[int, int, int, int]

SYMMETRIES: dict[str, tuple[Permutation, ...]] = {
    "A": ((1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)),
    "B": ((1, 0, 3, 2), (2, 3, 0, 1)),
    "D": ((1, 0, 2, 3), (0, 1, 3, 2)),
    "F": ((2, 3, 0, 1),),
    "P": ((0, 2, 1, 3),),
    "Q": (),
    "R": ((0, 1, 3, 2),),
    "S": ((1, 0, 3, 2),),
    "T": ((2, 3, 0, 1),),
    "U": ((2, 3, 0, 1),),
}
"""Permutations of the array's axes that leave each tensor unchanged, up to products of them.

They follow from H_ij;12 = H_ji;21, from the freedom to rename the two neurons, and for the differentials from the order
in which derivatives are summed. Axes follow the subscripts: B[1, 3, 2, 4] is B_1324 = Cov(H_ij;12, H_ij;34), so that
(12) <-> (34) is (1, 0, 3, 2) and i <-> j is (2, 3, 0, 1).
"""


@dataclass(frozen=True)
class Orbits:
    """The independent components of one tensor of shape (N, N, N, N).

    Attributes
    ----------
    n
        N.
    generators
        Permutations of the axes that leave the tensor unchanged.
    index
        (C, 4): the inputs of each component, the first in lexicographic order of its orbit.
    lookup
        (N, N, N, N): the component that each entry is equal to.
    """

    n: int
    generators: tuple[Permutation, ...]
    index: Index = field(init=False, repr=False)
    lookup: Index = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = (self.n,) * 4
        grid = np.indices(shape).reshape(4, -1)
        least = np.min([np.ravel_multi_index(tuple(grid[list(p)]), shape) for p in _group(self.generators)], axis=0)
        first, inverse = np.unique(least, return_inverse=True)
        object.__setattr__(self, "index", np.stack(np.unravel_index(first, shape), axis=1))
        object.__setattr__(self, "lookup", inverse.reshape(shape))

    @property
    def size(self) -> int:
        """C."""
        return len(self.index)

    def full(self, values: Array) -> Array:
        """Components (..., C) to the tensor (..., N, N, N, N)."""
        return np.asarray(values[..., self.lookup])

    def means(self, tensors: Array) -> Array:
        """(..., N, N, N, N) to the mean over each orbit, (..., C); added entry by entry, in a fixed order."""
        group = _group(self.generators)
        total = np.zeros((*tensors.shape[:-4], self.size))
        for p in group:
            total += tensors[(..., *self.index[:, list(p)].T)]
        return total / len(group)


def orbit_count(n: int, name: str) -> int:
    """Components of the tensor ``name`` over n inputs, by Burnside's lemma: the mean of n^(cycles)."""
    group = _group(SYMMETRIES[name])
    return sum(n ** _cycles(p) for p in group) // len(group)


def _group(generators: tuple[Permutation, ...]) -> tuple[Permutation, ...]:
    """All products of the generators, the identity first."""
    found: list[Permutation] = [(0, 1, 2, 3)]
    for known in found:  # grows while it is read
        for g in generators:
            product = (known[g[0]], known[g[1]], known[g[2]], known[g[3]])
            if product not in found:
                found.append(product)
    return tuple(found)


def _cycles(p: Permutation) -> int:
    seen: set[int] = set()
    count = 0
    for start in range(4):
        if start not in seen:
            count += 1
            while start not in seen:
                seen.add(start)
                start = p[start]
    return count
