"""A family of theories of N spins: which interaction terms there are, and which of them share a coupling.

A theory is a set of couplings, E(s) = sum_S J_S prod_{i in S} s_i. How many couplings a family leaves is what decides
whether the theory can be learned.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import check_seed, generator, require_memory
from repflow.theories.spins import check_spins

if TYPE_CHECKING:
    from repflow.theories.theory import Theory

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Terms:
    """The interaction terms of one order.

    Attributes
    ----------
    sites
        (terms, order): the spins of each term, ascending.
    group
        (terms,): which coupling each term has.
    """

    sites: IntArray
    group: IntArray


class Family(ABC):
    """What the four families share.

    Attributes
    ----------
    name
        ``"generic"``, ``"k-local"``, ``"local"`` or ``"translation-invariant"``.
    fields
        Whether one-body terms belong to the family.
    """

    name: ClassVar[str]
    #: Number of spins.
    N: int
    fields: bool

    @property
    @abstractmethod
    def scaling(self) -> str:
        """How the number of couplings grows with N, as text."""

    @property
    @abstractmethod
    def count(self) -> int:
        """The exact number of independent couplings; the constant is not counted."""

    @property
    @abstractmethod
    def term_count(self) -> int:
        """The exact number of interaction terms, which may share couplings."""

    @property
    @abstractmethod
    def asymptotic_count(self) -> float:
        """The leading growth of :attr:`count` at large N, interactions alone, evaluated at this N."""

    @abstractmethod
    def _term_lists(self) -> list[Terms]:
        """The terms by order."""

    @cached_property
    def term_lists(self) -> tuple[Terms, ...]:
        """The interaction terms, one :class:`Terms` for each order.

        Raises
        ------
        MemoryError
            They do not fit; the message has their number.
        """
        # 8 bytes for each spin of a term and for its coupling, twice while the lists are put together.
        need = self.term_count * 16 * (1 + min(self.N, 8))
        require_memory(need, f"the list of {self.term_count} interaction terms", "use fewer spins, or smaller k")
        return tuple(self._term_lists())

    @property
    def terms(self) -> list[tuple[int, ...]]:
        """The spins of every interaction term, by order and then in lexical order."""
        return [tuple(int(i) for i in row) for lot in self.term_lists for row in lot.sites]

    @property
    def group(self) -> IntArray:
        """(terms,): the index of the coupling that each of :attr:`terms` has."""
        return np.concatenate([lot.group for lot in self.term_lists] or [np.empty(0, dtype=np.int64)])

    def features(self, spins: ArrayLike) -> FloatArray:
        """What multiplies each coupling in the energy: E(s) = features(s) @ parameters.

        Parameters
        ----------
        spins
            (..., N), each +1 or -1.

        Returns
        -------
        array (..., count)
            Sums over the terms that share a coupling of prod_{i in S} s_i.

        Raises
        ------
        ValueError
            The spins are not +-1, or of another number.
        MemoryError
            The result does not fit.
        """
        s = check_spins(spins, self.N)
        rows = math.prod(s.shape[:-1])
        require_memory(8 * rows * (self.count + 2), f"the features of {rows} configurations", "use fewer at a time")
        flat = s.reshape(-1, self.N).astype(np.float64)
        found = np.zeros((len(flat), self.count))
        for lot in self.term_lists:
            products = flat[:, lot.sites[:, 0]]
            for column in lot.sites.T[1:]:
                products = products * flat[:, column]
            if len(np.unique(lot.group)) == len(lot.group):
                found[:, lot.group] += products
            else:
                for each in np.unique(lot.group):
                    found[:, each] += products[:, lot.group == each].sum(axis=1)
        return found.reshape(*s.shape[:-1], self.count)

    def theory(self, parameters: ArrayLike) -> Theory:
        """The theory of this family with these couplings, ``parameters`` of shape (count,)."""
        from repflow.theories.theory import Theory

        return Theory(self, np.asarray(parameters, dtype=np.float64))

    def random(self, seed: int = 0, scale: float = 1.0) -> Theory:
        """A theory with independent Gaussian couplings of mean 0 and standard deviation ``scale``.

        Raises
        ------
        TypeError, ValueError
            The seed is not a whole number of 0 or more, or the scale is not a positive number.
        """
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be a positive number, got {scale!r}")
        return self.theory(scale * generator(check_seed(seed)).standard_normal(self.count))
