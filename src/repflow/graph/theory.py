"""Order 0 on a recorded forward pass: the kernel of every node, by its rule or from a measurement."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from repflow.graph.averages import row_kernel
from repflow.graph.gaussian import Block, Source
from repflow.graph.law import Law, Moments
from repflow.graph.layout import rows_layout
from repflow.graph.node import Node, Numbering
from repflow.graph.record import Call, Ref, Tape
from repflow.graph.refusal import Refusal
from repflow.graph.registry import Bound, Mark, fixed_result, operation, states_in
from repflow.graph.states import Fixed, ParameterMoments, Random, Raw, State, Unknown
from repflow.isolation import first_line

#: Operations without a rule whose last step is a linear map with weights of its own.
_ENDS_FRESH = ("multi_head_attention_forward", "native_multi_head_attention")


@dataclass(frozen=True)
class Request:
    """What a measurement is asked for.

    Attributes
    ----------
    node
        The node.
    axis
        The channel axis of its value: the mean of products is over this one.
    rows
        Shape of the other axes; R is their product.
    inputs
        Kernels of the nodes that it takes, by name; None where one has none.
    """

    node: Node
    axis: int
    rows: tuple[int, ...]
    inputs: Mapping[str, Tensor | None]


#: A measured kernel, (R, R): E[(1/n) sum_c h_pc h_qc] over initialisations, alone or beside the measured mean, (R,):
#: E[(1/n) sum_c h_pc], which sums and norms of the value need; None where it isn't measured.
Measure = Callable[[Request], "Tensor | tuple[Tensor, Tensor] | None"]


@dataclass(frozen=True)
class Found:
    """What is known of one node: its kernel, over which rows, and on what grounds."""

    kernel: Tensor | None
    rows: tuple[int, ...]
    axis: int | None
    mark: Mark
    reason: str
    given: tuple[str, ...] = ()


@dataclass
class Theory:
    """One evaluation of a recorded forward pass.

    Attributes
    ----------
    tape, numbering
        What was recorded, and its nodes.
    moments
        Of the parameters, by name.
    measure
        Asked for the kernels that no rule gives.
    """

    tape: Tape
    numbering: Numbering
    moments: Mapping[str, ParameterMoments]
    measure: Measure | None = None
    states: dict[int, State] = field(default_factory=dict)
    found: dict[int, Found] = field(default_factory=dict)
    _known: dict[str, tuple[Mark, str, list[State]]] = field(default_factory=dict)
    _from_inputs: dict[int, bool] = field(default_factory=dict)

    def run(self) -> tuple[Found, ...]:
        """Every node in order of execution."""
        for value in self.tape.values:
            if value.origin == "parameter":
                self.states[value.index] = Raw(value.name, value.shape, self.moments[value.name])
            elif value.origin in ("input", "constant") and value.tensor is not None:
                self.states[value.index] = Fixed(value.tensor.cpu())
        for value_number, node in self.numbering.of_input.items():
            self.found[node] = self._seen(self.states[value_number], "theory", "", ())
        for call in self.tape.calls:
            self._step(call)
        return tuple(self.found[node.index] for node in self.numbering.nodes)

    def _step(self, call: Call) -> None:
        node = self.numbering.of_call.get(call.index)
        outputs = [self.tape.values[number] for number in call.outputs]
        if not any(value.random for value in outputs):
            for value in outputs:
                self.states[value.index] = (
                    Fixed(value.tensor.cpu()) if value.tensor is not None else Unknown("it was not kept")
                )
            if node is not None:
                self.found[node] = self._seen(self.states[call.outputs[0]], "theory", "", ())
            return
        if node is None:  # nothing that is returned depends on it
            for value in outputs:
                self.states[value.index] = Unknown("it is not on the way to the output")
            return
        # The same function of the same values is the same value: weights applied twice to one input draw once.
        key = f"{call.operation} {call.args!r} {call.kwargs!r}" if call.function is not None else f"call {call.index}"
        if key not in self._known:
            self._known[key] = self._states(call, self.numbering.nodes[node])
        mark, reason, states = self._known[key]
        for number, state in zip(call.outputs, states, strict=True):
            self.states[number] = state
        found = self._seen(states[0], mark, reason, self._given(call))
        if found.kernel is not None and not bool(torch.isfinite(found.kernel).all()):
            overflow = f"the kernel of {self.numbering.nodes[node].name!r} is not finite: signals overflow"
            found = Found(None, (), None, mark, overflow, found.given)
            self.states.update((number, Unknown(overflow)) for number in call.outputs)
        self.found[node] = found

    def _states(self, call: Call, node: Node) -> tuple[Mark, str, list[State]]:
        """The states of a call's results, whether by a rule, and why not."""
        count = len(call.outputs)
        bound = self._bound(call)
        operands = states_in((bound.args, bound.kwargs)) or [self.states[number] for number in call.inputs]
        blocked = next((s for s in operands if isinstance(s, Unknown) and not s.of_parameters), None)
        rule = operation(call.operation).rule if node.mark == "theory" else None
        reason = node.reason
        if rule is not None and blocked is None:
            try:
                if all(isinstance(state, Fixed) for state in operands):
                    result: Any = fixed_result(bound)
                else:
                    result = rule(bound)
                states = [result] if isinstance(result, State) else list(result)
                if len(states) == count:
                    return "theory", "", states
                reason = f"its rule gives {len(states)} results for {count}"
            except Refusal as refusal:
                reason = str(refusal)
            except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
                reason = f"its rule does not take these arguments: {first_line(error)}"
        elif rule is None and call.function is not None and all(isinstance(state, Fixed) for state in operands):
            try:
                return "theory", "", list(fixed_result(bound))
            except (RuntimeError, TypeError, ValueError):
                reason = node.reason
        if call.function is not None and not any(self._of_inputs(number) for number in call.inputs):
            return "measured", reason, [Unknown(f"it is computed from parameters: {reason}", True)] * count
        measured = self._measured(call, node, operands)
        if measured is not None:
            return (
                "measured",
                reason or "a node before it was not measured",
                [measured] + [Unknown(f"only the first result of {node.name!r} is measured") for _ in range(count - 1)],
            )
        if blocked is not None:
            return node.mark, reason, [blocked] * count
        return "measured", reason, [Unknown(f"node {node.name!r} is measured: {reason}")] * count

    def _of_inputs(self, number: int) -> bool:
        """Whether a value depends on an input."""
        if number not in self._from_inputs:
            value = self.tape.values[number]
            sources = () if value.call is None else self.tape.calls[value.call].inputs
            self._from_inputs[number] = value.origin == "input" or any(map(self._of_inputs, sources))
        return self._from_inputs[number]

    def _bound(self, call: Call) -> Bound:
        def replaced(tree: Any) -> Any:
            if isinstance(tree, Ref):
                return self.states[tree.value]
            if isinstance(tree, dict):
                return {key: replaced(value) for key, value in tree.items()}
            if isinstance(tree, (tuple, list)):
                return type(tree)(replaced(value) for value in tree)
            if isinstance(tree, slice):
                return slice(*(replaced(part) for part in (tree.start, tree.stop, tree.step)))
            return tree

        shapes = tuple(self.tape.values[number].shape for number in call.outputs)
        return Bound(call, replaced(call.args), replaced(call.kwargs), shapes)

    def _measured(self, call: Call, node: Node, operands: list[State]) -> State | None:
        value = self.tape.values[call.outputs[0]]
        if self.measure is None or not value.dtype.is_floating_point or not value.shape:
            return None
        alike = next(
            (
                s
                for s in operands
                if isinstance(s, Random) and s.layout.shape == value.shape and s.layout.axis is not None
            ),
            None,
        )
        axis = len(value.shape) - 1 if alike is None or alike.layout.axis is None else alike.layout.axis
        rows = value.shape[:axis] + value.shape[axis + 1 :]
        inputs = {self.numbering.nodes[n].name: self.found[n].kernel for n in node.inputs if n in self.found}
        answer = self.measure(Request(node, axis, rows, inputs))
        if answer is None:
            return None
        kernel, mean = _checked(answer, node.name, math.prod(rows))
        upstream = frozenset(node.parameters).union(*(s.law.upstream for s in operands if isinstance(s, Random)))
        # What torch did not show may depend on everything before it.
        behind = operands if call.function is not None else list(self.states.values())
        blocks = tuple({b.key(): b for s in behind if isinstance(s, Random) for b in s.law.blocks}.values())
        of_input = any(isinstance(s, Fixed) or (isinstance(s, Random) and s.law.of_input) for s in behind)
        if call.operation in _ENDS_FRESH and node.parameters:
            blocks, of_input = (Block(Source(f"{node.name} (output)", kernel)),), False
            mean = torch.zeros(len(kernel), dtype=torch.float64)
        only = Moments(0.5 * (kernel + kernel.T), mean, blocks, of_input)
        return Random(rows_layout(rows, value.shape[axis], axis), Law(len(kernel), only=only, upstream=upstream))

    def _given(self, call: Call) -> tuple[str, ...]:
        """Names of the measured nodes that a node's kernel rests on."""
        names: dict[str, None] = {}
        for number in call.inputs:
            source = self.numbering.of_value(self.tape, number)
            if source is not None and source in self.found:
                found = self.found[source]
                names.update(
                    dict.fromkeys((self.numbering.nodes[source].name,) if found.mark == "measured" else found.given)
                )
        return tuple(names)

    def _seen(self, state: State, mark: Mark, reason: str, given: tuple[str, ...]) -> Found:
        """What a user sees of a state."""
        if isinstance(state, Unknown):
            return Found(None, (), None, mark, reason or state.reason, given)
        if isinstance(state, Raw):
            return Found(None, (), None, mark, "it is a parameter", given)
        if isinstance(state, Fixed):
            if not state.tensor.is_floating_point() or not state.tensor.ndim:
                return Found(None, (), None, mark, "it holds no real numbers over inputs", given)
            x = state.tensor.double().reshape(len(state.tensor), -1)
            return Found(x @ x.T / x.shape[1], (len(x),), None, mark, reason, given)
        try:
            return Found(*row_kernel(state), mark, reason, given)
        except Refusal as refusal:
            return Found(None, (), None, mark, f"it has no kernel over inputs and positions: {refusal}", given)


def _checked(answer: Any, name: str, size: int) -> tuple[Tensor, Tensor | None]:
    """What ``measure`` returned, as a kernel and a mean or None."""
    kernel, mean = answer if isinstance(answer, tuple) else (answer, None)
    for what, held, shape in (("a kernel", kernel, (size, size)), ("a mean", mean, (size,))):
        if held is not None and (not isinstance(held, Tensor) or tuple(held.shape) != shape):
            got = tuple(held.shape) if isinstance(held, Tensor) else type(held).__name__
            raise ValueError(f"measure must return {what} of shape {shape} for node {name!r}, got {got}")
    if kernel is None:
        raise ValueError(f"measure must return a kernel, or None for none, for node {name!r}")
    kernel = kernel.detach().to("cpu", torch.float64)
    return kernel, None if mean is None else mean.detach().to("cpu", torch.float64)
