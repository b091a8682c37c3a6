"""Four families of theories of N spins: generic, k-local, spatially local, translation invariant.

A theory is a set of couplings, E(s) = sum_S J_S prod_{i in S} s_i. A family says which interaction terms S there are,
and which of them share one coupling; how many couplings that leaves is what decides whether the theory can be learned.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import check_seed, generator, require_memory
from repflow.theories.lattice import Lattice
from repflow.theories.spins import check_size, check_spins

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


def _combinations(N: int, order: int, first: int) -> Terms:
    """All subsets of ``order`` spins, their couplings counted from ``first`` on."""
    amount = math.comb(N, order)
    flat = itertools.chain.from_iterable(itertools.combinations(range(N), order))
    sites = np.fromiter(flat, dtype=np.int64, count=amount * order).reshape(amount, order)
    return Terms(sites, first + np.arange(amount, dtype=np.int64))


@dataclass(frozen=True)
class KLocal(Family):
    """All interactions of 2 to k spins, wherever they sit: sum_{j=2..k} C(N, j) couplings, about N^k/k!.

    Parameters
    ----------
    N
        Number of spins.
    k
        The largest number of spins in one term, 2 to N (1 with ``fields``, too).
    fields
        One-body terms as well: N more.

    Raises
    ------
    TypeError, ValueError
        N or k is not a whole number, or k is not in its range.
    """

    N: int
    k: int
    fields: bool = False

    name: ClassVar[str] = "k-local"

    def __post_init__(self) -> None:
        object.__setattr__(self, "N", check_size(self.N))
        if isinstance(self.k, bool) or not isinstance(self.k, (int, np.integer)):
            raise TypeError(f"k must be a whole number, got {self.k!r}")
        least = 1 if self.fields else 2
        if not least <= self.k <= self.N:
            raise ValueError(f"k must be between {least} and N = {self.N} spins, got {self.k}")

    @property
    def scaling(self) -> str:
        """Growth of the number of couplings, as text."""
        return f"N^{self.k}/{self.k}!"

    @property
    def count(self) -> int:
        """The exact number of independent couplings."""
        return sum(math.comb(self.N, j) for j in range(1 if self.fields else 2, self.k + 1))

    @property
    def term_count(self) -> int:
        """The exact number of interaction terms."""
        return self.count

    @property
    def asymptotic_count(self) -> float:
        """The leading growth of the count, at this N."""
        return float(self.N) ** self.k / math.factorial(self.k)

    def _term_lists(self) -> list[Terms]:
        found, first = [], 0
        for order in range(1 if self.fields else 2, self.k + 1):
            found.append(_combinations(self.N, order, first))
            first += len(found[-1].group)
        return found


@dataclass(frozen=True)
class Generic(Family):
    """All interactions of two spins or more: 2^N - 1 - N couplings (2^N - 1 with ``fields``).

    Parameters
    ----------
    N
        Number of spins.
    fields
        One-body terms as well.

    Raises
    ------
    TypeError, ValueError
        N is not a whole number of 1 or more.
    """

    N: int
    fields: bool = False

    name: ClassVar[str] = "generic"

    def __post_init__(self) -> None:
        object.__setattr__(self, "N", check_size(self.N))

    @property
    def scaling(self) -> str:
        """Growth of the number of couplings, as text."""
        return "2^N"

    @property
    def count(self) -> int:
        """The exact number of independent couplings."""
        return 2**self.N - 1 - (0 if self.fields else self.N)

    @property
    def term_count(self) -> int:
        """The exact number of interaction terms."""
        return self.count

    @property
    def asymptotic_count(self) -> float:
        """The leading growth of the count, at this N."""
        return 2.0**self.N if self.N < 1024 else math.inf

    def _term_lists(self) -> list[Terms]:
        found, first = [], 0
        for order in range(1 if self.fields else 2, self.N + 1):
            found.append(_combinations(self.N, order, first))
            first += len(found[-1].group)
        return found


@dataclass(frozen=True)
class Local(Family):
    """Interactions of nearest neighbours on a lattice, a coupling for each link: about N d.

    Parameters
    ----------
    shape
        Sides of the lattice, sites in row-major order; one number is a chain.
    periodic
        Whether sides of three sites or more close on themselves.
    fields
        One-body terms as well: N more.

    Raises
    ------
    TypeError, ValueError
        As for :class:`repflow.theories.lattice.Lattice`.
    """

    shape: tuple[int, ...]
    periodic: bool = True
    fields: bool = False
    N: int = field(init=False, repr=False, compare=False)

    name: ClassVar[str] = "local"

    def __post_init__(self) -> None:
        lattice = Lattice(self.shape, self.periodic)
        object.__setattr__(self, "shape", lattice.shape)
        object.__setattr__(self, "periodic", lattice.periodic)
        object.__setattr__(self, "N", lattice.N)

    @property
    def lattice(self) -> Lattice:
        """The lattice with its links."""
        return Lattice(self.shape, self.periodic)

    @property
    def scaling(self) -> str:
        """Growth of the number of couplings, as text."""
        return "N" if len(self.shape) == 1 else f"{len(self.shape)} N"

    @property
    def count(self) -> int:
        """The exact number of independent couplings."""
        return self.term_count

    @property
    def term_count(self) -> int:
        """The exact number of interaction terms."""
        return self.lattice.link_count + (self.N if self.fields else 0)

    @property
    def asymptotic_count(self) -> float:
        """The leading growth of the count, at this N."""
        return float(self.N * len(self.shape))

    def _term_lists(self) -> list[Terms]:
        found, first = [], 0
        if self.fields:
            found.append(_combinations(self.N, 1, 0))
            first = self.N
        links = self.lattice.links()
        if len(links):
            found.append(Terms(links, first + np.arange(len(links), dtype=np.int64)))
        return found


@dataclass(frozen=True)
class TranslationInvariant(Family):
    """One coupling for all links of a lattice: a number of couplings that does not grow, here 1 (2 with ``fields``).

    Nearest neighbours, the same in every direction. On an open lattice the links are the same less those that would
    close it.

    Parameters
    ----------
    shape, periodic
        As for :class:`Local`.
    fields
        A uniform one-body term as well: one more.

    Raises
    ------
    TypeError, ValueError
        As for :class:`Local`; or no two sites are neighbours.
    """

    shape: tuple[int, ...]
    periodic: bool = True
    fields: bool = False
    N: int = field(init=False, repr=False, compare=False)

    name: ClassVar[str] = "translation-invariant"

    def __post_init__(self) -> None:
        lattice = Lattice(self.shape, self.periodic)
        object.__setattr__(self, "shape", lattice.shape)
        object.__setattr__(self, "periodic", lattice.periodic)
        object.__setattr__(self, "N", lattice.N)
        if lattice.link_count == 0 and not self.fields:
            raise ValueError(f"shape {self.shape} has no neighbours, so no coupling; use a longer side or fields=True")

    @property
    def lattice(self) -> Lattice:
        """The lattice with its links."""
        return Lattice(self.shape, self.periodic)

    @property
    def scaling(self) -> str:
        """Growth of the number of couplings, as text."""
        return "1"

    @property
    def count(self) -> int:
        """The exact number of independent couplings."""
        return int(self.fields) + int(self.lattice.link_count > 0)

    @property
    def term_count(self) -> int:
        """The exact number of interaction terms."""
        return self.lattice.link_count + (self.N if self.fields else 0)

    @property
    def asymptotic_count(self) -> float:
        """The leading growth of the count, at this N."""
        return 1.0

    def _term_lists(self) -> list[Terms]:
        found = []
        if self.fields:
            found.append(Terms(np.arange(self.N, dtype=np.int64)[:, None], np.zeros(self.N, dtype=np.int64)))
        links = self.lattice.links()
        if len(links):
            found.append(Terms(links, np.full(len(links), int(self.fields), dtype=np.int64)))
        return found
