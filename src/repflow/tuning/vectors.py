"""A module's outputs against the targets: the derivative of the loss at zero outputs, in the outputs' shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repflow.empirical.draw import Pull
from repflow.tuning.targets import check_loss


@dataclass(frozen=True)
class Outputs:
    """How a module's outputs are read.

    Attributes
    ----------
    axis
        That runs over the n_L values.
    count
        n_L.
    size
        Root mean square that the outputs have to reach: of the errors at f = 0.
    places
        B, the number of rows and positions that the loss averages over.
    pull
        e/B with e = -y (1/n_L - y for cross-entropy).
    """

    axis: int
    count: int
    size: float
    places: float
    pull: Pull


def output_vectors(output: Tensor, y: Any, rows: Tensor, total: int, loss: str) -> Outputs:
    """Read a module's outputs (N, ..., n_L), (N,), or (N, n_L, ...) where class numbers (N, ...) ask for that.

    Parameters
    ----------
    output
        For the chosen rows.
    y
        Class numbers, one a row (or a row and position; numbers outside 0..n_L - 1, such as -100, are left out), values
        of the outputs' shape, or None for random balanced labels.
    rows
        Indices of the rows chosen.
    total
        Rows that y must have.
    loss
        One of :data:`repflow.tuning.targets.LOSSES`.

    Raises
    ------
    ValueError, TypeError
        ``y`` fits none of these.
    """
    check_loss(loss)
    count_rows = len(rows)
    if output.ndim == 0 or output.shape[0] != count_rows:
        raise ValueError(
            f"model must return one row of outputs a row of x, got shape {tuple(output.shape)} for {count_rows} rows"
        )
    if not bool(torch.isfinite(output.detach()).all()):
        raise ValueError("model's output on x has a NaN or an infinity")
    shape = tuple(output.shape)
    if y is None:
        return _random_labels(shape, loss)
    targets = _rows_of(y, total)[rows]
    whole = not targets.is_floating_point()
    axis = _axis(shape, tuple(targets.shape), whole)
    count = shape[axis] if len(shape) > 1 else 1
    if whole and tuple(targets.shape) != shape:
        hot, inside = _one_hot(targets.long(), count, axis)
    else:
        hot, inside = targets.double().reshape(shape), torch.ones(shape, dtype=torch.float64)
    if not bool(torch.isfinite(hot).all()):
        raise ValueError("y must be finite; it has a NaN or an infinity")
    errors = (1.0 / count if loss == "cross_entropy" else 0.0) - hot
    errors = errors * inside
    places = float(inside.sum()) / count
    size = math.sqrt(float(errors.square().sum()) / max(float(inside.sum()), 1.0))
    if size == 0:
        raise ValueError("y is what outputs of zero give already: there is nothing to learn")
    return Outputs(axis, count, size, places, lambda output, generator: errors / places)


def _random_labels(shape: tuple[int, ...], loss: str) -> Outputs:
    """Balanced labels drawn anew each time: errors whose products are those of design.md on average."""
    count = shape[-1] if len(shape) > 1 else 1
    shift = 1.0 / count if loss == "cross_entropy" else 0.0
    places = math.prod(shape) // count

    def pull(output: Tensor, generator: torch.Generator) -> Tensor:
        if count == 1:
            signs = torch.randint(2, shape, generator=generator) * 2.0 - 1.0
            return signs.double() / places
        labels = torch.randperm(places, generator=generator) % count
        hot = torch.nn.functional.one_hot(labels, count).double().reshape(shape)
        return (shift - hot) / places

    size = 1.0 if count == 1 else math.sqrt(((1 - shift) ** 2 + (count - 1) * shift**2) / count)
    return Outputs(-1, count, size, places, pull)


def _rows_of(y: Any, total: int) -> Tensor:
    try:
        tensor = y.detach().cpu() if isinstance(y, Tensor) else torch.as_tensor(np.asarray(y))
    except (TypeError, ValueError) as error:
        raise TypeError(f"y must hold class numbers or targets, got {type(y).__name__}") from error
    if tensor.is_complex():
        raise TypeError(f"y must be real, got {tensor.dtype}")
    if tensor.ndim == 0 or len(tensor) != total:
        found = 0 if tensor.ndim == 0 else len(tensor)
        raise ValueError(f"y must have a row for each of the {total} rows of x, got {found}")
    return tensor


def _axis(shape: tuple[int, ...], given: tuple[int, ...], whole: bool) -> int:
    """The axis of the classes, where the targets' shape tells."""
    if given == shape or math.prod(given) == math.prod(shape):
        return -1
    if whole and given == shape[:-1]:
        return -1
    if whole and len(shape) > 2 and given == (shape[0], *shape[2:]):
        return 1
    raise ValueError(
        f"y must be class numbers of shape {shape[:-1]} or targets of shape {shape}, as the model's output, got {given}"
    )


def _one_hot(labels: Tensor, count: int, axis: int) -> tuple[Tensor, Tensor]:
    """One-hot along ``axis`` and a mask of the labels that are classes, both of the outputs' shape."""
    inside = (labels >= 0) & (labels < count)
    ignored = labels < 0
    if not bool((inside | ignored).all()) or not bool(inside.any()):
        raise ValueError(
            f"y must hold class numbers from 0 to {count - 1}, got {int(labels.min())} to {int(labels.max())}"
        )
    hot = torch.nn.functional.one_hot(labels.clamp(0, count - 1), count).double().movedim(-1, axis)
    return hot, inside.unsqueeze(axis).expand(hot.shape).double()
