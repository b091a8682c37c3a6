"""Learners of general use: neighbours, linear, tree, support vectors, memorisation.

Where scikit-learn has the method it does the fitting; what is fixed here are ties and training sets of one class, so
that each learner is a function of its training set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import require_memory
from repflow.theories.labels.learner import (
    AllAtOnce,
    FloatArray,
    Labels,
    OneByOne,
    check_images,
    check_partial,
    label_of,
)
from repflow.theories.lattice import Lattice, check_tiles


@dataclass(frozen=True)
class NearestNeighbour(AllAtOnce):
    """The label of the nearest training image in Hamming distance.

    Training images at the same distance vote; where the vote is even those at the next distance do, and +1 is the label
    where all are.

    Parameters
    ----------
    shape
        With the sides of a periodic lattice, the distance is the smallest over all translations of the image: each
        training image stands for all its translates. Without it images are compared as they are.
    """

    shape: tuple[int, ...] | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """As in tables."""
        return "nearest neighbour" if self.shape is None else "nearest translate"

    def complete(self, images: ArrayLike, partial: ArrayLike) -> Labels:
        """See :func:`repflow.theories.labels.completions`.

        Raises
        ------
        ValueError
            The lattice does not tile the pixels.
        """
        x, labels = check_images(images, "images"), check_partial(partial)
        n = x.shape[1]
        distance = _distances(x, x)
        if self.shape is not None:
            for moved in translations(check_tiles(self.shape, n)):
                np.minimum(distance, _distances(x, x[:, moved]), out=distance)
        known = labels.astype(np.float32)  # sums of +-1: exact
        vote = np.zeros(labels.shape, dtype=np.float32)
        for reach in range(n + 1):
            shell = (distance == reach).astype(np.float32)
            vote = np.where(vote == 0, known @ shell, vote)
        return label_of(vote)


@dataclass(frozen=True)
class Memorisation(AllAtOnce):
    """The training labels by heart, and the majority's label for every other image; +1 where there is no majority."""

    name: str = "memorisation"

    def complete(self, images: ArrayLike, partial: ArrayLike) -> Labels:
        """See :func:`repflow.theories.labels.completions`."""
        x, labels = check_images(images, "images"), check_partial(partial)
        majority = label_of(labels.sum(axis=1, dtype=np.int64))
        # By what the image is, not by its place in the list: the same image may come twice.
        known = labels.astype(np.float32) @ (_distances(x, x) == 0).astype(np.float32)
        return np.where(known == 0, majority[:, None], label_of(known)).astype(np.int8)


@dataclass(frozen=True)
class Linear(OneByOne):
    """Logistic regression on the pixels, by scikit-learn (l2 penalty, C = 1)."""

    name: str = "linear"

    def fit_predict(self, train_x: FloatArray, train_y: Labels, test_x: FloatArray) -> Labels:
        """Labels of the test images."""
        from sklearn.linear_model import LogisticRegression

        # Newton's method ends at rounding errors, so that ties are seen as such.
        return _scored(LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8), train_x, train_y, test_x)


@dataclass(frozen=True)
class SupportVectors(OneByOne):
    """A support-vector machine with the kernel exp(-|x - x'|^2 / n) and C = 10, by scikit-learn."""

    name: str = "SVM"

    def fit_predict(self, train_x: FloatArray, train_y: Labels, test_x: FloatArray) -> Labels:
        """Labels of the test images."""
        from sklearn.svm import SVC

        return _scored(SVC(C=10.0, kernel="rbf", gamma=1.0 / train_x.shape[1]), train_x, train_y, test_x)


@dataclass(frozen=True)
class Tree(OneByOne):
    """A decision tree grown until its leaves are pure, by scikit-learn; equal splits are drawn from a fixed seed."""

    name: str = "tree"

    def fit_predict(self, train_x: FloatArray, train_y: Labels, test_x: FloatArray) -> Labels:
        """Labels of the test images."""
        from sklearn.tree import DecisionTreeClassifier

        with _quick():
            tree = DecisionTreeClassifier(random_state=0).fit(train_x, train_y)
            return np.asarray(tree.predict(test_x), dtype=np.int8)


def translations(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """(N, N): for each translation of the periodic lattice, where its sites come from; the first is the identity."""
    lattice = Lattice(shape, periodic=True)
    found = np.arange(lattice.N)[None]
    sides = [side for side in lattice.shape if side > 1]
    for step, side in zip(lattice.steps(), sides, strict=True):
        powers = [np.arange(lattice.N)]
        for _ in range(side - 1):
            powers.append(powers[-1][step])
        found = np.concatenate([found[:, power] for power in powers])
    return found


def _distances(left: FloatArray, right: FloatArray) -> NDArray[np.int64]:
    """Hamming distances of all pairs."""
    require_memory(
        3 * 8 * len(left) * len(right), f"distances of {len(left)} images", "use fewer images or fewer pixels"
    )
    return np.rint((left.shape[1] - left @ right.T) / 2).astype(np.int64)


def _scored(model: Any, train_x: FloatArray, train_y: Labels, test_x: FloatArray) -> Labels:
    with _quick():
        return label_of(model.fit(train_x, train_y).decision_function(test_x))


def _quick() -> Any:
    """Without scikit-learn's own checks: ours were made, and thousands of small fits follow one another."""
    from sklearn import config_context

    return config_context(assume_finite=True, skip_parameter_validation=True)
