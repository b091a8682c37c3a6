"""Accuracy off the training set: averaged over all labelings as a rational number, and over labelings drawn.

No free lunch (D. H. Wolpert, Neural Computation 8, 1341 (1996)): over all labelings, with equal weights, the labels off
the training set are independent of those in it. Whatever a learner predicts there from its training set, it is right
for one half of the labelings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import check_seed, generator
from repflow.theories.labels.families import LabelFamily
from repflow.theories.labels.learner import FloatArray, Labels, Learner, completions
from repflow.theories.spins import check_size, spins

#: All 3^(2^N) training sets are fitted up to here; one pixel more takes 3^16 = 43 million fits.
LARGEST_EXACT = 3


@dataclass(frozen=True, eq=False)
class ExactAverage:
    """What a learner gets right off the training set, for every labeling and every training set.

    Attributes
    ----------
    learner
        Its name.
    N
        Pixels.
    fits
        Training sets fitted, 3^(2^N): each image with either label, or without one.
    hits
        (2^(2^N), 2^(2^N)) whole numbers: images off the training set that got the right label. Bit i of the row is set
        where the labeling gives image i the label -1, bit i of the column where image i is in the training set.
    """

    learner: str
    N: int
    fits: int
    hits: NDArray[np.int64]

    @property
    def images(self) -> int:
        """2^N."""
        return int(2**self.N)

    @property
    def by_split(self) -> list[Fraction]:
        """Mean accuracy off each training set, over all labelings; all splits but the one with nothing left to test."""
        off = self.images - self._sizes()[:-1]
        return [Fraction(int(hits), len(self.hits) * int(left)) for hits, left in zip(self.hits.sum(axis=0), off)]

    @property
    def by_size(self) -> list[Fraction]:
        """Mean accuracy over all labelings and all training sets of m images, for m = 0 to 2^N - 1."""
        sizes = self._sizes()
        found = []
        for m in range(self.images):
            hits = self.hits[:, sizes == m]
            found.append(Fraction(int(hits.sum()), hits.size * (self.images - m)))
        return found

    def by_labeling(self, m: int) -> list[Fraction]:
        """Mean accuracy for each labeling, over the training sets of m images.

        Raises
        ------
        ValueError
            m leaves nothing to test.
        """
        if not 0 <= m < self.images:
            raise ValueError(f"m must be from 0 to {self.images - 1} training images, got {m}")
        hits = self.hits[:, self._sizes() == m]
        return [Fraction(int(row), hits.shape[1] * (self.images - m)) for row in hits.sum(axis=1)]

    def _sizes(self) -> NDArray[np.int64]:
        return np.bitwise_count(np.arange(self.hits.shape[1], dtype=np.int64)).astype(np.int64)


def exact_average(learner: Learner, N: int) -> ExactAverage:
    """Fit every training set once, and test it on every labeling that contains it.

    Parameters
    ----------
    learner
        See :class:`repflow.theories.labels.Learner`.
    N
        Pixels, 1 to 3: 3^8 = 6,561 fits for three.

    Raises
    ------
    ValueError
        There are more pixels.
    """
    if check_size(N) > LARGEST_EXACT:
        raise ValueError(
            f"N must be at most {LARGEST_EXACT} pixels, got {N}: all labelings take 3^(2^N) fits; "
            "for more, draw labelings with accuracies"
        )
    images = spins(N)
    M = len(images)
    sets = partial_labelings(M)
    return ExactAverage(learner.name, N, len(sets), count_hits(completions(learner, images, sets)))


def partial_labelings(M: int) -> Labels:
    """(3^M, M): every training set out of M images. Digit i of its index, to the base 3: 0 no label, 1 +1, 2 -1."""
    digits = np.arange(3**M)[:, None] // 3 ** np.arange(M) % 3
    return np.array([0, 1, -1], dtype=np.int8)[digits]


def count_hits(predictions: Labels) -> NDArray[np.int64]:
    """Right labels off the training set, as :attr:`ExactAverage.hits`, from predictions (3^M, M).

    Row by row they belong to :func:`partial_labelings`.
    """
    M = predictions.shape[1]
    bits = np.arange(2**M)[:, None] >> np.arange(M) & 1
    labels = 1 - 2 * bits
    hits = np.empty((2**M, 2**M), dtype=np.int64)
    for row, y in zip(hits, labels):
        fit = (bits * np.where(y == 1, 1, 2)) @ 3 ** np.arange(M)  # which training set this split makes of the labeling
        row[:] = ((predictions[fit] == y) & (bits == 0)).sum(axis=1)
    return hits


def accuracies(
    family: LabelFamily, learners: Sequence[Learner], N: int, m: int, draws: int, seed: int, stream: int = 0
) -> FloatArray:
    """Accuracy off the training set, for labelings drawn from a family and a random training set in each.

    Parameters
    ----------
    family
        See :class:`repflow.theories.labels.LabelFamily`.
    learners
        All get the same labelings and training sets, so that their differences can be compared draw by draw.
    N
        Pixels.
    m
        Training images, chosen at random; the other 2^N - m are the test.
    draws
        Labelings, 2 or more. They are independent: a standard error is over draws, not over images.
    seed, stream
        Of what is drawn: another stream is independent.

    Returns
    -------
    array (learners, draws)

    Raises
    ------
    ValueError
        No image is left to test, there are fewer than two draws, or a family's labels are of another number of pixels.
    """
    images = spins(N)
    M = len(images)
    if not 0 <= m < M:
        raise ValueError(f"m must be from 0 to 2^N - 1 = {M - 1} training images, got {m}")
    if draws < 2:
        raise ValueError(f"draws must be 2 or more, for a standard error, got {draws}")
    labels = np.empty((draws, M), dtype=np.int8)
    off = np.ones((draws, M), dtype=bool)
    for draw in range(draws):
        rng = generator(check_seed(seed), stream, draw)
        drawn = family.draw(rng)
        if drawn.shape != (M,):
            raise ValueError(f"family must label 2^N = {M} images, {family.name!r} labels {len(drawn)}")
        labels[draw] = drawn
        off[draw, rng.permutation(M)[:m]] = False
    partial = np.where(off, 0, labels)
    right = [(completions(learner, images, partial) == labels) & off for learner in learners]
    return np.asarray([hits.sum(axis=1) / (M - m) for hits in right])
