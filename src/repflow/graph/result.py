"""The theory of a graph at order 0, node by node."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repflow.graph.registry import Mark
from repflow.results import Payload, Result, result_schema

_HEAD = ("", "node", "kind", "mark", "rows", "K_aa", "reason")


@dataclass(frozen=True, repr=False)
class NodeKernel:
    """The infinite-width kernel of one node's value.

    Attributes
    ----------
    index, name, kind
        Of the node.
    mark
        ``"theory"`` where the kernel follows from those before it by a rule, ``"measured"`` where it does not, by the
        kind of node or because its inputs are correlated in a way that no rule covers.
    reason
        Why it is measured, or why there is no kernel.
    given
        Names of the measured nodes that a kernel by theory rests on.
    rows
        Shape of what the kernel's R rows run over: (N,), or (N, positions...), in the order of the value's own axes
        with the channel axis left out.
    axis
        The channel axis of the value; None for an input, whose kernel is the mean over all its entries.
    """

    index: int
    name: str
    kind: str
    mark: Mark
    reason: str
    given: tuple[str, ...]
    rows: tuple[int, ...]
    axis: int | None
    _kernel: Tensor | None

    @property
    def kernel(self) -> Tensor:
        """K, shape (R, R): E[(1/n) sum_c h_pc h_qc], mean over channels c of products, for pairs of (input, position).

        Raises
        ------
        AttributeError
            The node is measured and no measurement was passed in, or it depends on one; the message says which.
        """
        if self._kernel is None:
            raise AttributeError(
                f"node {self.name!r} has no kernel: {self.reason}; flow(graph, x, measure=...) takes measured kernels"
            )
        return self._kernel

    @property
    def known(self) -> bool:
        """Whether there is a kernel."""
        return self._kernel is not None

    def __repr__(self) -> str:
        parts = [f"{self.index} {self.name!r}", self.kind, self.mark]
        if self._kernel is not None:
            diagonal = self._kernel.diagonal()
            low, high = float(diagonal.min()), float(diagonal.max())
            parts += [
                f"rows={'x'.join(map(str, self.rows))}",
                f"K_aa={low:.4g}" + (f"..{high:.4g}" if low != high else ""),
            ]
        return f"NodeKernel({', '.join(parts)})"


@result_schema("graph_flow", version=1)
class GraphFlow(Result):
    """Order 0 of a graph on inputs: ``flow["name"]`` or ``flow[number]`` is a node, ``flow[-1]`` the output.

    Attributes
    ----------
    nodes
        In order of execution.
    output
        Number of the output's node.
    order
        0.
    """

    order = 0

    def __init__(self, nodes: tuple[NodeKernel, ...], output: int) -> None:
        self.nodes = nodes
        self.output = output
        self._by_name = {node.name: node for node in nodes}

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[NodeKernel]:
        return iter(self.nodes)

    def __getitem__(self, node: int | str) -> NodeKernel:
        if isinstance(node, str):
            if node not in self._by_name:
                raise KeyError(f"no node is called {node!r}; the names are {', '.join(self._by_name)}")
            return self._by_name[node]
        if not isinstance(node, int) or isinstance(node, bool):
            raise TypeError(f"node must be a name or a number, got {type(node).__name__}")
        if node == -1:
            return self.nodes[self.output]
        if not 0 <= node < len(self):
            raise IndexError(f"node {node} does not exist; nodes are 0 to {len(self) - 1}, or -1 for the output")
        return self.nodes[node]

    @property
    def measured(self) -> tuple[NodeKernel, ...]:
        """The nodes whose kernel no rule gives."""
        return tuple(node for node in self.nodes if node.mark == "measured")

    def table(self) -> str:
        """One line a node: number, name, kind, mark, rows, range of K_aa, reason."""
        from repflow.figures import table_text

        return table_text(_HEAD, self._lines())

    def _lines(self) -> list[tuple[str, ...]]:
        lines: list[tuple[str, ...]] = []
        for node in self.nodes:
            if node.known:
                diagonal = node.kernel.diagonal()
                size = f"{float(diagonal.min()):.4g}..{float(diagonal.max()):.4g}"
            else:
                size = "-"
            lines.append(
                (
                    str(node.index),
                    node.name,
                    node.kind,
                    node.mark,
                    "x".join(map(str, node.rows)) or "-",
                    size,
                    node.reason,
                )
            )
        return lines

    def _repr_html_(self) -> str:
        from repflow.figures import table_html

        return table_html(_HEAD, self._lines(), caption=repr(self))

    def __repr__(self) -> str:
        measured = len(self.measured)
        known = sum(node.known for node in self.nodes)
        return f"GraphFlow(nodes={len(self)}, kernels={known}, measured={measured}, order=0)"

    def _payload(self) -> Payload:
        arrays = {f"node_{node.index}/kernel": node.kernel.cpu().numpy() for node in self.nodes if node.known}
        meta = [
            {
                "index": node.index, "name": node.name, "kind": node.kind, "mark": node.mark, "reason": node.reason,
                "given": list(node.given), "rows": list(node.rows), "axis": node.axis,
            }
            for node in self.nodes
        ]  # fmt: skip
        return Payload(arrays, {"nodes": meta, "output": self.output})

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None = None) -> GraphFlow:
        nodes = []
        for entry in payload.meta["nodes"]:
            array = payload.arrays.get(f"node_{entry['index']}/kernel")
            nodes.append(
                NodeKernel(
                    entry["index"], entry["name"], entry["kind"], entry["mark"], entry["reason"], tuple(entry["given"]),
                    tuple(entry["rows"]), entry["axis"], None if array is None else torch.from_numpy(np.array(array)),
                )
            )  # fmt: skip
        return cls(tuple(nodes), int(payload.meta["output"]))


def second_moment(value: Tensor, axis: int | None) -> Tensor:
    """(1/n) sum_c h_pc h_qc of one value, shape (R, R), float64: what :attr:`NodeKernel.kernel` is the mean of.

    Parameters
    ----------
    value
        The value of a node.
    axis
        Its channel axis; None: the mean over all axes but the first.
    """
    if axis is None:
        rows = value.double().reshape(len(value), -1)
    else:
        moved = value.double().movedim(axis, -1)
        rows = moved.reshape(math.prod(moved.shape[:-1]), moved.shape[-1])
    return rows @ rows.T / rows.shape[1]
