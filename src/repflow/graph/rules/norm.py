"""Layer norm and root-mean-square norm: at infinite width their mean and variance over channels are numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from repflow.graph.layout import Layout, features, moved, whole
from repflow.graph.refusal import Refusal
from repflow.graph.registry import Bound, kernel_rule
from repflow.graph.rules.elementwise import affine
from repflow.graph.states import Fixed, Random, State, Unknown, as_random, parameter


@kernel_rule("norm", "layer_norm")
def layer_norm(bound: Bound) -> State:
    """(h_p - E h_p) / sqrt(Var h_p + eps), times the weight, plus the bias."""
    eps = bound.argument(4, "eps", 1e-5)
    value = _normalised(bound, len(bound.argument(1, "normalized_shape")), eps, centred=True)
    weight, bias = parameter(bound.argument(2, "weight"), "weight"), parameter(bound.argument(3, "bias"), "bias")
    return Random(value.layout, affine(value.law, weight, bias))


@kernel_rule("norm", "rms_norm")
def rms_norm(bound: Bound) -> State:
    """h_p / sqrt(E h_p^2 + eps), times the weight; eps is float32's own where none is given."""
    eps = bound.argument(3, "eps")
    value = _normalised(
        bound, len(bound.argument(1, "normalized_shape")), torch.finfo(torch.float32).eps if eps is None else eps, False
    )
    return Random(value.layout, affine(value.law, parameter(bound.argument(2, "weight"), "weight"), None))


@kernel_rule("norm", "group_norm")
def group_norm(bound: Bound) -> State:
    """One group: over all channels and positions of an input."""
    if bound.argument(1, "num_groups") != 1:
        raise Refusal("it normalises groups of channels apart: too few for their variance to be a number")
    value = _normalised(bound, len(bound.shapes[0]) - 1, bound.argument(4, "eps", 1e-5), centred=True)
    weight, bias = parameter(bound.argument(2, "weight"), "weight"), parameter(bound.argument(3, "bias"), "bias")
    return Random(value.layout, affine(value.law, weight, bias))


@kernel_rule("norm", "normalize")
def unit(bound: Bound) -> State:
    """h_p / sqrt(n E h_p^2), n the number of channels: a vector of length 1."""
    value, size = _lengths(bound, bound.argument(1, "p", 2.0), bound.argument(2, "dim", 1))
    eps = bound.argument(3, "eps", 1e-12)
    return Random(value.layout, value.law.scaled(1.0 / size.clamp(min=eps)))


@kernel_rule("norm", "norm", "linalg_vector_norm", "vector_norm")
def length(bound: Bound) -> State:
    """sqrt(n E h_p^2), a number at each position."""
    power = bound.argument(1, "p", bound.kwargs.get("ord", 2))
    value, size = _lengths(bound, 2.0 if power in (None, "fro") else power, bound.argument(2, "dim"))
    layout = value.layout
    assert layout.axis is not None
    numbers = size[layout.flat].reshape(layout.rows)
    return Fixed(numbers.unsqueeze(layout.axis) if bound.argument(3, "keepdim", False) else numbers)


def _lengths(bound: Bound, power: float, dim: Any) -> tuple[Random, Tensor]:
    """A value and its length over channels at each point."""
    state = bound.argument(0, "input")
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    value = as_random(state)
    layout = value.layout
    axes = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if power != 2 or len(axes) != 1 or layout.axis is None or axes[0] % len(layout.shape) != layout.axis:
        raise Refusal("it is not the length over channels")
    return value, (layout.width * value.law.second.diagonal()).clamp(min=0.0).sqrt()


def _normalised(bound: Bound, count: int, eps: float, centred: bool) -> Random:
    """Over the last ``count`` axes, which hold the channels, and positions or not."""
    state = bound.argument(0, "input")
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    value = as_random(state, axis=None if count == 1 else 1)
    layout, law = value.layout, value.law
    if layout.axis is not None and layout.axis < len(layout.shape) - count:
        raise Refusal("it normalises over positions and not over channels")
    zero = torch.zeros(law.size, dtype=torch.float64)
    if count == 1 and layout.axis is not None:
        mean, second = law.mean if centred else zero, law.second.diagonal()
        points = torch.arange(law.size)
        rows: Tensor = points
    else:  # over channels and positions, or a flattened value
        flat = layout if count == 1 else moved(layout, lambda labels: labels.flatten(-count))[0]
        _, held, weights = features(flat, -1)
        if layout.padded:
            raise Refusal("it normalises padding")
        mean = law.mean[held] @ weights if centred else torch.zeros(len(held), dtype=torch.float64)
        second = law.second.diagonal()[held] @ weights
        layout, points, rows = _by_row(layout, count)
    scale = (second - mean**2 + eps).clamp(min=0.0).rsqrt()
    return Random(layout, law.take(points).shifted(-mean[rows]).scaled(scale[rows]))


def _by_row(layout: Layout, count: int) -> tuple[Layout, Tensor, Tensor]:
    """Points split by the row that they are normalised in: the new layout, and old point and row of each."""
    points, channels = layout.entries()
    shape = layout.shape
    leading = shape[: len(shape) - count]
    rows = torch.arange(math.prod(leading)).reshape(*leading, *([1] * count)).expand(shape)
    base = int(rows.max()) + 1
    unique, back = torch.unique(points * base + rows, return_inverse=True)
    return whole(back, channels), unique // base, unique % base
