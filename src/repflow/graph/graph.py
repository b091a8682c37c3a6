"""``Graph``: a module that is no chain, as nodes with a kernel rule each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from repflow.graph import rules  # noqa: F401  (fills the registry)
from repflow.graph.arguments import Arguments, as_arguments
from repflow.graph.branches import Branch, find_branches
from repflow.graph.chain import read_chain, rows_of
from repflow.graph.node import Node, Numbering, number
from repflow.graph.places import ParameterPlace, find_places
from repflow.graph.record import Call, Ref, Tape, record
from repflow.graph.result import GraphFlow, NodeKernel
from repflow.graph.states import MOST_POINTS, ParameterMoments
from repflow.graph.theory import Measure, Theory
from repflow.network import Network
from repflow.recursion.memory import require
from repflow.results import Payload, Result, result_schema
from repflow.wrappers import unwrapped

_DROPOUT = "dropout is left out: the theory is of the network at evaluation"


@result_schema("graph", version=1)
class Graph(Result):
    """The nodes of a module's forward pass, with explicit edges, and the place of each of its parameters.

    ``rf.flow(graph, x)`` computes the infinite-width kernel of every node. The mean squares of the parameters are those
    of the moment of tracing; the module is kept, and runs once more for each new ``x``.

    Attributes
    ----------
    nodes
        In order of execution; ``node.inputs`` are the edges.
    output
        Number of the node that makes the first output.
    parameters
        One entry a parameter tensor.
    branches
        The residual branches.
    notes
        What was left out of account, in words.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        output: int,
        parameters: Sequence[ParameterPlace],
        branches: Sequence[Branch],
        notes: Sequence[str] = (),
        module: nn.Module | None = None,
    ) -> None:
        self.nodes = tuple(nodes)
        self.output = output
        self.parameters = tuple(parameters)
        self.branches = tuple(branches)
        self.notes = tuple(notes)
        self._module = module

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, name: str | int) -> Node:
        if isinstance(name, int):
            return self.nodes[name]
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(f"no node is called {name!r}; the names are {', '.join(node.name for node in self.nodes)}")

    def parameter(self, name: str) -> ParameterPlace:
        """The place of a parameter by name."""
        for place in self.parameters:
            if place.name == name:
                return place
        raise KeyError(f"no parameter is called {name!r}")

    @property
    def measured(self) -> tuple[Node, ...]:
        """The nodes without a kernel rule."""
        return tuple(node for node in self.nodes if node.mark == "measured")

    @property
    def depth(self) -> int:
        """Layers of weights on the longest path."""
        return max((place.depth for place in self.parameters), default=0)

    def with_moments(self, mean_squares: Mapping[str, float]) -> Graph:
        """The same graph with other mean squares of parameters, by name: theory of an initialisation before it is made.

        Raises
        ------
        ValueError
            A name is not a parameter's, or a number is negative.
        """
        known = {place.name for place in self.parameters}
        for name, value in mean_squares.items():
            if name not in known:
                raise ValueError(
                    f"mean_squares has {name!r}, which is none of the parameters {', '.join(sorted(known))}"
                )
            if not value >= 0:
                raise ValueError(f"mean_squares[{name!r}] must not be negative, got {value!r}")
        places = [
            replace(p, mean=0.0, mean_square=float(mean_squares[p.name]), constant=mean_squares[p.name] == 0)
            if p.name in mean_squares
            else p
            for p in self.parameters
        ]
        return Graph(self.nodes, self.output, places, self.branches, self.notes, self._module)

    def draw(self, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """One Gaussian initialisation of the mean squares that the graph has, by name, for :func:`observe`.

        What the theory takes as it is stays: norms, scales and parameters whose entries are all equal. The row of a
        padding token is zero.

        Parameters
        ----------
        generator
            Of the random numbers; None: torch's own.
        """
        module = self._need_module()
        padding = {
            id(part.weight): part.padding_idx
            for part in module.modules()
            if isinstance(part, nn.Embedding) and part.padding_idx is not None
        }
        held = dict(module.named_parameters())
        found = {}
        for place in self.parameters:
            parameter = held[place.name].detach()
            if place.constant or place.role in ("norm weight", "norm bias", "scale"):
                found[place.name] = parameter
                continue
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype).to(parameter.device)
            std = place.mean_square**0.5
            row = padding.get(id(held[place.name]))
            if row is not None:
                std *= (len(noise) / max(len(noise) - 1, 1)) ** 0.5
                noise[row] = 0.0
            found[place.name] = std * noise
        return found

    def as_chain(self, x: Any) -> tuple[Network, Tensor]:
        """The graph as a chain of layers with its inputs as a matrix.

        Raises
        ------
        ValueError
            It is no chain: the message names the step.
        """
        chain = read_chain(self._need_module())
        network = chain.network()
        return network, rows_of(x, network.widths[0])

    def kernels(self, x: Any, measure: Measure | None = None) -> GraphFlow:
        """The infinite-width kernel of every node: what ``rf.flow(graph, x)`` returns.

        Parameters
        ----------
        x
            A tensor, a tuple of arguments or a dictionary of keywords, as the module takes them.
        measure
            Called with a :class:`~repflow.graph.theory.Request` for each node that no rule covers, in order of
            execution; returns its kernel (R, R), a pair of kernel and mean over channels (R,), or None.

        Raises
        ------
        ValueError, TypeError
            ``x`` is not what the module takes, or the graph was loaded and has no module.
        MemoryError
            The kernels would not fit.
        """
        module = self._need_module()
        if measure is not None and not callable(measure):
            raise TypeError(f"measure must be callable, got {type(measure).__name__}")
        if any(parameter.is_meta for parameter in module.parameters()):
            raise ValueError("module is on the meta device: it has no weights yet, and gives no kernels")
        tape = record(module, as_arguments(x, _dtype(module)))
        numbering = number(tape)
        rows = [_rows(node.shape) for node in numbering.nodes]
        needed = sum(8 * count**2 for count in rows if count <= MOST_POINTS)  # beyond that there is no kernel
        require(needed, f"the kernels of {len(numbering.nodes)} nodes", "give fewer inputs")
        moments = {place.name: place.moments for place in self.parameters}
        found = Theory(tape, numbering, moments, measure).run()
        nodes = tuple(
            NodeKernel(
                node.index, node.name, node.kind, seen.mark, seen.reason, seen.given, seen.rows, seen.axis, seen.kernel
            )
            for node, seen in zip(numbering.nodes, found, strict=True)
        )
        return GraphFlow(nodes, numbering.output)

    def _need_module(self) -> nn.Module:
        if self._module is None:
            raise ValueError("this graph was loaded from a file and has no module to run: trace the module again")
        return self._module

    def table(self) -> str:
        """One line a node: number, name, kind, mark, inputs, shape."""
        from repflow.figures import table_text

        lines = []
        for node in self.nodes:
            shape = "x".join(map(str, node.shape))
            sources = " ".join(map(str, node.inputs))
            lines.append((str(node.index), node.name, node.kind, node.mark, sources, shape, ", ".join(node.parameters)))
        return table_text(("", "node", "kind", "mark", "from", "shape", "parameters"), lines)

    def __repr__(self) -> str:
        return (
            f"Graph(nodes={len(self)}, depth={self.depth}, branches={len(self.branches)}, "
            f"measured={len(self.measured)}, parameters={len(self.parameters)})"
        )

    def _repr_html_(self) -> str:
        from repflow.figures import table_html

        rows = [
            (node.index, node.name, node.kind, node.mark, ", ".join(map(str, node.inputs)), node.reason)
            for node in self.nodes
        ]
        return table_html(("", "node", "kind", "mark", "from", "why measured"), rows, caption=repr(self))

    def _payload(self) -> Payload:
        return Payload(
            {},
            {
                "nodes": [node.to_dict() for node in self.nodes],
                "output": self.output,
                "parameters": [place.to_dict() for place in self.parameters],
                "branches": [branch.to_dict() for branch in self.branches],
                "notes": list(self.notes),
            },
        )

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None = None) -> Graph:
        meta = payload.meta
        return cls(
            [Node.from_dict(entry) for entry in meta["nodes"]],
            int(meta["output"]),
            [ParameterPlace.from_dict(entry, activations) for entry in meta["parameters"]],
            [Branch.from_dict(entry) for entry in meta["branches"]],
            meta["notes"],
        )


def read_graph(module: nn.Module, x: Any) -> Graph:
    """A module as a graph, also where it is a chain. The module stays as it is.

    Parameters
    ----------
    module
        Any module; a copy of it is run once on ``x``, at evaluation.
    x
        A tensor, a tuple of arguments or a dictionary of keywords; entries may be None or integer tensors.

    Raises
    ------
    TypeError, ValueError
        ``module`` is not an ``nn.Module`` or fails on ``x``, or ``x`` is not of that form.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be an nn.Module, got {type(module).__name__}")
    module = unwrapped(module)
    tape = record(module, as_arguments(x, _dtype(module)))
    numbering = number(tape)
    branches = find_branches(numbering.nodes, _scales(tape, numbering))
    held = dict(module.named_parameters())
    places = find_places(
        tape,
        numbering,
        branches,
        {name: ParameterMoments.of(parameter) for name, parameter in held.items()},
        {name: parameter.requires_grad for name, parameter in held.items()},
        {name: tuple(parameter.shape) for name, parameter in held.items()},
    )
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    places = tuple(replace(place, aliases=tuple(names[id(held[place.name])][1:])) for place in places)
    notes = [_DROPOUT] if tape.dropout else []
    return Graph(numbering.nodes, numbering.output, places, branches, notes, module)


def observe(module: nn.Module, x: Any, parameters: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The (first) value of every node by name, with other parameters if they are given: what a measurement looks at.

    Parameters
    ----------
    module
        Any module; a copy is run at evaluation.
    x
        As for :func:`read_graph`.
    parameters
        Tensors to use in place of its parameters, by name; those that are left out stay.
    """
    module = unwrapped(module)
    arguments: Arguments = as_arguments(x, _dtype(module))
    tape = record(module, arguments, parameters, keep=True)
    numbering = number(tape)
    found = {}
    for value, node in numbering.of_input.items():
        found[numbering.nodes[node].name] = tape.values[value].tensor
    for call, node in numbering.of_call.items():
        found[numbering.nodes[node].name] = tape.values[tape.calls[call].outputs[0]].tensor
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _dtype(module: nn.Module) -> torch.dtype | None:
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), None)


def _rows(shape: tuple[int, ...]) -> int:
    """At least as many rows as a value's kernel has: all axes but the longest."""
    total = 1
    for size in sorted(shape)[:-1]:
        total *= size
    return total


def _scales(tape: Tape, numbering: Numbering) -> dict[int, float]:
    """Numbers by which nodes multiply."""
    found: dict[int, float] = {}
    for number_of_call, node in numbering.of_call.items():
        call: Call = tape.calls[number_of_call]
        if call.operation not in ("mul", "div"):
            continue
        factors = [_number(tape, entry) for entry in call.args[:2]]
        factor = next((f for f in factors if f is not None), None)
        if factor is not None:
            found[node] = 1.0 / factor if call.operation == "div" and factor else factor
    return found


def _number(tape: Tape, entry: Any) -> float | None:
    if isinstance(entry, (int, float)) and not isinstance(entry, bool):
        return float(entry)
    if isinstance(entry, Ref):
        value = tape.values[entry.value]
        held = value.tensor
        if value.origin not in ("parameter", "constant") or held is None or held.is_meta or not held.numel():
            return None
        if bool((held == held.flatten()[0]).all()):
            return float(held.detach().flatten()[0])
    return None
