"""Gaussian functions on points, as linear combinations of independent sources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from repflow.graph.refusal import Refusal


@dataclass(frozen=True, eq=False)
class Source:
    """A Gaussian function of mean zero on points, one independent draw a channel: what fresh Gaussian weights make.

    Attributes
    ----------
    name
        The parameter whose weights draw it.
    kernel
        Covariance between its points, shape (m, m).
    """

    name: str
    kernel: Tensor


@dataclass(frozen=True, eq=False)
class Block:
    """The channels [start, stop) of a source; different blocks of one source are independent.

    Attributes
    ----------
    source
        The source.
    start, stop
        Range of channels; None: all of them.
    """

    source: Source
    start: int = 0
    stop: int | None = None

    def key(self) -> tuple[int, int, int | None]:
        """Equal for the same channels of the same source."""
        return (id(self.source), self.start, self.stop)

    def sliced(self, start: int, stop: int) -> Block:
        """A range of these channels."""
        return Block(self.source, self.start + start, self.start + stop)

    def same(self, other: Block) -> bool:
        """Whether it is the same block; False if it is independent.

        Raises
        ------
        Refusal
            They overlap in part, or share weights.
        """
        if self.source is not other.source:
            if self.source.name == other.source.name:
                raise Refusal(f"it joins two uses of the weights {self.source.name!r}")
            return False
        if (self.start, self.stop) == (other.start, other.stop):
            return True
        bounded = self.stop is not None and other.stop is not None
        if bounded and (self.stop <= other.start or other.stop <= self.start):  # type: ignore[operator]
            return False
        raise Refusal(f"it joins overlapping channels drawn by {self.source.name!r}")


@dataclass(frozen=True, eq=False)
class Term:
    """A block of a source, read at a point and scaled: coefficient_p u(index_p) for each point p."""

    block: Block
    coefficient: Tensor
    index: Tensor

    @cached_property
    def whole(self) -> bool:
        """Whether it is the source itself, at every point in order."""
        size = len(self.block.source.kernel)
        in_order = len(self.index) == size and torch.equal(self.index, torch.arange(size))
        return in_order and bool((self.coefficient == 1).all())


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A sum of terms on common points: a Gaussian function of mean zero."""

    size: int
    terms: tuple[Term, ...] = ()

    @classmethod
    def of(cls, source: Source) -> Gaussian:
        """A source itself."""
        size = len(source.kernel)
        return cls(size, (Term(Block(source), torch.ones(size, dtype=torch.float64), torch.arange(size)),))

    def take(self, index: Tensor) -> Gaussian:
        """The same function at chosen points."""
        return Gaussian(len(index), tuple(Term(t.block, t.coefficient[index], t.index[index]) for t in self.terms))

    def scaled(self, factor: Tensor) -> Gaussian:
        """Times one number a point."""
        return Gaussian(self.size, tuple(Term(t.block, t.coefficient * factor, t.index) for t in self.terms))

    def sliced(self, start: int, stop: int) -> Gaussian:
        """A range of the channels."""
        return Gaussian(self.size, tuple(Term(t.block.sliced(start, stop), t.coefficient, t.index) for t in self.terms))

    def plus(self, other: Gaussian) -> Gaussian:
        """The sum; terms of one block that are read at the same points are merged."""
        merged = list(self.terms)
        for term in other.terms:
            for number, held in enumerate(merged):
                if held.block.same(term.block) and torch.equal(held.index, term.index):
                    merged[number] = Term(held.block, held.coefficient + term.coefficient, held.index)
                    break
            else:
                merged.append(term)
        return Gaussian(self.size, tuple(merged))

    def padded(self, before: int, after: int) -> Gaussian:
        """The same function on more points, zero there."""
        return Gaussian(
            before + self.size + after,
            tuple(
                Term(
                    t.block,
                    torch.nn.functional.pad(t.coefficient, (before, after)),
                    torch.nn.functional.pad(t.index, (before, after)),
                )
                for t in self.terms
            ),
        )

    @property
    def variance(self) -> Tensor:
        """E[v_p v_p], shape (size,)."""
        total = torch.zeros(self.size, dtype=torch.float64)
        for a in self.terms:
            for b in self.terms:
                if a.block.same(b.block):
                    total += a.coefficient * b.coefficient * a.block.source.kernel[a.index, b.index]
        return total.clamp(min=0.0)

    def covariance(self, other: Gaussian) -> Tensor:
        """E[v_p w_q], shape (size, other.size); not to be written to."""
        if len(self.terms) == len(other.terms) == 1 and self.terms[0].whole and other.terms[0].whole:
            block = self.terms[0].block
            same = block.same(other.terms[0].block)
            return block.source.kernel if same else torch.zeros(self.size, other.size, dtype=torch.float64)
        total = torch.zeros(self.size, other.size, dtype=torch.float64)
        for a in self.terms:
            for b in other.terms:
                if a.block.same(b.block):
                    kernel = a.block.source.kernel[a.index][:, b.index]
                    total += a.coefficient[:, None] * kernel * b.coefficient
        return total

    def meets(self, other: Gaussian) -> bool:
        """Whether they share a source, so that they may be correlated."""
        return any(a.block.same(b.block) for a in self.terms for b in other.terms)

    def ratio(self, other: Gaussian) -> float | None:
        """The number c with self = c other, or None."""
        if len(self.terms) != len(other.terms) or not self.terms:
            return None
        found: float | None = None
        for a in self.terms:
            match = next((b for b in other.terms if b.block.key() == a.block.key()), None)
            if match is None or not torch.equal(a.index, match.index):
                return None
            largest = int(match.coefficient.abs().argmax())
            if float(match.coefficient[largest]) == 0:
                return None
            value = float(a.coefficient[largest] / match.coefficient[largest])
            if found is None:
                found = value
            if not torch.allclose(a.coefficient, found * match.coefficient, rtol=1e-12, atol=0):
                return None
        return found
