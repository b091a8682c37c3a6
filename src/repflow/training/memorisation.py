"""How many steps a network needs to fit given labels, from their components on the eigenvectors of the tangent kernel.

At infinite width and s = 0 the tangent kernel Theta keeps its initial value, every output learns alone, and on
(1/2N) sum |f - y|^2 full-batch gradient descent is linear in the residual r = f - y. With Theta u_i = lambda_i u_i,

    u_i . r(t) = p_t(lambda_i) u_i . r(0),    p_0 = 1,    p_1 = 1 - eta lambda_i/N,
    p_{t+1} = (1 + m - eta lambda_i/N) p_t - m p_{t-1}

for the rate eta and the momentum m of ``torch.optim.SGD`` (v <- m v + gradient, theta <- theta - eta v); m = 0 is
gradient descent, p_t = (1 - eta lambda_i/N)^t. At initialisation f is Gaussian with the output's kernel K, so that the
mean loss over networks is

    E L(t) = (1/2N) sum_i p_t(lambda_i)^2 [ n_L u_i^T K u_i + |u_i^T y|^2 ].

Labels that lie on eigenvectors of large eigenvalues are fitted at once, others take N/(eta lambda_i) steps. (PDLT
section 10.2, in the eigenbasis.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def fitted(outputs: FloatArray, targets: FloatArray) -> float:
    """Share of inputs whose label is read off right: the largest of several outputs, the sign of a single one.

    Parameters
    ----------
    outputs, targets
        Shape (N, n_L); targets are one-hot, or of either sign for n_L = 1.
    """
    if targets.shape[1] == 1:
        return float(np.mean(outputs * targets > 0))
    return float(np.mean(outputs.argmax(1) == targets.argmax(1)))


def first_step(curve: FloatArray, reached: Callable[[FloatArray], NDArray[np.bool_]]) -> int | None:
    """The first step at which a condition on a curve's values holds, or None."""
    steps = np.flatnonzero(reached(np.asarray(curve)))
    return int(steps[0]) if len(steps) else None


@dataclass(frozen=True)
class Curves:
    """A training run, step by step.

    Attributes
    ----------
    loss
        (1/2N) sum |f - y|^2 before the first step, after it, and so on, shape (T + 1,).
    accuracy
        By :func:`fitted`, shape (T + 1,).
    """

    loss: FloatArray
    accuracy: FloatArray

    @property
    def steps(self) -> int:
        """T."""
        return len(self.loss) - 1

    def steps_to_accuracy(self, accuracy: float = 1.0) -> int | None:
        """The first step at which this share of the inputs is right, or None."""
        return first_step(self.accuracy, lambda values: values >= accuracy)

    def steps_to_loss(self, loss: float) -> int | None:
        """The first step at which the loss is at most this, or None."""
        return first_step(self.loss, lambda values: values <= loss)


class LinearTraining:
    """Training with a fixed tangent kernel, in its eigenbasis.

    Parameters
    ----------
    ntk
        Theta on the training inputs, shape (N, N): ``rf.flow(network, x, order=0, tangent=True)[-1].ntk``, with the
        network's learning-rate tensors.
    learning_rate
        eta, above 0.
    momentum
        m in [0, 1).

    Attributes
    ----------
    values
        Eigenvalues of Theta, descending, shape (N,).
    vectors
        Its eigenvectors by columns, shape (N, N).

    Raises
    ------
    ValueError
        ``ntk`` is not a finite square matrix, ``learning_rate`` is not positive or beyond the edge of stability 2 (1 +
        m) N/(largest eigenvalue), or ``momentum`` is not in [0, 1).
    """

    def __init__(self, ntk: Any, learning_rate: float, momentum: float = 0.0) -> None:
        matrix = np.asarray(ntk, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
            raise ValueError(f"ntk must be a square matrix (N, N), got shape {matrix.shape}")
        if not np.isfinite(matrix).all():
            raise ValueError("ntk holds NaN or infinities; take it from rf.flow(network, x, tangent=True)[-1].ntk")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {momentum!r}")
        if not (np.isfinite(learning_rate) and learning_rate > 0):
            raise ValueError(f"learning_rate must be a finite number above 0, got {learning_rate!r}")
        values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
        self.values: FloatArray = np.maximum(values[::-1], 0.0)
        self.vectors: FloatArray = vectors[:, ::-1]
        self.learning_rate, self.momentum = float(learning_rate), float(momentum)
        if self.learning_rate >= self.edge:
            raise ValueError(
                f"learning_rate is {learning_rate:g}, and the edge of stability is {self.edge:g}: give a smaller one"
            )

    @property
    def edge(self) -> float:
        """2 (1 + m) N/(largest eigenvalue): at this rate the stiffest direction no longer shrinks."""
        largest = float(self.values[0])
        return 2.0 * (1.0 + self.momentum) * len(self.values) / largest if largest > 0 else np.inf

    def factors(self) -> Iterator[FloatArray]:
        """p_0, p_1, ... of all eigenvalues, each of shape (N,), without end."""
        rates = self.learning_rate * self.values / len(self.values)
        before, now = np.ones_like(rates), np.ones_like(rates)
        while True:
            yield now
            before, now = now, (1.0 + self.momentum - rates) * now - self.momentum * before

    def components(self, targets: FloatArray) -> FloatArray:
        """|u_i^T y|^2/|y|^2 in the order of the eigenvalues, shape (N,): where the labels lie; they add up to 1."""
        energy = (self.vectors.T @ self._targets(targets)) ** 2
        return np.asarray(energy.sum(1) / energy.sum())

    def curves(
        self,
        initial: FloatArray,
        targets: FloatArray,
        stop: Callable[[float, float], bool] = lambda loss, accuracy: accuracy == 1.0,
        at_least: int = 0,
        at_most: int = 100_000,
    ) -> Curves:
        """Loss and accuracy of a network, step by step.

        Parameters
        ----------
        initial
            Its outputs f(0), shape (N, n_L).
        targets
            y, of the same shape.
        stop
            Of loss and accuracy: whether the run may end.
        at_least, at_most
            Steps that the run has.

        Raises
        ------
        ValueError
            Shapes don't match.
        """
        y = self._targets(targets)
        if np.shape(initial) != y.shape:
            raise ValueError(f"initial has shape {np.shape(initial)}, targets {y.shape}: they must be the same")
        start = self.vectors.T @ (np.asarray(initial, dtype=np.float64) - y)
        losses, accuracies = [], []
        for step, factor in enumerate(self.factors()):
            left = factor[:, None] * start
            losses.append(0.5 * float((left**2).sum()) / len(y))
            accuracies.append(fitted(y + self.vectors @ left, y))
            if (step >= at_least and stop(losses[-1], accuracies[-1])) or step >= at_most:
                return Curves(np.array(losses), np.array(accuracies))
        raise AssertionError("factors() has no end")

    def mean_loss(self, kernel: FloatArray, targets: FloatArray, steps: int) -> FloatArray:
        """E L(t) over initialisations for t = 0..steps, shape (steps + 1,), from the output's kernel K (N, N)."""
        y = self._targets(targets)
        held = ((self.vectors.T @ np.asarray(kernel, dtype=np.float64)) * self.vectors.T).sum(1) * y.shape[1]
        held = held + ((self.vectors.T @ y) ** 2).sum(1)
        losses = [float(factor**2 @ held) for _, factor in zip(range(steps + 1), self.factors(), strict=False)]
        return 0.5 * np.array(losses) / len(y)

    def _targets(self, targets: FloatArray) -> FloatArray:
        y = np.asarray(targets, dtype=np.float64)
        if y.ndim != 2 or len(y) != len(self.values):
            raise ValueError(
                f"targets must have shape (N, n_L) with N = {len(self.values)} as in ntk, got {np.shape(targets)}"
            )
        return y
