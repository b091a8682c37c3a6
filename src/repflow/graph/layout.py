"""Which neuron at which position each entry of a tensor is.

The law of a value is one of a *channel*: a random function on points, a point being an input at a position, drawn
independently for every channel. A layout says, for every entry of a tensor, its point and its channel. Reshaping,
transposing, slicing, concatenating and padding move entries without changing them, so each such function is applied as
it is to a tensor of labels, and no rule of its own is needed for any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.graph.refusal import Refusal

#: Labels are point * _BASE + channel + 1, exact in float64; 0 is an entry that is zero (padding).
_BASE = 1 << 22
#: Entries of a tensor above which no labels are made.
MOST_ENTRIES = 60_000_000


@dataclass(frozen=True, eq=False)
class Layout:
    """Point and channel of each entry.

    Attributes
    ----------
    shape
        Of the tensor.
    axis
        The channel axis, along which only the channel changes: 0, 1, ..., ``width`` - 1. None where there is none.
    index
        Points of the other axes (rows) where there is a channel axis, with their shape.
    points, channels
        Of every entry where there is none; -1 for a zero.
    """

    shape: tuple[int, ...]
    axis: int | None
    index: Tensor | None = None
    points: Tensor | None = None
    channels: Tensor | None = None

    @property
    def rows(self) -> tuple[int, ...]:
        """Shape without the channel axis."""
        if self.axis is None:
            raise Refusal("it has no channel axis")
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]

    @property
    def width(self) -> int:
        """Number of channels along the channel axis."""
        if self.axis is None:
            raise Refusal("it has no channel axis")
        return self.shape[self.axis]

    @property
    def flat(self) -> Tensor:
        """Points of the rows, one after the other."""
        if self.index is None:
            raise Refusal("it has no channel axis")
        return self.index.flatten()

    @property
    def padded(self) -> bool:
        """Whether it has entries that are zero."""
        held = self.index if self.index is not None else self.points
        return held is not None and bool((held < 0).any())

    def entries(self) -> tuple[Tensor, Tensor]:
        """Points and channels of every entry, with the tensor's shape."""
        if self.points is not None and self.channels is not None:
            return self.points, self.channels
        assert self.axis is not None
        assert self.index is not None
        if math.prod(self.shape) > MOST_ENTRIES:
            raise Refusal(f"its {math.prod(self.shape)} entries are too many to label: give fewer inputs")
        points = self.index.unsqueeze(self.axis).expand(self.shape)
        along = torch.arange(self.shape[self.axis])
        channels = along.reshape([-1 if k == self.axis else 1 for k in range(len(self.shape))]).expand(self.shape)
        return points, channels

    def labels(self, offset: int = 0) -> Tensor:
        """Point and channel as one float64 number an entry; ``offset`` is added to the points."""
        points, channels = self.entries()
        labels = (points + offset) * _BASE + channels + 1
        return torch.where(points < 0, 0, labels).double()


def rows_layout(rows: tuple[int, ...], width: int, axis: int, index: Tensor | None = None) -> Layout:
    """A layout whose rows are points of their own, or those of ``index``."""
    axis = axis % (len(rows) + 1)
    if index is None:
        index = torch.arange(math.prod(rows)).reshape(rows)
    return Layout((*rows[:axis], width, *rows[axis:]), axis, index)


def from_labels(labels: Tensor) -> tuple[Layout, tuple[int, int] | None]:
    """The layout of a tensor of labels, and the range of channels along its channel axis where there is one."""
    whole = labels.round().long() - 1
    points = torch.where(whole < 0, -1, whole // _BASE)
    channels = torch.where(whole < 0, 0, whole % _BASE)
    return from_entries(points, channels)


def from_entries(points: Tensor, channels: Tensor) -> tuple[Layout, tuple[int, int] | None]:
    """As :func:`from_labels`."""
    shape = tuple(points.shape)
    shown = torch.where(points < 0, -1, channels)
    for axis in reversed(range(len(shape))):
        if shape[axis] == 1 and math.prod(shape) > 1 and int(channels.max()) > 0:
            continue
        moved, along = points.movedim(axis, -1), channels.movedim(axis, -1)
        first = shown.movedim(axis, -1).reshape(-1, shape[axis]).amax(0)  # of a row that is not padding
        start = int(first[0])
        if not bool((first == torch.arange(start, start + shape[axis])).all()):
            continue
        if not bool((moved == moved[..., :1]).all()):
            continue
        if bool(((along == first) | (moved < 0)).all()):
            return Layout(shape, axis, moved[..., 0].contiguous()), (start, start + shape[axis])
    return Layout(shape, None, None, points, channels), None


def whole(points: Tensor, channels: Tensor) -> Layout:
    """The layout of entries whose channels start at 0.

    Raises
    ------
    Refusal
        Only later channels are there: numbering them anew would lose which they are.
    """
    layout, block = from_entries(points, channels)
    if block is not None and block[0]:
        raise Refusal("it takes a part of the channels")
    return layout


def features(layout: Layout, axis: int) -> tuple[tuple[int, ...], Tensor, Tensor]:
    """What a mean over one axis is a mean of: shape of the rows, points (R, J) of each, and their weights (J,).

    Entries of one row at different points with one channel each average to the mean over those points: a flattened
    image, a patch under a convolution, or features side by side.

    Raises
    ------
    Refusal
        The channel of a feature differs between rows.
    """
    axis = axis % len(layout.shape)
    if layout.axis == axis:
        return layout.rows, layout.flat[:, None], torch.ones(1, dtype=torch.float64)
    points, channels = (part.movedim(axis, -1) for part in layout.entries())
    rows = tuple(points.shape[:-1])
    return rows, *grouped(points.reshape(-1, points.shape[-1]), channels.reshape(-1, channels.shape[-1]))


def grouped(points: Tensor, channels: Tensor) -> tuple[Tensor, Tensor]:
    """Features (R, F) by the points that they have in all rows: points (R, J) and weights (J,), as :func:`features`."""
    reference = torch.where(points < 0, -1, channels).amax(0)
    if not bool(((channels == reference) | (points < 0)).all()):
        raise Refusal("channels are mixed with positions along the axis that is summed")
    generator = torch.Generator().manual_seed(0)
    key = torch.randint(-(2**40), 2**40, (len(points), 1), generator=generator)
    hashed = (points * key).sum(0)
    _, inverse, counts = torch.unique(hashed, return_inverse=True, return_counts=True)
    first = torch.full((len(counts),), len(inverse), dtype=torch.long)
    first = first.scatter_reduce(0, inverse, torch.arange(len(inverse)), "amin")
    return points[:, first], counts.double() / points.shape[1]


def moved(layout: Layout, function: Callable[[Tensor], Tensor]) -> tuple[Layout, tuple[int, int] | None]:
    """The layout after a function that only moves entries."""
    return from_labels(function(layout.labels()))


def paired(a: Layout, b: Layout, shape: tuple[int, ...]) -> tuple[Layout, Tensor, Tensor]:
    """The common layout of two tensors that are combined entry by entry, and the points of each at its points.

    Raises
    ------
    Refusal
        They don't have the same channel at each entry.
    """
    if a.shape != shape or b.shape != shape or a.axis is None or a.axis != b.axis:
        (pa, ca), (pb, cb) = ([part.expand(shape) for part in layout.entries()] for layout in (a, b))
        if not bool((ca == cb).all()):
            raise Refusal("its operands have different channels at one entry")
        pairs, back = _unique_pairs(pa, pb)
        return whole(back, ca), *pairs
    assert a.index is not None
    assert b.index is not None
    pairs, back = _unique_pairs(a.index, b.index)
    return Layout(shape, a.axis, back), *pairs


def _unique_pairs(a: Tensor, b: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    if bool((a < 0).any()) or bool((b < 0).any()):
        raise Refusal("it combines padding with something else")
    if torch.equal(a, b):
        unique = torch.arange(int(a.max()) + 1)
        return (unique, unique), a
    base = int(b.max()) + 1
    unique, back = torch.unique(a * base + b, return_inverse=True)
    return (unique // base, unique % base), back
