"""Where each parameter tensor of a module stands in its graph: what a rule for initialisation and rates asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repflow.activation import Activation, activation_from_dict, as_activation
from repflow.graph.branches import Branch
from repflow.graph.node import Node, Numbering
from repflow.graph.record import Call, Ref, Tape
from repflow.graph.refusal import Refusal
from repflow.graph.registry import Bound, operation
from repflow.graph.rules.elementwise import activation, activation_of
from repflow.graph.states import ParameterMoments, channel_axis

#: Roles of parameters by their position among an operation's arguments.
_POSITIONS: dict[str, dict[int, str]] = {
    "linear": {1: "weight", 2: "bias"},
    "conv1d": {1: "weight", 2: "bias"},
    "conv2d": {1: "weight", 2: "bias"},
    "addmm": {0: "bias", 2: "weight"},
    "embedding": {1: "embedding"},
    "layer_norm": {2: "norm weight", 3: "norm bias"},
    "rms_norm": {2: "norm weight"},
    "group_norm": {2: "norm weight", 3: "norm bias"},
    "batch_norm": {3: "norm weight", 4: "norm bias"},
    "add": {0: "bias", 1: "bias"},
    "mul": {0: "scale", 1: "scale"},
}
_KEYWORDS = ("weight", "bias")
#: What a walk back to the activation passes through.
_PASSED = ("reshape", "pooling", "multiply")


@dataclass(frozen=True)
class ParameterPlace:
    """One parameter tensor and its place in the graph.

    Attributes
    ----------
    name
        As in ``module.named_parameters()``.
    node
        Name of the first node that uses it; ``""`` where none on the way to the output does.
    nodes
        Numbers of all nodes that use it.
    role
        ``"weight"``, ``"bias"``, ``"embedding"``, ``"norm weight"``, ``"norm bias"``, ``"scale"`` or ``"other"``.
    place
        ``"input"``: no layer of weights before it; ``"head"``: none behind it; else ``"hidden"``; ``"unused"``.
    shape
        Of the tensor.
    fan_in
        Number of products summed into one output: inputs of a linear map, channels times kernel size of a convolution;
        1 for everything that is added, scaled or looked up.
    activation
        What its input went through last, on the way from the layer or norm before; None where that is an input.
    fed_by
        Kind of the node before it that decides its input: ``"elementwise"`` (the activation), ``"norm"``, ``"add"`` (a
        residual stream), ``"linear"``, ``"input"``, ...
    branch
        Index among ``graph.branches`` of the innermost residual branch that it lies on, or None.
    branch_layers
        Layers of weights on that branch; 0 off the branches.
    depth
        Layers of weights on the longest path from an input up to and with its node.
    mean, mean_square, constant
        Of the entries when traced, and whether all are equal.
    trainable
        Whether it required a gradient.
    aliases
        Other names of the same tensor: what it is tied to.
    """

    name: str
    node: str
    nodes: tuple[int, ...]
    role: str
    place: str
    shape: tuple[int, ...]
    fan_in: int
    activation: Activation | None
    fed_by: str
    branch: int | None
    branch_layers: int
    depth: int
    mean: float
    mean_square: float
    constant: bool
    trainable: bool
    aliases: tuple[str, ...] = ()

    @property
    def moments(self) -> ParameterMoments:
        """What theory reads off it."""
        return ParameterMoments(self.mean, self.mean_square, self.constant)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data["activation"] = None if self.activation is None else self.activation.to_dict()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any], activations: Mapping[str, Any] | None = None) -> ParameterPlace:
        """Read what :meth:`to_dict` wrote."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        saved = fields.pop("activation")
        return cls(**fields, activation=None if saved is None else activation_from_dict(saved, activations))


def find_places(
    tape: Tape,
    numbering: Numbering,
    branches: Sequence[Branch],
    moments: Mapping[str, ParameterMoments],
    trainable: Mapping[str, bool],
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[ParameterPlace, ...]:
    """The place of every parameter, in the order of ``moments``."""
    nodes = numbering.nodes
    calls = {node: tape.calls[call] for call, node in numbering.of_call.items()}
    before, behind = _depths(nodes)
    activations = _activations(nodes, calls)
    found = []
    for name, held in moments.items():
        users = [node for node in nodes if name in node.parameters]
        if not users:
            found.append(
                ParameterPlace(
                    name, "", (), "other", "unused", shapes[name], 1, None, "", None, 0, 0, held.mean, held.mean_square,
                    held.constant, trainable[name],
                )
            )  # fmt: skip
            continue
        node = users[0]
        role = _role(tape, node, calls[node.index], name, shapes[name])
        inner = [k for k, branch in enumerate(branches) if node.index in branch.nodes]
        innermost = min(inner, key=lambda k: len(branches[k].nodes), default=None)
        place = "head" if not behind[node.index] else "input" if before[node.index] - node.layers == 0 else "hidden"
        source = _decides(nodes, node, activations)
        found.append(
            ParameterPlace(
                name,
                node.name,
                tuple(user.index for user in users),
                role,
                place,
                shapes[name],
                _fan_in(calls[node.index], role, shapes[name]),
                _fed(nodes, source, activations),
                "" if source is None else source.kind,
                innermost,
                0 if innermost is None else branches[innermost].layers,
                before[node.index],
                held.mean,
                held.mean_square,
                held.constant,
                trainable[name],
            )
        )
    return tuple(found)


def _depths(nodes: Sequence[Node]) -> tuple[list[int], list[int]]:
    """Layers on the longest path up to and with each node, and behind it without."""
    before = [0] * len(nodes)
    for node in nodes:
        before[node.index] = max((before[s] for s in node.inputs), default=0) + node.layers
    behind = [0] * len(nodes)
    for node in reversed(nodes):
        for source in node.inputs:
            behind[source] = max(behind[source], behind[node.index] + node.layers)
    return before, behind


def _activations(nodes: Sequence[Node], calls: Mapping[int, Call]) -> dict[int, Activation]:
    """The activation of each elementwise node that is one."""
    found: dict[int, Activation] = {}
    known: dict[tuple[str, str], Activation] = {}
    for node in nodes:
        call = calls.get(node.index)
        if call is None or operation(call.operation).rule is not activation:
            continue
        key = (call.operation, repr((call.args[1:], call.kwargs)))
        try:
            if key not in known:
                known[key] = activation_of(Bound(call, call.args, call.kwargs, (node.shape,)))
            found[node.index] = known[key]
        except Refusal:
            continue
    return found


def _decides(nodes: Sequence[Node], node: Node, activations: Mapping[int, Activation]) -> Node | None:
    """The node before that decides what comes in: reshaping, pooling and factors are passed."""
    while node.inputs:
        node = nodes[node.inputs[0]]
        scaling = node.kind == "elementwise" and node.index not in activations
        if node.kind not in _PASSED and not scaling:
            return node
    return node if node.kind == "input" else None


def _fed(nodes: Sequence[Node], source: Node | None, activations: Mapping[int, Activation]) -> Activation | None:
    if source is None or source.kind == "input":
        return None
    return activations.get(source.index, as_activation("identity"))


def _role(tape: Tape, node: Node, call: Call, name: str, shape: tuple[int, ...]) -> str:
    def is_it(entry: Any) -> bool:
        if not isinstance(entry, Ref):
            return False
        value = tape.values[entry.value]
        if value.call is not None and len(value.shape) == 2:  # a transpose
            value = tape.values[tape.calls[value.call].inputs[0]]
        return value.origin == "parameter" and value.name == name

    by_position = _POSITIONS.get(call.operation, {})
    norm = any(role.startswith("norm") for role in by_position.values())
    role = next((by_position[k] for k, entry in enumerate(call.args) if k in by_position and is_it(entry)), "")
    for key, entry in call.kwargs.items():
        if is_it(entry) and key in _KEYWORDS:
            role = f"norm {key}" if norm else "embedding" if call.operation == "embedding" else key
    if role == "bias" and node.kind == "elementwise":
        role = "other"  # a number is added to it: what it is shows later
    if role == "scale" and _rows(shape) > 1:
        role = "embedding" if node.kind == "elementwise" else "other"  # theory takes its entries as draws
    if node.kind == "embedding" or (role in ("", "bias") and node.kind in ("reshape", "add") and _rows(shape) > 1):
        return "embedding"  # rows that are looked up by position or feature
    if not role and node.kind == "reshape":
        return "embedding"
    if not role and node.kind in ("linear", "attention"):
        return "weight" if len(shape) > 1 else "bias"
    return role or "other"


def _rows(shape: tuple[int, ...]) -> int:
    """Entries of a parameter for each channel."""
    return math.prod(shape) // max(1, shape[channel_axis(shape)]) if shape else 1


def _fan_in(call: Call, role: str, shape: tuple[int, ...]) -> int:
    if role != "weight":
        return 1
    if call.operation == "einsum":
        names = str(call.args[0]).replace(" ", "").split("->")[0].split(",")
        weight = next((name for name in names if len(name) == 2 and "." not in name), names[-1])
        other = next((name for name in names if name != weight), weight)
        return shape[1] if weight[-1] in other else shape[0]
    if call.operation in ("addmm", "matmul", "mm", "rmatmul"):
        return shape[0]
    return math.prod(shape[1:])
