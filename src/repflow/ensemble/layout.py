"""Which components of the statistics are stored: every symmetric tensor once, by its independent entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any, TypeAlias

import numpy as np

from repflow.ensemble.arithmetic import Array

Index: TypeAlias = "np.ndarray[Any, np.dtype[np.intp]]"
Sextuple: TypeAlias = "tuple[int, int, int, int, int, int]"


@dataclass(frozen=True)
class Layout:
    """Order of the components of one layer's features, for N inputs.

    A network's features are, in this order, with c = G - centre and p, q, r pairs of inputs a <= b:

    ======== ========================= =====================================================
    part     count                     entry
    ======== ========================= =====================================================
    first    P = N(N+1)/2              c_p
    second   P(P+1)/2                  c_p c_q, p <= q
    third    number of sextuples       c_p c_q c_r
    square   P                         mean over neurons of z_a z_b
    fourth   N(N+1)(N+2)(N+3)/24       mean over neurons of z_a z_b z_c z_d, a <= b <= c <= d
    ======== ========================= =====================================================

    Attributes
    ----------
    n
        N, the number of inputs.
    sextuples
        Inputs (a, b, c, d, e, f) whose third cumulant of G_ab, G_cd, G_ef is measured.
    """

    n: int
    sextuples: tuple[Sextuple, ...]
    pair_a: Index = field(init=False, repr=False)
    pair_b: Index = field(init=False, repr=False)
    pair_of: Index = field(init=False, repr=False)
    second_p: Index = field(init=False, repr=False)
    second_q: Index = field(init=False, repr=False)
    second_of: Index = field(init=False, repr=False)
    third: Index = field(init=False, repr=False)
    quads: Index = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pair_a, pair_b = np.triu_indices(self.n)
        pairs = len(pair_a)
        pair_of = np.zeros((self.n, self.n), dtype=np.intp)
        pair_of[pair_a, pair_b] = pair_of[pair_b, pair_a] = np.arange(pairs)
        second_p, second_q = np.triu_indices(pairs)
        second_of = np.zeros((pairs, pairs), dtype=np.intp)
        second_of[second_p, second_q] = second_of[second_q, second_p] = np.arange(len(second_p))
        six = np.array(self.sextuples, dtype=np.intp).reshape(-1, 6)
        third = np.stack([pair_of[six[:, 0], six[:, 1]], pair_of[six[:, 2], six[:, 3]], pair_of[six[:, 4], six[:, 5]]])
        quads = np.array(list(combinations_with_replacement(range(self.n), 4)), dtype=np.intp).T
        for name, value in {
            "pair_a": pair_a,
            "pair_b": pair_b,
            "pair_of": pair_of,
            "second_p": second_p,
            "second_q": second_q,
            "second_of": second_of,
            "third": third,
            "quads": quads,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """Components of each part."""
        pairs = len(self.pair_a)
        return pairs, len(self.second_p), self.third.shape[1], pairs, self.quads.shape[1]

    @property
    def size(self) -> int:
        """Components of one layer in all."""
        return sum(self.sizes)

    def split(self, features: Array) -> dict[str, Array]:
        """The parts of a feature vector along the last axis, by name."""
        edges = np.cumsum(self.sizes)[:-1]
        parts = np.split(features, edges, axis=-1)
        return dict(zip(("first", "second", "third", "square", "fourth"), parts, strict=True))

    def full_pairs(self, values: Array) -> Array:
        """(..., P) to the symmetric (..., N, N)."""
        return np.asarray(values[..., self.pair_of])

    def full_seconds(self, values: Array) -> Array:
        """(..., P(P+1)/2) to (..., N, N, N, N), symmetric within each pair and between the two."""
        pairs = self.pair_of
        return np.asarray(values[..., self.second_of[pairs[:, :, None, None], pairs[None, None, :, :]]])

    def full_quads(self, values: Array) -> Array:
        """(..., quadruples) to the fully symmetric (..., N, N, N, N)."""
        lookup = np.zeros((self.n,) * 4, dtype=np.intp)
        lookup[tuple(self.quads)] = np.arange(self.quads.shape[1])
        grid = np.sort(np.indices((self.n,) * 4).reshape(4, -1), axis=0)
        return np.asarray(values[..., lookup[tuple(grid)].reshape((self.n,) * 4)])


def count_components(n: int, sextuples: int) -> int:
    """Features of a layer for n inputs, without making a :class:`Layout`."""
    pairs = n * (n + 1) // 2
    return 2 * pairs + pairs * (pairs + 1) // 2 + sextuples + n * (n + 1) * (n + 2) * (n + 3) // 24


def all_sextuples(n: int) -> tuple[Sextuple, ...]:
    """One sextuple for each independent third cumulant of G."""
    pairs = list(combinations_with_replacement(range(n), 2))
    return tuple((*p, *q, *r) for p, q, r in combinations_with_replacement(pairs, 3))


def check_sextuples(six_point: Sequence[Sequence[int]] | None, n: int) -> tuple[Sextuple, ...]:
    """The sextuples asked for; all of them for None and at most four inputs, none for more."""
    if six_point is None:
        return all_sextuples(n) if n <= 4 else ()
    chosen: list[Sextuple] = []
    for entry in six_point:
        values = tuple(entry) if isinstance(entry, (list, tuple, np.ndarray)) else ()
        whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values)
        if len(values) != 6 or not whole or not all(0 <= v < n for v in values):
            raise ValueError(f"six_point must hold sextuples of input numbers 0 to {n - 1}, got {entry!r}")
        a, b, c, d, e, f = (int(v) for v in values)
        chosen.append((a, b, c, d, e, f))
    return tuple(chosen)
