"""What the loss contributes to the theory of the first steps: errors, the size of its gradient, its curvature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repflow.tuning import constants

#: Names that ``loss`` takes.
LOSSES = ("mse", "mse_mean", "cross_entropy")


@dataclass(frozen=True)
class LossScale:
    """A loss near initialisation in the unit of (1/2B) sum |f - y|^2.

    Attributes
    ----------
    gradient
        Its gradient over e/B, with e = f - y (softmax(f) - y for cross-entropy).
    curvature
        The largest eigenvalue of its Hessian in f over 1/B: 1 for (1/2B) sum |f - y|^2, 2/n_L for the mean, 1/n_L for
        cross-entropy at uniform probabilities.
    outputs
        What the outputs add to e_b . e_c, over their kernel K^(L)_bc: n_L for the squared error; (n_L - 1)/n_L^2 for
        cross-entropy, whose softmax follows them at 1/n_L about uniform probabilities.
    margin
        How far the outputs have to go, over the targets less their mean: 1 for the squared error. The errors of
        cross-entropy push the same way until the right logit leads by log(n_L - 1) + log(p/(1 - p)), which gives the
        right class probability p = CONFIDENCE.
    """

    gradient: float
    curvature: float
    outputs: float
    margin: float = 1.0


def check_loss(loss: str) -> None:
    """Raise ValueError unless it is one of LOSSES."""
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")


def loss_scale(loss: str, outputs: int) -> LossScale:
    """The scale of a loss by name.

    Raises
    ------
    ValueError
        The name is unknown, or cross-entropy is asked of fewer than two outputs.
    """
    check_loss(loss)
    if loss == "mse":
        return LossScale(1.0, 1.0, float(outputs))
    if loss == "mse_mean":
        return LossScale(2.0 / outputs, 2.0 / outputs, float(outputs))
    if outputs < 2:
        raise ValueError(f"loss='cross_entropy' needs two outputs or more, the model has {outputs}")
    margin = math.log(outputs - 1) + math.log(constants.CONFIDENCE / (1 - constants.CONFIDENCE))
    return LossScale(1.0, 1.0 / outputs, (outputs - 1) / outputs**2, margin)


def error_products(y: Any, rows: Tensor, total: int, outputs: int, loss: str) -> Tensor:
    """e_b . e_c at f = 0 over the chosen rows, shape (N, N).

    Parameters
    ----------
    y
        Class numbers, targets with a last axis of n_L, or None for random balanced labels: y_b . y_c = 1 for b = c and
        1/n_L otherwise.
    rows
        Indices of the rows used.
    total
        Number of rows that y must have.
    outputs
        n_L.
    loss
        One of LOSSES; cross-entropy subtracts uniform probabilities.

    Raises
    ------
    ValueError, TypeError
        ``y`` has another shape, or holds class numbers outside 0..n_L - 1.
    """
    count = len(rows)
    if y is None:
        products = torch.full((count, count), 1.0 / outputs, dtype=torch.float64)
        products.fill_diagonal_(1.0)
        if loss == "cross_entropy":
            products = products - 1.0 / outputs
        return products
    targets = _targets(y, outputs)
    if len(targets) != total:
        raise ValueError(f"y must have a row for each of the {total} rows of x, got {len(targets)}")
    targets = targets[rows]
    if loss == "cross_entropy":
        targets = targets - 1.0 / outputs
    return targets @ targets.T


def _targets(y: Any, outputs: int) -> Tensor:
    """Targets as a float64 matrix (N, n_L), class numbers as one-hot rows."""
    try:
        tensor = y.detach().cpu() if isinstance(y, Tensor) else torch.as_tensor(np.asarray(y))
    except (TypeError, ValueError) as error:
        raise TypeError(f"y must hold class numbers or targets, got {type(y).__name__}") from error
    whole = not (tensor.is_floating_point() or tensor.is_complex())
    shaped = tensor.ndim > 1 and tensor.shape[-1] == outputs
    if whole and outputs > 1 and not shaped:
        labels = tensor.flatten().long()
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= outputs):
            raise ValueError(
                f"y must hold class numbers from 0 to {outputs - 1}, got {int(labels.min())} to {int(labels.max())}"
            )
        return torch.nn.functional.one_hot(labels, outputs).double()
    if outputs == 1 and not shaped:
        tensor, shaped = tensor[..., None], True
    if not shaped or tensor.is_complex():
        raise ValueError(
            f"y must be class numbers (N,) or targets (N, {outputs}), got shape {tuple(tensor.shape)} of {tensor.dtype}"
        )
    tensor = tensor.double().flatten(0, -2)
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError("y must be finite; it has a NaN or an infinity")
    return tensor
