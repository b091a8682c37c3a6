"""Symmetric matrices and tensors over inputs, stored by unordered pairs.

The Gram matrix of N inputs has P = N(N + 1)/2 independent entries; the four-point vertex is a symmetric P x P matrix
over them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """The unordered pairs (a, b), a <= b, of N inputs in row-major order."""

    n: int
    device: torch.device

    @property
    def count(self) -> int:
        """P = N(N + 1)/2."""
        return self.n * (self.n + 1) // 2

    @cached_property
    def _indices(self) -> tuple[Tensor, Tensor]:
        a, b = torch.triu_indices(self.n, self.n, device=self.device)
        return a, b

    @property
    def a(self) -> Tensor:
        """First member of each pair, shape (P,)."""
        return self._indices[0]

    @property
    def b(self) -> Tensor:
        """Second member of each pair, shape (P,)."""
        return self._indices[1]

    @cached_property
    def index(self) -> Tensor:
        """Number of the pair (a, b), shape (N, N), symmetric."""
        table = torch.empty(self.n, self.n, dtype=torch.long, device=self.device)
        table[self.a, self.b] = torch.arange(self.count, device=self.device)
        table[self.b, self.a] = table[self.a, self.b]
        return table

    @cached_property
    def aa(self) -> Tensor:
        """Number of the pair (a, a) for each pair (a, b), shape (P,)."""
        return self.index[self.a, self.a]

    @cached_property
    def bb(self) -> Tensor:
        """Number of the pair (b, b) for each pair (a, b), shape (P,)."""
        return self.index[self.b, self.b]

    def compress(self, matrix: Tensor) -> Tensor:
        """Entries of a symmetric (N, N) matrix by pairs, shape (P,)."""
        return matrix[self.a, self.b]

    def expand(self, vector: Tensor) -> Tensor:
        """The symmetric (N, N) matrix with these entries."""
        return vector[self.index]

    def compress_square(self, tensor: Tensor) -> Tensor:
        """Entries of an (N, N, N, N) tensor by pairs of its first two and of its last two axes, shape (P, P)."""
        return tensor[self.a[:, None], self.b[:, None], self.a, self.b]

    def expand_square(self, matrix: Tensor) -> Tensor:
        """The (N, N, N, N) tensor T[a, b, c, d] = M[(ab), (cd)] of a (P, P) matrix."""
        return matrix[self.index[:, :, None, None], self.index]


def triples(count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """All i <= j <= k below ``count``, in lexicographic order."""
    i, j, k = torch.combinations(torch.arange(count, device=device), 3, with_replacement=True).T
    return i, j, k


def pack(tensor: Tensor) -> Tensor:
    """Entries i <= j <= k of a symmetric (P, P, P) tensor, shape (P (P + 1)(P + 2)/6,)."""
    return tensor[triples(len(tensor), tensor.device)]


def unpack(entries: Tensor, count: int) -> Tensor:
    """The symmetric (P, P, P) tensor with these entries."""
    i, j, k = triples(count, entries.device)
    found = entries.new_empty(count, count, count)
    for place in ((i, j, k), (i, k, j), (j, i, k), (j, k, i), (k, i, j), (k, j, i)):
        found[place] = entries
    return found
