"""What theory knows of a value: that it is fixed, its law, that it is a parameter, or nothing and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.graph.chain import mean_square
from repflow.graph.gaussian import Source
from repflow.graph.law import Law
from repflow.graph.layout import Layout, rows_layout
from repflow.graph.refusal import Refusal

#: Points above which no kernel is computed: (points)^2 numbers a value.
MOST_POINTS = 8192


@dataclass(frozen=True)
class ParameterMoments:
    """What theory reads off a parameter tensor.

    Attributes
    ----------
    mean, mean_square
        Of the entries.
    constant
        Whether all entries are equal, as a norm's weights are at the start.
    """

    mean: float
    mean_square: float
    constant: bool

    @classmethod
    def of(cls, parameter: Tensor) -> ParameterMoments:
        """Read off the entries as they are; NaN where there are none yet (torch's meta device)."""
        if parameter.is_meta:
            return cls(math.nan, math.nan, False)
        values = parameter.detach()
        first = values.flatten()[:1]
        constant = bool((values == first).all()) if values.numel() else True
        return cls(float(values.double().mean()) if values.numel() else 0.0, mean_square(values), constant)


@dataclass(frozen=True, eq=False)
class Fixed:
    """A value without randomness: an input, a constant, or a mean over channels at infinite width."""

    tensor: Tensor


@dataclass(frozen=True, eq=False)
class Random:
    """A value whose channels have a law."""

    layout: Layout
    law: Law

    def __post_init__(self) -> None:
        if self.law.size > MOST_POINTS:
            raise Refusal(f"it has {self.law.size} inputs times positions, above {MOST_POINTS}: give fewer inputs")


@dataclass(frozen=True, eq=False)
class Raw:
    """A parameter, or its transpose."""

    name: str
    shape: tuple[int, ...]
    moments: ParameterMoments
    transposed: bool = False


@dataclass(frozen=True, eq=False)
class Unknown:
    """A value that theory says nothing about.

    Attributes
    ----------
    reason
        Why.
    of_parameters
        Whether it is computed from parameters alone: a weight of another law, not a value to be measured.
    """

    reason: str
    of_parameters: bool = False


State = Fixed | Random | Raw | Unknown


def channel_axis(shape: tuple[int, ...]) -> int:
    """The axis of a parameter that holds channels: the last one of more than one entry."""
    return max((axis for axis, size in enumerate(shape) if size > 1), default=len(shape) - 1)


def raw_layout(raw: Raw) -> Layout:
    """A parameter's entries: one point a row, a channel each along its channel axis."""
    if raw.transposed or not raw.shape:
        raise Refusal(f"it uses the parameter {raw.name!r} in a way that has no kernel")
    axis = channel_axis(raw.shape)
    return rows_layout(raw.shape[:axis] + raw.shape[axis + 1 :], raw.shape[axis], axis)


def drawn(raw: Raw, size: int) -> Law:
    """Points of a parameter as the Gaussian draws that they are: independent of each other."""
    if raw.moments.constant:
        offset = torch.full((size,), raw.moments.mean, dtype=torch.float64)
        return Law(size, offset=offset, upstream=frozenset({raw.name}))
    if size > MOST_POINTS:
        raise Refusal(f"it uses {size} rows of the parameter {raw.name!r}, above {MOST_POINTS}")
    kernel = raw.moments.mean_square * torch.eye(size, dtype=torch.float64)
    return Law.gaussian(Source(raw.name, kernel), frozenset())


def as_random(state: State, axis: int | None = None) -> Random:
    """A parameter, or something fixed with channels along an axis, as a random value.

    Raises
    ------
    Refusal
        Nothing is known of it.
    """
    if isinstance(state, Random):
        return state
    if isinstance(state, Raw):
        layout = raw_layout(state)
        return Random(layout, drawn(state, layout.flat.numel()))
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    tensor = state.tensor.double()
    axis = tensor.ndim - 1 if axis is None else axis % tensor.ndim
    rows = tensor.movedim(axis, -1)
    layout = rows_layout(tuple(rows.shape[:-1]), rows.shape[-1], axis)
    given = rows.reshape(-1, rows.shape[-1])
    return Random(layout, Law(len(given), given=given))


def parameter(state: object, what: str) -> ParameterMoments | None:
    """Moments of an optional parameter among a call's arguments; None where there is none.

    Raises
    ------
    Refusal
        It is not a parameter but computed.
    """
    if state is None:
        return None
    if not isinstance(state, Raw):
        raise Refusal(f"its {what} is not a parameter but computed from others")
    return state.moments
