"""Digits at random places on a larger canvas: data that obey a symmetry, which a network may know of or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import generator

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Side of a digit, in pixels.
DIGIT = 8


@dataclass(frozen=True)
class ShiftedDigits:
    """One draw of images, positions, and their order.

    Attributes
    ----------
    x, y
        Training images (N, side, side), at seen positions, and their classes.
    seen, unseen
        Test images (T, side, side): the same digits at positions that occur in training, and at positions that do not.
    y_test
        Their classes, (T,).
    """

    x: FloatArray
    y: IntArray
    seen: FloatArray
    unseen: FloatArray
    y_test: IntArray

    def scrambled(self, order: IntArray) -> ShiftedDigits:
        """The same images with their pixels in another order, the same for all: ``order`` of shape (side^2,)."""

        def mixed(images: FloatArray) -> FloatArray:
            return np.ascontiguousarray(images.reshape(len(images), -1)[:, order].reshape(images.shape))

        return ShiftedDigits(mixed(self.x), self.y, mixed(self.seen), mixed(self.unseen), self.y_test)


def positions(side: int) -> tuple[IntArray, IntArray]:
    """Where the upper left corner of a digit may be, (P, 2) each: left of the middle, and right of it.

    The first are seen in training, the second never are.
    """
    if side < DIGIT + 1:
        raise ValueError(f"side must be {DIGIT + 1} or more, so that a digit of {DIGIT} can move; got {side}")
    corners = side - DIGIT + 1
    rows, columns = (grid.ravel() for grid in np.meshgrid(np.arange(corners), np.arange(corners), indexing="ij"))
    left = columns < (corners + 1) // 2
    both = np.stack([rows, columns], axis=1).astype(np.int64)
    return both[left], both[~left]


def place(images: FloatArray, corners: IntArray, side: int) -> FloatArray:
    """Images (N, 8, 8) on canvases of zeros (N, side, side), their upper left pixel at ``corners`` (N, 2)."""
    canvas = np.zeros((len(images), side, side))
    # One index array a pixel of the digit: row and column on each canvas.
    rows = corners[:, 0, None, None] + np.arange(DIGIT)[:, None]
    columns = corners[:, 1, None, None] + np.arange(DIGIT)
    canvas[np.arange(len(images))[:, None, None], rows, columns] = images
    return canvas


def shifted_digits(side: int, train: int, test: int, seed: int, draw: int) -> ShiftedDigits:
    """Another choice of training and test digits and of their positions for each ``draw``.

    All canvases are standardised by one mean and one standard deviation, those of all digits on them.

    Raises
    ------
    ValueError
        The canvas is too small, or there are fewer digits than are asked for.
    """
    from repflow.data import DIGITS, load_data

    if train + test > DIGITS:
        raise ValueError(f"train and test must be at most {DIGITS} digits together, got {train} and {test}")
    left, right = positions(side)
    data = load_data("digits", inputs=DIGITS, standardize=False)
    assert data.y is not None
    images = data.x.reshape(-1, DIGIT, DIGIT)
    mean = images.sum() / (len(images) * side**2)
    scale = np.sqrt((images**2).sum() / (len(images) * side**2) - mean**2)
    random = generator(seed, draw)
    order = random.permutation(len(images))
    chosen, held = order[:train], order[len(order) - test :]

    def canvases(which: IntArray, corners: IntArray) -> FloatArray:
        taken = corners[random.integers(len(corners), size=len(which))]
        return (place(images[which], taken, side) - mean) / scale

    labels = np.asarray(data.y, dtype=np.int64)
    return ShiftedDigits(
        canvases(chosen, left), labels[chosen], canvases(held, left), canvases(held, right), labels[held]
    )
