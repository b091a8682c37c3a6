"""What a learner is: a deterministic function of its training set, and one that fits many training sets at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Labels = NDArray[np.int8]

#: Scores closer to 0 than this are a tie: with few images, exact ties would else be decided by rounding errors.
TIE = 1e-9


@runtime_checkable
class Learner(Protocol):
    """Anything with a name that turns a training set into labels of other images.

    The same training set, in whatever order, must give the same labels: a learner draws no random numbers of its own,
    or draws them from a fixed seed. Sets with a single class, and the empty one, are training sets.
    """

    @property
    def name(self) -> str:
        """As in tables."""

    def predict(self, train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike) -> Labels:
        """Labels +-1 of the images ``test_x`` (t, n), given labelled images ``train_x`` (m, n) and ``train_y`` (m,)."""


@runtime_checkable
class BatchLearner(Learner, Protocol):
    """A learner that fits many training sets of the same images in one call."""

    def complete(self, images: ArrayLike, partial: ArrayLike) -> Labels:
        """Predictions (T, M) on all ``images`` (M, n) from partial labelings (T, M); see :func:`completions`."""


def completions(learner: Learner, images: ArrayLike, partial: ArrayLike) -> Labels:
    """What a learner makes of training sets: labels of all images, each from a partial labeling.

    Parameters
    ----------
    images
        (M, n), pixels +1 or -1.
    partial
        (T, M): +1 or -1 where the image is in the training set, 0 where it is not. Each row is fitted once.

    Returns
    -------
    array (T, M) of int8
        The learner's labels. Those of the training images are its predictions too, not copies.

    Raises
    ------
    ValueError
        Shapes or entries are wrong, or the learner returns something else than labels +-1 of all images.
    """
    x, labels = check_images(images, "images"), check_partial(partial)
    if labels.shape[1] != len(x):
        raise ValueError(f"partial has {labels.shape[1]} columns, there are {len(x)} images; one label for each, or 0")
    if isinstance(learner, BatchLearner):
        found = np.asarray(learner.complete(x, labels))
    else:
        found = np.empty(labels.shape, dtype=np.int8)
        for row, known in zip(found, labels):
            row[:] = learner.predict(x[known != 0], known[known != 0], x)
    if found.shape != labels.shape or not (np.abs(found) == 1).all():
        raise ValueError(f"learner {learner.name!r} must return labels +1 or -1 of shape {labels.shape}")
    return found.astype(np.int8)


class OneByOne(ABC):
    """A learner that fits one training set at a time, by :meth:`fit_predict`.

    It takes care of what scikit-learn refuses: without a training image the label is +1, and with labels of a single
    class it is that class.
    """

    name: str

    @abstractmethod
    def fit_predict(self, train_x: FloatArray, train_y: Labels, test_x: FloatArray) -> Labels:
        """Labels of the test images; the training set holds both classes and is in canonical order."""

    def predict(self, train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike) -> Labels:
        """Labels +-1 of ``test_x``.

        Parameters
        ----------
        train_x
            (m, n) images, m of 0 or more; the order makes no difference.
        train_y
            (m,) labels, each +1 or -1.
        test_x
            (t, n) images.

        Raises
        ------
        ValueError
            Shapes don't fit, or pixels or labels are not +-1.
        """
        x, y, test = check_task(train_x, train_y, test_x)
        if len(y) == 0 or (y == y[0]).all():
            return np.full(len(test), 1 if len(y) == 0 else y[0], dtype=np.int8)
        return self.fit_predict(x, y, test)


class AllAtOnce(ABC):
    """A learner that fits many training sets in one computation, by :meth:`complete`."""

    name: str

    @abstractmethod
    def complete(self, images: ArrayLike, partial: ArrayLike) -> Labels:
        """Predictions (T, M) on ``images`` (M, n) from partial labelings (T, M), as for :func:`completions`."""

    def predict(self, train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike) -> Labels:
        """Labels +-1 of ``test_x``, as for :meth:`OneByOne.predict`."""
        x, y, test = check_task(train_x, train_y, test_x)
        partial = np.concatenate([y, np.zeros(len(test), dtype=np.int8)])
        return self.complete(np.concatenate([x, test]), partial[None])[0, len(y) :]


def label_of(score: ArrayLike) -> Labels:
    """The sign of a score as a label; +1 for a tie."""
    return np.where(np.asarray(score) < -TIE, -1, 1).astype(np.int8)


def check_images(images: ArrayLike, name: str) -> FloatArray:
    """``images`` as floats of shape (M, n).

    Raises
    ------
    ValueError
        They have another number of axes, no pixels, or a pixel that is not +-1.
    """
    x = np.asarray(images, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"{name} must have shape (images, pixels), got {x.shape}")
    if not (np.abs(x) == 1).all():
        raise ValueError(f"{name} must have pixels +1 or -1; bits b become pixels by 1 - 2 b")
    return x


def check_partial(partial: ArrayLike) -> Labels:
    """``partial`` as int8 of shape (T, M).

    Raises
    ------
    ValueError
        It has another number of axes, or an entry that is not +1, -1 or 0.
    """
    labels = np.asarray(partial)
    if labels.ndim != 2:
        raise ValueError(f"partial must have shape (training sets, images), got {labels.shape}")
    if not np.isin(labels, (-1, 0, 1)).all():
        raise ValueError("partial must hold labels +1 or -1, and 0 for images without one")
    return labels.astype(np.int8)


def check_task(train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike) -> tuple[FloatArray, Labels, FloatArray]:
    """A training set in canonical order (that of :func:`repflow.theories.spins`) and the test images.

    Raises
    ------
    ValueError
        Shapes don't fit, or pixels or labels are not +-1.
    """
    test = check_images(test_x, "test_x")
    given = np.asarray(train_x, dtype=np.float64)
    x = np.empty((0, test.shape[1])) if given.size == 0 else check_images(given, "train_x")
    if x.shape[1] != test.shape[1]:
        raise ValueError(f"train_x has {x.shape[1]} pixels, test_x has {test.shape[1]}; both need the same")
    y = np.asarray(train_y)
    if y.shape != (len(x),):
        raise ValueError(f"train_y must have shape ({len(x)},), one label for each row of train_x, got {y.shape}")
    if not np.isin(y, (-1, 1)).all():
        raise ValueError("train_y must hold labels +1 or -1")
    order = np.lexsort((y, *(x < 0).T))
    return x[order], y[order].astype(np.int8), test
