"""A node of a graph, and the graph's nodes read off a recorded forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from repflow.graph.record import Call, Ref, Tape
from repflow.graph.registry import Mark, operation

#: Kinds of nodes whose parameters are matrices: the layers that depth counts.
LAYERS = ("linear", "convolution", "embedding", "attention")


@dataclass(frozen=True)
class Node:
    """One step of a module's forward pass.

    Attributes
    ----------
    index
        Its number, in order of execution; inputs come first.
    name
        Path of the module, or of the module and the operation where a module does several.
    kind
        ``"input"``, ``"linear"``, ``"elementwise"``, ``"add"``, ``"multiply"``, ``"norm"``, ``"convolution"``,
        ``"pooling"``, ``"embedding"``, ``"attention"``, ``"reshape"`` or ``"opaque"``.
    operation
        Plain name of the function of torch.
    mark
        ``"theory"`` where its kernel follows by a rule, ``"measured"`` where it does not.
    reason
        Why it is measured.
    inputs
        Numbers of the nodes whose values it takes.
    parameters
        Names of the parameters that it uses.
    shape
        Of its (first) value.
    """

    index: int
    name: str
    kind: str
    operation: str
    mark: Mark
    reason: str
    inputs: tuple[int, ...]
    parameters: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def layers(self) -> int:
        """Layers of weights that depth counts: 2 for a whole attention layer (values and output), else 1 or 0."""
        if not self.parameters or self.kind not in LAYERS:
            return 0
        return 2 if self.kind == "attention" else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in ((name, getattr(self, name)) for name in self.__dataclass_fields__)
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Node:
        """Read what :meth:`to_dict` wrote."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**fields)


@dataclass(frozen=True)
class Numbering:
    """Which node each call, and each input, of a recorded forward pass is.

    Attributes
    ----------
    nodes
        The nodes.
    of_call, of_input
        Number of the node by number of the call, and of the value of an input.
    output
        Number of the node that makes the first output.
    """

    nodes: tuple[Node, ...]
    of_call: dict[int, int]
    of_input: dict[int, int]
    output: int

    def of_value(self, tape: Tape, value: int) -> int | None:
        """The node that makes a value; None for parameters and constants."""
        return _node_of(tape, value, self.of_call, self.of_input)


def number(tape: Tape) -> Numbering:
    """The nodes of a recorded forward pass: inputs, and the calls on the way from inputs and parameters to outputs."""
    alive = _alive(tape)
    wanted: set[int] = set()
    stack = [value for value in tape.outputs if alive[value]]
    if not stack:
        raise ValueError("module returns nothing that depends on x or on its parameters")
    first = next((v for v in stack if tape.values[v].dtype.is_floating_point), stack[0])
    while stack:
        value = stack.pop()
        if value in wanted:
            continue
        wanted.add(value)
        call = tape.values[value].call
        if call is not None:
            stack.extend(source for source in tape.calls[call].inputs if alive[source])
    inputs = [v for v in tape.values if v.origin == "input" and v.index in wanted]
    of_input = {value.index: node for node, value in enumerate(inputs)}
    nodes = [Node(of_input[v.index], v.name, "input", "input", "theory", "", (), (), v.shape) for v in inputs]
    calls = [call for call in tape.calls if any(value in wanted for value in call.outputs)]
    of_call = {call.index: len(nodes) + place for place, call in enumerate(calls)}
    names = _names(tape, calls, {v.name for v in inputs})
    origin = _origin(tape, alive)
    for made, name in zip(calls, names, strict=True):
        found = operation(made.operation)
        kind = found.kind if isinstance(found.kind, str) else found.kind(made, origin)
        product = kind == "attention" and found.rule is not None
        sources = [_node_of(tape, value, of_call, of_input) for value in made.inputs]
        nodes.append(
            Node(
                of_call[made.index],
                name,
                kind,
                made.operation,
                "measured" if product else found.mark,
                "it multiplies two values with each other" if product else found.reason,
                tuple(dict.fromkeys(s for s in sources if s is not None)),
                parameters_of(tape, made),
                tape.values[made.outputs[0]].shape,
            )
        )
    output = _node_of(tape, first, of_call, of_input)
    assert output is not None
    return Numbering(tuple(nodes), of_call, of_input, output)


def _node_of(tape: Tape, value: int, of_call: dict[int, int], of_input: dict[int, int]) -> int | None:
    call = tape.values[value].call
    return of_input.get(value) if call is None else of_call.get(call)


def _alive(tape: Tape) -> list[bool]:
    """Whether each value depends on an input or a parameter."""
    alive: list[bool] = []
    for value in tape.values:
        call = value.call
        alive.append(
            value.origin in ("input", "parameter") if call is None else any(alive[s] for s in tape.calls[call].inputs)
        )
    return alive


def _origin(tape: Tape, alive: list[bool]) -> Callable[[Ref], str]:
    """Tells ``"parameter"``, also transposed, ``"random"`` values, what inputs alone decide, and a ``"constant"``."""

    def origin(ref: Ref) -> str:
        value = tape.values[ref.value]
        if value.origin == "parameter":
            return "parameter"
        if value.call is not None and tape.calls[value.call].operation in ("t", "T", "mT", "transpose"):
            source = tape.values[tape.calls[value.call].inputs[0]]
            if source.origin == "parameter" and len(source.shape) == 2:
                return "parameter"
        if value.random:
            return "random"
        return "input" if alive[ref.value] else "constant"

    return origin


def parameters_of(tape: Tape, call: Call) -> tuple[str, ...]:
    """Parameters among a call's arguments, also transposed ones."""
    found = []
    for number in call.inputs:
        value = tape.values[number]
        if value.call is not None and tape.calls[value.call].operation in ("t", "T", "mT", "transpose"):
            value = tape.values[tape.calls[value.call].inputs[0]]
        if value.origin == "parameter":
            found.append(value.name)
    return tuple(dict.fromkeys(found))


def _names(tape: Tape, calls: list[Call], taken: set[str]) -> list[str]:
    paths = list(tape.modules)
    leaves = {path for path in paths if not any(other.startswith(f"{path}.") for other in paths) and path}
    counts = Counter(call.module for call in calls)
    used = Counter(taken)
    names = []
    for call in calls:
        if call.module in leaves and counts[call.module] == 1:
            name = call.module
        else:
            name = f"{call.module}.{call.operation}" if call.module else call.operation
        used[name] += 1
        names.append(name if used[name] == 1 else f"{name}_{used[name] - 1}")
    return names
