"""The registry of kernel rules: what each operation of torch is as a node, and how its kernel follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from repflow.graph.arguments import map_tensors
from repflow.graph.record import Call, Ref
from repflow.graph.states import Fixed, State

Mark = Literal["theory", "measured"]


@dataclass(frozen=True)
class Bound:
    """A call with the states of its arguments in place of tensors.

    Attributes
    ----------
    call
        The call.
    args, kwargs
        Its arguments.
    shapes
        Of its results.
    """

    call: Call
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

    def evaluate(self, substitute: Callable[[State], Tensor]) -> Any:
        """The function itself on tensors made from the states."""
        args, kwargs = (map_states(tree, substitute) for tree in (self.args, self.kwargs))
        assert self.call.function is not None
        return self.call.function(*args, **kwargs)


Rule = Callable[[Bound], "State | Sequence[State]"]


@dataclass(frozen=True)
class Operation:
    """What the registry holds for one operation.

    Attributes
    ----------
    kind
        Of the node, or a function that tells it from what its arguments are: parameters, random, inputs, constants.
    rule
        Its kernel rule; None where it is measured.
    reason
        Why it is measured.
    """

    kind: str | Callable[[Call, Callable[[Ref], str]], str]
    rule: Rule | None = None
    reason: str = ""

    @property
    def mark(self) -> Mark:
        """Whether there is a rule."""
        return "theory" if self.rule is not None else "measured"


_OPERATIONS: dict[str, Operation] = {}
OPAQUE = Operation("opaque", None, "it is an operation without a kernel rule")


def kernel_rule(kind: str | Callable[[Call, Callable[[Ref], str]], str], *operations: str) -> Callable[[Rule], Rule]:
    """Register the kernel rule of operations, by their plain names."""

    def register(rule: Rule) -> Rule:
        for name in operations:
            _OPERATIONS[name] = Operation(kind, rule)
        return rule

    return register


def measured(kind: str, reason: str, *operations: str) -> None:
    """Register operations whose kernel has to be measured, and why."""
    for name in operations:
        _OPERATIONS[name] = Operation(kind, None, reason)


def operation(name: str) -> Operation:
    """What is registered for an operation; ``OPAQUE`` where nothing is."""
    return _OPERATIONS.get(name, OPAQUE)


def map_states(tree: Any, function: Callable[[Any], Any]) -> Any:
    """The same nest of arguments with each state replaced."""
    if isinstance(tree, State):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_states(value, function) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_states(value, function) for value in tree)
    if isinstance(tree, slice):
        return slice(*(map_states(part, function) for part in (tree.start, tree.stop, tree.step)))
    return tree


def states_in(tree: Any) -> list[State]:
    """The states in a nest of arguments, in order."""
    found: list[State] = []
    map_states(tree, found.append)
    return found


def fixed_result(bound: Bound) -> Sequence[State]:
    """A call without randomness: the function itself, in float64."""

    def tensor(state: State) -> Tensor:
        assert isinstance(state, Fixed)
        return state.tensor.double() if state.tensor.is_floating_point() else state.tensor

    with torch.no_grad():
        result = bound.evaluate(tensor)
    found: list[State] = []
    map_tensors(result, lambda t: found.append(Fixed(t.detach())))
    return found
