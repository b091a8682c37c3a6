"""Families of labelings: a few of the 2^(2^n), each with a number of parameters that name one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from repflow.theories.family import Family
from repflow.theories.labels.learner import Labels, label_of
from repflow.theories.labels.matched import quadratic_monomials
from repflow.theories.labels.standard import translations
from repflow.theories.lattice import check_shape
from repflow.theories.spins import check_size, pack, spins


class LabelFamily(Protocol):
    """A set of labelings of n-pixel images with a way to draw one.

    With every labeling its negative is as probable, so that a learner without knowledge is right half of the time.
    """

    @property
    def name(self) -> str:
        """As in tables."""

    @property
    def parameters(self) -> int:
        """How many numbers name a member: real couplings, or bits."""

    def draw(self, rng: np.random.Generator) -> Labels:
        """(2^n,): labels +-1 of all images, in the order of :func:`repflow.theories.spins`."""


@dataclass(frozen=True)
class OneProduct:
    """The product of some pixels, with either sign: a single non-zero coupling.

    Parameters
    ----------
    N
        Number of pixels.
    least, most
        The product is of at least and at most so many pixels, all such sets with equal probability.
    name
        As in tables.
    """

    N: int
    least: int
    most: int
    name: str

    def __post_init__(self) -> None:
        check_size(self.N)
        if not 1 <= self.least <= self.most <= self.N:
            raise ValueError(
                f"least and most must satisfy 1 <= least <= most <= N = {self.N}, got {self.least} and {self.most}"
            )

    @property
    def parameters(self) -> int:
        """Bits that name a member: the binary logarithm of their number, rounded up."""
        sets = sum(math.comb(self.N, j) for j in range(self.least, self.most + 1))
        return math.ceil(math.log2(2 * sets))

    def draw(self, rng: np.random.Generator) -> Labels:
        """Labels of one member."""
        subset = np.arange(2**self.N)
        order = np.bitwise_count(subset)
        chosen = rng.choice(subset[(self.least <= order) & (order <= self.most)])
        odd = np.bitwise_count(subset & chosen) % 2  # pixels of the set that are -1
        sign = 1 - 2 * int(rng.integers(2))
        return (sign * (1 - 2 * odd.astype(np.int8))).astype(np.int8)


@dataclass(frozen=True)
class SignOfEnergy:
    """The sign of an energy with independent Gaussian couplings.

    Parameters
    ----------
    family
        Which terms the energy has.
    name
        As in tables.
    """

    family: Family
    name: str

    @property
    def parameters(self) -> int:
        """Number of couplings."""
        return self.family.count

    def draw(self, rng: np.random.Generator) -> Labels:
        """Labels of one member."""
        return label_of(self.family.theory(rng.standard_normal(self.family.count)).values())


@dataclass(frozen=True)
class TranslationInvariantLabels:
    """Any labels that are the same for an image and all its translates on a periodic lattice: a bit for each orbit.

    Parameters
    ----------
    shape
        Sides of the lattice.
    """

    shape: tuple[int, ...]
    name: ClassVar[str] = "translation-invariant"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", check_shape(self.shape))

    @property
    def orbits(self) -> NDArray[np.int64]:
        """(2^n,): the smallest index among the translates of each image."""
        images = spins(math.prod(self.shape))
        return np.min([pack(images[:, moved]) for moved in translations(self.shape)], axis=0)

    @property
    def parameters(self) -> int:
        """Number of orbits, by Burnside's lemma: the mean of 2^(cycles of the sites) over the translations."""
        moves = translations(self.shape)
        return sum(2 ** _cycles(moved) for moved in moves) // len(moves)

    def draw(self, rng: np.random.Generator) -> Labels:
        """Labels of one member."""
        orbits = self.orbits
        return (1 - 2 * rng.integers(0, 2, len(orbits)))[orbits].astype(np.int8)


@dataclass(frozen=True)
class QuadraticForm:
    """Polynomials of degree 2 over GF(2) in the bits of an image whose quadratic part has the highest rank there is.

    Of N pixels the rank is at most r = N (N even) or N - 1 (odd). At that rank every non-zero coupling of the labels is
    +-2^(-r/2), the smallest largest coupling that a quadratic polynomial can have: no parity is of much help.

    Parameters
    ----------
    N
        Number of pixels, 2 or more.
    """

    N: int
    name: ClassVar[str] = "quadratic form"

    def __post_init__(self) -> None:
        check_size(self.N, 2)

    @property
    def parameters(self) -> int:
        """Bits of the polynomial: (N^2 + N + 2)/2."""
        return 1 + self.N + math.comb(self.N, 2)

    def draw(self, rng: np.random.Generator) -> Labels:
        """Labels of one member; forms of lower rank are drawn again."""
        monomials = quadratic_monomials(spins(self.N).astype(np.float64)).astype(np.int64)
        while True:
            coefficients = rng.integers(0, 2, self.parameters)
            if _rank(coefficients[1 + self.N :], self.N) == self.N - self.N % 2:
                return (1 - 2 * (monomials @ coefficients % 2)).astype(np.int8)


@dataclass(frozen=True)
class AnyLabels:
    """All 2^(2^N) labelings, with equal probability: a bit for each image.

    Parameters
    ----------
    N
        Number of pixels.
    """

    N: int
    name: ClassVar[str] = "any labeling"

    def __post_init__(self) -> None:
        check_size(self.N)

    @property
    def parameters(self) -> int:
        """Number of images."""
        return int(2**self.N)

    def draw(self, rng: np.random.Generator) -> Labels:
        """Labels of one member."""
        return (1 - 2 * rng.integers(0, 2, 2**self.N)).astype(np.int8)


def _cycles(moved: NDArray[np.int64]) -> int:
    """Cycles of a permutation."""
    left, count = set(range(len(moved))), 0
    while left:
        site, count = left.pop(), count + 1
        while (site := int(moved[site])) in left:
            left.remove(site)
    return count


def _rank(pairs: NDArray[np.int64], N: int) -> int:
    """Rank over GF(2) of the alternating matrix with these entries above the diagonal."""
    matrix = np.zeros((N, N), dtype=np.int64)
    matrix[np.triu_indices(N, k=1)] = pairs
    rows = [int("".join(map(str, row)), 2) for row in matrix + matrix.T]
    pivots: dict[int, int] = {}
    for row in rows:
        while row and row.bit_length() in pivots:
            row ^= pivots[row.bit_length()]
        if row:
            pivots[row.bit_length()] = row
    return len(pivots)
