"""Which statistics of the NTK are kept for each network, and in which order."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from repflow.ensemble.arithmetic import Array
from repflow.ensemble.layout import Index
from repflow.ensemble.symmetry import SYMMETRIES, Orbits, orbit_count

DIFFERENTIALS = ("P", "Q", "R", "S", "T", "U")
"""Tensors of the differentials of the NTK, measured in the output layer."""


@dataclass(frozen=True)
class TangentLayout:
    """Order of one layer's tangent features, for N inputs.

    With h = H_ii - centre, p and q pairs of inputs a <= b, and i != j over all ordered pairs of the layer's neurons, a
    network's features are, in this order:

    ============ ================= ===================================================
    part         count             entry
    ============ ================= ===================================================
    mean         P = N(N+1)/2      mean over i of h_i;p
    mean_mean    components of A   product of two of these
    A            components of A   mean over i != j of h_i;p h_j;q
    square       P                 mean over i of z_i;a z_i;b
    square_mean  components of D   mean over i of z_i;a z_i;b, times mean over i of h_i;q
    D            components of D   mean over i != j of z_i;a z_i;b h_j;q
    B            components of B   mean over i != j of H_ij;12 H_ij;34
    F            components of F   mean over i != j of z_i;1 z_j;2 H_ij;34
    P, ..., U    components        see :mod:`repflow.ensemble.differentials`; where asked for, and 0 but in the output
    ============ ================= ===================================================

    Attributes
    ----------
    n
        N.
    differentials
        Whether P, Q, R, S, T, U are measured.
    """

    n: int
    differentials: bool = False
    pair_a: Index = field(init=False, repr=False)
    pair_b: Index = field(init=False, repr=False)
    pair_of: Index = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pair_a, pair_b = np.triu_indices(self.n)
        pair_of = np.zeros((self.n, self.n), dtype=np.intp)
        pair_of[pair_a, pair_b] = pair_of[pair_b, pair_a] = np.arange(len(pair_a))
        for name, value in (("pair_a", pair_a), ("pair_b", pair_b), ("pair_of", pair_of)):
            object.__setattr__(self, name, value)

    @cached_property
    def orbits(self) -> dict[str, Orbits]:
        """Independent components of each tensor."""
        names = ("A", "B", "D", "F", *(DIFFERENTIALS if self.differentials else ()))
        return {name: Orbits(self.n, SYMMETRIES[name]) for name in names}

    @cached_property
    def parts(self) -> dict[str, int]:
        """Features of each part."""
        pairs = len(self.pair_a)
        size = {name: orbits.size for name, orbits in self.orbits.items()}
        first = {"mean": pairs, "mean_mean": size["A"], "A": size["A"], "square": pairs, "square_mean": size["D"]}
        return {**first, **{name: size[name] for name in size if name != "A"}}

    @cached_property
    def places(self) -> dict[str, slice]:
        """Where each part is."""
        edges = np.cumsum([0, *self.parts.values()]).tolist()
        return {name: slice(a, b) for name, a, b in zip(self.parts, edges, edges[1:])}

    @property
    def size(self) -> int:
        """Features of one layer in all."""
        return sum(self.parts.values())

    @cached_property
    def reversed_pairs(self) -> Index:
        """Pairs a < b, by their number: those whose H_ij;ba differs from H_ij;ab."""
        return np.flatnonzero(self.pair_a != self.pair_b)

    def split(self, features: Array) -> dict[str, Array]:
        """The parts of a feature vector along the last axis, by name."""
        return {name: features[..., place] for name, place in self.places.items()}

    def pairs_of(self, name: str) -> tuple[Index, Index]:
        """The two pairs of inputs (12) and (34) of each component of A or D."""
        index = self.orbits[name].index
        return self.pair_of[index[:, 0], index[:, 1]], self.pair_of[index[:, 2], index[:, 3]]

    @cached_property
    def rows_of_b(self) -> tuple[Index, Index]:
        """For each component B_1324 the pair (12), and (34) in the order of pairs followed by reversed pairs.

        H_ij;12 H_ij;34 with 1 > 2 is H_ij;21 H_ij;43 with i and j renamed.
        """
        one, three, two, four = self.orbits["B"].index.T
        swap = one > two
        three, four = np.where(swap, four, three), np.where(swap, three, four)
        ordered = np.zeros((self.n, self.n), dtype=np.intp)
        ordered[self.pair_a, self.pair_b] = np.arange(len(self.pair_a))
        back = self.reversed_pairs
        ordered[self.pair_b[back], self.pair_a[back]] = len(self.pair_a) + np.arange(len(back))
        return self.pair_of[one, two], ordered[three, four]

    @cached_property
    def entries_of_f(self) -> tuple[Index, Index, Index]:
        """For each component F_1324 the inputs 1 and 2 and the pair (34), with 3 <= 4 after renaming i and j."""
        one, three, two, four = self.orbits["F"].index.T
        swap = three > four
        return np.where(swap, two, one), self.pair_of[three, four], np.where(swap, one, two)


def count_tangent(n: int, differentials: bool) -> int:
    """Features of a layer for n inputs, without making a :class:`TangentLayout`."""
    pairs = n * (n + 1) // 2
    size = {name: orbit_count(n, name) for name in SYMMETRIES}
    always = 2 * pairs + 2 * size["A"] + 2 * size["D"] + size["B"] + size["F"]
    return always + (sum(size[name] for name in DIFFERENTIALS) if differentials else 0)
