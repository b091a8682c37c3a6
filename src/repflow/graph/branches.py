"""Residual branches: where a sum joins two paths that part at one node, one of them without weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repflow.graph.node import Node


@dataclass(frozen=True)
class Branch:
    """One residual branch, x + scale * f(x).

    Attributes
    ----------
    add
        Number of the node that adds it to the stream.
    fork
        Number of the node where it leaves the stream.
    nodes
        Numbers of the nodes on the branch, without both.
    layers
        Largest number of layers of weights on a path through it.
    scale
        Number by which it is multiplied behind its last layer.
    projected
        Whether the stream passes a layer of weights as well, as at a change of width.
    """

    add: int
    fork: int
    nodes: tuple[int, ...]
    layers: int
    scale: float
    projected: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "nodes": list(self.nodes)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Branch:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**data, "nodes": tuple(data["nodes"])})


def find_branches(nodes: Sequence[Node], scales: Mapping[int, float]) -> tuple[Branch, ...]:
    """The residual branches of a graph, in the order of their additions.

    Parameters
    ----------
    nodes
        The graph's.
    scales
        Number by which a node multiplies, for those that do.
    """
    reach: list[int] = []  # ancestors of each node, and itself, as a set of bits
    for node in nodes:
        mask = 1 << node.index
        for source in node.inputs:
            mask |= reach[source]
        reach.append(mask)
    found = []
    for node in nodes:
        if node.kind != "add" or len(node.inputs) != 2:
            continue
        branch = _branch(nodes, node, reach, scales)
        if branch is not None:
            found.append(branch)
    return tuple(found)


def _branch(nodes: Sequence[Node], add: Node, reach: Sequence[int], scales: Mapping[int, float]) -> Branch | None:
    left, right = add.inputs
    common = reach[left] & reach[right]
    if not common:
        return None
    fork = common.bit_length() - 1
    sides = {end: _counts(nodes, fork, end, reach) for end in (left, right)}
    # The stream is the side that can be passed with the fewest layers.
    stream, end = sorted((left, right), key=lambda side: (sides[side][0], sides[side][1], side))
    if sides[end][1] == 0:
        return None
    inside = tuple(
        k for k in range(fork + 1, end + 1)
        if reach[end] >> k & 1 and reach[k] >> fork & 1 and not reach[stream] >> k & 1
    )  # fmt: skip
    return Branch(add.index, fork, inside, sides[end][1], _scale(nodes, end, scales), sides[stream][0] > 0)


def _counts(nodes: Sequence[Node], fork: int, end: int, reach: Sequence[int]) -> tuple[int, int]:
    """Fewest and most layers on the paths from a fork to an end."""
    counts = {fork: (0, 0)}
    for k in range(fork + 1, end + 1):
        if not (reach[end] >> k & 1 and reach[k] >> fork & 1):
            continue
        before = [counts[source] for source in nodes[k].inputs if source in counts]
        if before:
            own = nodes[k].layers
            counts[k] = (min(low for low, _ in before) + own, max(high for _, high in before) + own)
    return counts[end]


def _scale(nodes: Sequence[Node], end: int, scales: Mapping[int, float]) -> float:
    factor, node = 1.0, nodes[end]
    while not node.layers and len(node.inputs) == 1 and (node.index in scales or node.kind == "reshape"):
        factor *= scales.get(node.index, 1.0)
        node = nodes[node.inputs[0]]
    return factor
