"""The ensemble's sums of one layer, averaged over each group of networks and over all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from repflow.ensemble.accumulator import State
from repflow.ensemble.arithmetic import Array


class Split(Protocol):
    """What is asked of a layout of features."""

    @property
    def size(self) -> int:
        """Number of features."""

    def split(self, features: Array) -> dict[str, Array]:
        """Parts of the last axis by name."""


LayoutT = TypeVar("LayoutT", bound=Split)


@dataclass(frozen=True)
class GroupSums(Generic[LayoutT]):
    """Group averages of one layer's features.

    Attributes
    ----------
    layout
        Order of the features.
    centre
        (P,) what was taken off G, or off H_ii.
    by_group
        Parts of the features by name, each (groups, size), averaged over the group.
    mean
        The same averaged over all networks.
    counts
        (groups,) networks in each group.
    """

    layout: LayoutT
    centre: Array
    by_group: dict[str, Array]
    mean: dict[str, Array]
    counts: Array

    @classmethod
    def of(cls, state: State, layout: LayoutT, centre: Array, layer: int) -> Self:
        """Sums of ``layer``, counted from 0."""
        counts = np.array(state.counts, dtype=np.float64)
        sums = np.stack([group[layer, cls._columns(layout)] for group in state.groups])
        total = sums.sum(axis=0) / counts.sum()
        return cls(layout, centre[layer], layout.split(sums / counts[:, None]), layout.split(total), counts)

    @staticmethod
    def _columns(layout: Split) -> slice:
        """Where the features stand in a group: first."""
        return slice(layout.size)

    @property
    def networks(self) -> float:
        """Networks in all."""
        return float(self.counts.sum())
