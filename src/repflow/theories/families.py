"""Four families of theories of N spins: generic, k-local, spatially local, translation invariant."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from repflow.theories.family import Family, Terms
from repflow.theories.lattice import Lattice
from repflow.theories.spins import check_size

if TYPE_CHECKING:
    pass

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


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
