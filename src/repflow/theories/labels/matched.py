"""Learners that know a class of labelings and nothing else: couplings of given terms, one parity, a quadratic form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import require_memory
from repflow.theories.family import Family
from repflow.theories.labels.learner import AllAtOnce, FloatArray, Labels, check_images, check_partial, label_of

#: Numbers held at a time by a batch of fits.
_CHUNK = 2**23


@dataclass(frozen=True)
class Couplings(AllAtOnce):
    """The sign of an energy whose couplings are fitted to the labels: ridge regression on a family's terms.

    J = (F^T F + ridge)^-1 F^T y with the features F of the training images.

    Parameters
    ----------
    family
        The interaction terms, such as ``KLocal(9, 2)``.
    name
        As in tables.
    ridge
        The penalty on |J|^2.
    """

    family: Family
    name: str
    ridge: float = 1.0

    def __post_init__(self) -> None:
        if not self.ridge > 0:
            raise ValueError(f"ridge must be positive, got {self.ridge!r}: few images leave couplings undetermined")

    def complete(self, images: ArrayLike, partial: ArrayLike) -> Labels:
        """See :func:`repflow.theories.labels.completions`."""
        x, labels = check_images(images, "images"), check_partial(partial)
        features = self.family.features(x)
        count = features.shape[1]
        found = np.empty(labels.shape, dtype=np.int8)
        rows = max(1, _CHUNK // max(1, len(x) * count))
        for start in range(0, len(labels), rows):
            some = labels[start : start + rows].astype(np.float64)
            seen = np.abs(some)[:, :, None] * features
            gram = np.matmul(features.T, seen) + self.ridge * np.eye(count)
            J = np.linalg.solve(gram, (some @ features)[:, :, None])[:, :, 0]
            found[start : start + rows] = label_of(J @ features.T)
        return found


@dataclass(frozen=True)
class Parity(AllAtOnce):
    """The parity that agrees with most training labels, out of all 2^n, each with either sign.

    c_S = sum over the training set of y(x) prod_{i in S} x_i, and S maximises |c_S|. Where several do they vote, each
    with its sign, so that none is preferred for being of few pixels.
    """

    name: str = "one parity"

    def complete(self, images: ArrayLike, partial: ArrayLike) -> Labels:
        """See :func:`repflow.theories.labels.completions`.

        Raises
        ------
        MemoryError
            The 2^n parities of all images do not fit.
        """
        x, labels = check_images(images, "images"), check_partial(partial)
        products = parities(x)
        found = np.empty(labels.shape, dtype=np.int8)
        rows = max(1, _CHUNK // products.shape[1])
        for start in range(0, len(labels), rows):
            c = labels[start : start + rows].astype(np.float32) @ products  # whole numbers: exact
            best = np.abs(c) == np.abs(c).max(axis=1, keepdims=True)
            found[start : start + rows] = label_of(np.where(best, np.sign(c), 0) @ products.T)
        return found


@dataclass(frozen=True)
class Quadratic(AllAtOnce):
    """A polynomial of degree 2 over GF(2) through the training labels, by Gaussian elimination.

    With bits b = (1 - x)/2 the label's bit is c + sum_i a_i b_i + sum_{i<j} a_ij b_i b_j mod 2: (n^2 + n + 2)/2
    unknown bits, one linear equation for each training image. Equations that contradict earlier ones are left out, in
    the order of :func:`repflow.theories.spins`; the elimination starts with the pairs and coefficients that stay free
    are 0, so there is no preference for few terms.
    """

    name: str = "quadratic form"

    def complete(self, images: ArrayLike, partial: ArrayLike) -> Labels:
        """See :func:`repflow.theories.labels.completions`."""
        x, labels = check_images(images, "images"), check_partial(partial)
        monomials = quadratic_monomials(x)
        # A row of the system as one whole number: bit 0 is the right-hand side.
        rows = [int("".join("1" if bit else "0" for bit in row) + "0", 2) for row in monomials[:, ::-1]]
        coefficients = np.zeros((len(labels), monomials.shape[1]), dtype=np.int64)
        for solution, known in zip(coefficients, labels):
            system = [rows[i] | int(known[i] < 0) for i in np.flatnonzero(known)]
            solution[_solve(system)] = 1
        return (1 - 2 * (coefficients @ monomials.T.astype(np.int64) % 2)).astype(np.int8)


def parities(images: FloatArray) -> NDArray[np.float32]:
    """(M, 2^n): prod_{i in S} x_i of each image and each subset S, bit i of the index set where i is in S."""
    M, n = images.shape
    require_memory(3 * 4 * M * 2**n, f"2^{n} parities of {M} images", "use images of fewer pixels")
    found = np.ones((M, 1), dtype=np.float32)
    for pixel in images.T.astype(np.float32):
        found = np.concatenate([found, found * pixel[:, None]], axis=1)
    return found


def quadratic_monomials(images: FloatArray) -> NDArray[np.bool_]:
    """(M, (n^2 + n + 2)/2): 1, then b_i, then b_i b_j for i < j, of the bits b = (1 - x)/2 of each image."""
    bits = images < 0
    first, second = np.triu_indices(images.shape[1], k=1)
    return np.concatenate([np.ones((len(bits), 1), dtype=bool), bits, bits[:, first] & bits[:, second]], axis=1)


def _solve(system: list[int]) -> list[int]:
    """The unknowns that are 1 in a solution of linear equations over GF(2); unknown k is bit k + 1, bit 0 the right."""
    pivots: dict[int, int] = {}  # its highest bit: the equation
    for equation in system:
        while equation > 1:
            pivot = pivots.get(equation.bit_length())
            if pivot is None:
                pivots[equation.bit_length()] = equation
                break
            equation ^= pivot
        # Nothing left, or 0 = 1: known before, or contradicting what came before.
    ones = 0
    for top in sorted(pivots):  # lower unknowns are settled when a higher one is asked for
        if ((pivots[top] & ones).bit_count() + (pivots[top] & 1)) % 2:
            ones |= 1 << (top - 1)
    return [k for k in range(ones.bit_length()) if ones >> (k + 1) & 1]
