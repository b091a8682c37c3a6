"""Means: over positions, a linear map of points; over channels, a number at infinite width."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from repflow.graph.layout import rows_layout
from repflow.graph.refusal import Refusal
from repflow.graph.registry import Bound, kernel_rule, measured
from repflow.graph.states import Fixed, Random, State, Unknown, as_random


def _value(bound: Bound) -> Random:
    state = bound.argument(0, "input")
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    value = as_random(state)
    if value.layout.axis is None:
        raise Refusal("it averages a value without a channel axis")
    return value


def _axes(dims: Any, count: int) -> tuple[int, ...]:
    if dims is None:
        return tuple(range(count))
    return tuple(sorted(d % count for d in ((dims,) if isinstance(dims, int) else dims)))


def _on_points(value: Random, matrix: Tensor) -> Tensor:
    """A matrix on rows (R', R) as one on the law's points."""
    result = torch.zeros(len(matrix), value.law.size, dtype=torch.float64)
    return result.index_add_(1, value.layout.flat, matrix)


@kernel_rule("pooling", "mean", "sum")
def mean(bound: Bound) -> State:
    """Over axes: positions, channels or both."""
    value = _value(bound)
    layout, total = value.layout, bound.call.operation == "sum"
    axis = layout.axis
    assert axis is not None
    axes = _axes(bound.argument(1, "dim"), len(layout.shape))
    keep = bool(bound.argument(2, "keepdim", False))
    reduce = torch.sum if total else torch.mean
    if axis in axes:
        numbers = value.law.mean[layout.flat].reshape(layout.rows).unsqueeze(axis)
        if total and not bool(numbers.any()):
            raise Refusal("it sums channels of mean zero, which do not average out")
        return Fixed(reduce(numbers.expand(layout.shape), axes, keepdim=keep))
    of_rows = tuple(a - (a > axis) for a in axes)
    count = layout.flat.numel()
    basis = torch.eye(count, dtype=torch.float64).reshape(count, *layout.rows)
    pooled = reduce(basis, tuple(a + 1 for a in of_rows), keepdim=keep)
    rows = tuple(pooled.shape[1:])
    place = axis if keep else axis - sum(a < axis for a in axes)
    law = value.law.mixed(_on_points(value, pooled.reshape(count, -1).T))
    return Random(rows_layout(rows, layout.width, place), law)


@kernel_rule("norm", "var", "std")
def variance(bound: Bound) -> State:
    """Variance, or its root, over channels: a number at infinite width, whatever the correction."""
    value = _value(bound)
    layout = value.layout
    axes = _axes(bound.argument(1, "dim"), len(layout.shape))
    if axes != (layout.axis,):
        raise Refusal("it takes a variance over positions")
    numbers = (value.law.second.diagonal() - value.law.mean**2)[layout.flat].reshape(layout.rows).clamp(min=0.0)
    numbers = numbers.sqrt() if bound.call.operation == "std" else numbers
    assert layout.axis is not None
    return Fixed(numbers.unsqueeze(layout.axis) if bound.kwargs.get("keepdim", False) else numbers)


@kernel_rule("pooling", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "interpolate")
def spatial(bound: Bound) -> State:
    """A linear map of positions, the same for each channel: the function itself on every unit image."""
    value = _value(bound)
    layout = value.layout
    if layout.axis != 1 or len(layout.shape) < 3:
        raise Refusal("it pools an axis that holds channels")
    inputs, places = layout.shape[0], layout.shape[2:]
    count = math.prod(places)
    basis = torch.eye(count, dtype=torch.float64).reshape(count, 1, *places)
    unit = bound.evaluate(lambda state: basis if state is bound.argument(0, "input") else state.tensor)  # type: ignore[union-attr]
    out = tuple(unit.shape[2:])
    matrix = torch.block_diag(*[unit.reshape(count, -1).T] * inputs)
    law = value.law.mixed(_on_points(value, matrix))
    return Random(rows_layout((inputs, *out), layout.width, 1), law)


measured(
    "pooling", "a maximum over positions has no kernel rule",
    "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "amax", "max",
    "max_pool1d_with_indices", "max_pool2d_with_indices", "boolean_dispatch", "fn",
)  # fmt: skip
