"""Sums over the ensemble, kept by group of networks; groups merge in pairs when there are many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from repflow.ensemble.arithmetic import Array
from repflow.ensemble.features import Counts


class BlockSums(NamedTuple):
    """What a finished block hands over: sums (groups, L, features), networks by group, histogram (L, N, bins + 2)."""

    sums: Array
    counts: Counts
    histogram: Counts


class State(NamedTuple):
    """Everything absorbed so far; replaced as a whole, so that an interruption never leaves half of a block."""

    blocks: int
    units: int
    level: int
    groups: tuple[Array, ...]
    counts: tuple[int, ...]
    histogram: Counts


@dataclass
class Accumulator:
    """Absorbs blocks in order.

    Unit groups come in sequence; group k of the store holds units k 2^level to (k + 1) 2^level - 1. Beyond ``limit``
    groups the level rises. So the result depends on the sequence of blocks alone: a run stopped after m blocks has
    the bits of a run of m blocks.

    Attributes
    ----------
    limit
        Most groups kept, a power of two.
    state
        What was absorbed.
    """

    limit: int
    state: State = field(default_factory=lambda: State(0, 0, 0, (), (), np.zeros(0, dtype=np.int64)))

    @property
    def networks(self) -> int:
        """Networks absorbed."""
        return sum(self.state.counts)

    def absorb(self, block: BlockSums) -> None:
        """Add the next block."""
        state = self.state
        groups, counts = list(state.groups), list(state.counts)
        units, level = state.units, state.level
        for sums, count in zip(block.sums, block.counts.tolist(), strict=True):
            if units >> level == len(groups):
                groups.append(sums)
                counts.append(count)
            else:
                groups[-1] = groups[-1] + sums
                counts[-1] += count
            units += 1
            if len(groups) > self.limit:
                groups = [sum(groups[i + 1 : i + 2], groups[i]) for i in range(0, len(groups), 2)]
                counts = [sum(counts[i : i + 2]) for i in range(0, len(counts), 2)]
                level += 1
        histogram = block.histogram if state.blocks == 0 else state.histogram + block.histogram
        self.state = State(state.blocks + 1, units, level, tuple(groups), tuple(counts), histogram)

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The state as arrays, for a checkpoint or a result file."""
        state = self.state
        return {
            "progress": np.array([state.blocks, state.units, state.level], dtype=np.int64),
            "groups": np.stack(state.groups) if state.groups else np.zeros(0),
            "counts": np.array(state.counts, dtype=np.int64),
            "histogram": state.histogram,
        }

    @staticmethod
    def state_from(arrays: Mapping[str, np.ndarray[Any, Any]]) -> State:
        """Read what :meth:`arrays` wrote."""
        blocks, units, level = (int(v) for v in arrays["progress"])
        return State(
            blocks,
            units,
            level,
            tuple(np.array(arrays["groups"])) if len(arrays["counts"]) else (),
            tuple(int(v) for v in arrays["counts"]),
            np.array(arrays["histogram"]),
        )
