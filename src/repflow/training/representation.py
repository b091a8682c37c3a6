"""``representation_learning``: how much the features of a network move when it is trained on a batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.network import Network
from repflow.recursion.inputs import as_inputs
from repflow.training.kernel_change import KernelChange, kernel_change
from repflow.training.predicted_change import check_smooth, predicted_change, tangents
from repflow.training.representation_result import RepresentationLearning

FloatArray = NDArray[np.float64]


def representation_learning(
    network: Network,
    x: Any,
    y: Any = None,
    *,
    learning_rate: float | None = None,
    steps: int | None = None,
    networks: int = 0,
    seed: int = 0,
    progress: bool | None = None,
) -> RepresentationLearning:
    """The change of the hidden kernels and of the NTK in training on a batch: predicted, and measured if wanted.

    Full-batch gradient descent on (1/2N) sum |f - y|^2, weights at learning_rate lambda_W/n_{l-1}, biases at
    learning_rate lambda_b. The prediction is the mean over initialisations at order 1/n, from the tensors B, F, P, Q,
    R, S, T, U of :func:`repflow.flow`; at infinite width nothing moves.

    Parameters
    ----------
    network
        A :class:`Network` of smooth activations with at least one hidden layer.
    x
        The batch, shape (N, n_0), NumPy or torch. Tensors of N^4 entries are used: N is a few, some tens at most.
    y
        Targets, shape (N, n_L), or class numbers (N,), which become one-hot; (N,) for one output. None: random
        balanced labels, y_a . y_b = 1 for a = b and 1/n_L otherwise.
    learning_rate
        eta; None: half of the largest stable rate 2N/(largest eigenvalue of Theta).
    steps
        Number of steps, 0 or more; None: training to its end.
    networks
        How many real networks to train and measure beside the prediction, an even number; 0: none. It needs ``steps``.
    seed
        Seed of these networks.
    progress
        Whether to show a progress bar on stderr; None: only on a terminal.

    Returns
    -------
    RepresentationLearning

    Raises
    ------
    TypeError, ValueError
        An argument is not of the form above, an activation has a kink, or training has no end: the rate is at the edge
        or beyond, or the NTK is singular on the inputs.
    MemoryError
        The tensors for N inputs would not fit.

    Notes
    -----
    The two agree while the change itself is small: see docs/representation-learning.md for how small.

    Examples
    --------
    >>> import numpy as np, repflow as rf
    >>> net = rf.mlp([4, 64, 64, 1], activation="tanh", C_W=1.0, C_b=0.0)
    >>> found = rf.representation_learning(net, np.eye(2, 4), np.array([1.0, -1.0]), steps=10)
    >>> found.kernel_change.shape
    (2, 2, 2)
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a repflow Network, got {type(network).__name__}; rf.mlp builds one")
    if network.depth < 2:
        raise ValueError("network has a single layer: there is no hidden kernel that could change")
    check_smooth(network)
    inputs = np.ascontiguousarray(as_inputs(x, network.widths[0]).cpu().numpy())
    targets = targets_of(y, len(inputs), network.widths[-1])
    _check(learning_rate, steps, networks)
    given = tangents(network, inputs, progress)
    largest = float(np.linalg.eigvalsh(given.ntk)[-1])
    if not largest > 0:
        raise ValueError("network does not learn on these inputs: its NTK is 0")
    edge = 2.0 * len(inputs) / largest
    rate = 0.5 * edge if learning_rate is None else float(learning_rate)
    predicted = predicted_change(given, target_products(targets, len(inputs), network.widths[-1]), rate, steps)
    measured: KernelChange | None = None
    if networks:
        assert steps is not None
        measured = kernel_change(
            network,
            inputs,
            targets,
            learning_rate=rate,
            steps=steps,
            networks=networks,
            seed=seed,
            progress=progress,
        )
    return RepresentationLearning(
        network=network,
        x=inputs,
        y=targets,
        learning_rate=rate,
        edge=edge,
        steps=steps,
        ratio=given.ratio,
        kernels=given.kernels[:-1],
        ntk=given.ntk,
        kernel_change=predicted.kernels,
        ntk_change=predicted.ntk,
        loss=predicted.loss,
        measured=measured,
    )


def _check(learning_rate: float | None, steps: int | None, networks: int) -> None:
    if learning_rate is not None and not (
        isinstance(learning_rate, (int, float)) and math.isfinite(learning_rate) and learning_rate > 0
    ):
        raise ValueError(f"learning_rate must be a finite number above 0, or None, got {learning_rate!r}")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 0):
        raise ValueError(f"steps must be a whole number of 0 or more, or None, got {steps!r}")
    if isinstance(networks, bool) or not isinstance(networks, int | np.integer) or networks < 0 or networks % 2:
        raise ValueError(f"networks must be an even number of 4 or more, or 0, got {networks!r}")
    if networks and steps is None:
        raise ValueError("steps must be a number where networks are trained: real training has no exact end")


def targets_of(y: Any, n: int, outputs: int) -> FloatArray | None:
    """Targets as a float64 matrix (N, n_L); class numbers as one-hot rows.

    Raises
    ------
    TypeError, ValueError
        ``y`` is not numbers, has another shape, names a class that there is not, or is not finite.
    """
    if y is None:
        return None
    array = y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"y must hold class numbers or targets, got dtype {array.dtype}")
    if array.dtype.kind != "f" and outputs > 1 and array.ndim == 1:
        if len(array) != n:
            raise ValueError(f"y must have an entry for each of the {n} inputs, got {len(array)}")
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= outputs:
            raise ValueError(f"y must hold class numbers from 0 to {outputs - 1}, got {low} to {high}")
        return np.asarray(np.eye(outputs)[array])
    if outputs == 1 and array.ndim == 1:
        array = array[:, None]
    if array.shape != (n, outputs):
        raise ValueError(f"y must be class numbers ({n},) or targets ({n}, {outputs}), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("y must be finite; it has a NaN or an infinity")
    return np.ascontiguousarray(array, dtype=np.float64)


def target_products(y: FloatArray | None, n: int, outputs: int) -> FloatArray:
    """y_a . y_b, shape (N, N); without targets those of random balanced labels."""
    if y is not None:
        return np.asarray(y @ y.T)
    return np.asarray(np.full((n, n), 1.0 / outputs) + (1.0 - 1.0 / outputs) * np.eye(n))
