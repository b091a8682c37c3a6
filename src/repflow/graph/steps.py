"""The steps that a module's input goes through, by symbolic tracing.

The traced graph is cut wherever everything passes through one value. Between two cuts lies one step: a single
operation, or several that meet again, such as ``x * torch.sigmoid(x)``, which is elementwise, or ``x + linear(x)``,
which is not.
"""

from __future__ import annotations

import copy
import inspect
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from repflow.activation import Activation, as_activation, recognise
from repflow.isolation import bare_copy, first_line

_DROPOUT_MODULES = (nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout)
#: What passes its input on at evaluation, or only changes its shape or its number format.
_TRANSPARENT_MODULES = (nn.Identity, nn.Flatten, *_DROPOUT_MODULES)
_DROPOUT_FUNCTIONS: tuple[Any, ...] = (
    nn.functional.dropout,
    nn.functional.dropout1d,
    nn.functional.alpha_dropout,
    torch.dropout,
)
_TRANSPARENT_FUNCTIONS: tuple[Any, ...] = (
    torch.flatten,
    torch.reshape,
    torch.squeeze,
    torch.clone,
    *_DROPOUT_FUNCTIONS,
)
_TRANSPARENT_METHODS = (
    *("flatten", "view", "reshape", "squeeze", "contiguous", "clone", "cpu"),
    *("to", "type", "type_as", "float", "double", "half", "bfloat16"),
)
_SOFTMAX_MODULES = (nn.Softmax, nn.LogSoftmax)
_SOFTMAX_FUNCTIONS: tuple[Any, ...] = (
    torch.softmax,
    torch.log_softmax,
    nn.functional.softmax,
    nn.functional.log_softmax,
)
_SOFTMAX_METHODS = ("softmax", "log_softmax")
_SHAPE_METHODS = ("size", "dim", "numel", "ndimension", "stride")
_SHAPE_ATTRIBUTES = ("shape", "ndim", "dtype", "device")


@dataclass(frozen=True)
class Softmax:
    """A softmax or log-softmax, which a chain may end with."""

    name: str


@dataclass(frozen=True)
class Step:
    """One step of a chain.

    Attributes
    ----------
    name
        Qualified name of the module, or name of the operation in the traced graph.
    what
        An ``nn.Linear`` of the module itself, an :class:`Activation`, or a :class:`Softmax`.
    """

    name: str
    what: nn.Linear | Activation | Softmax


class NotAChainError(ValueError):
    """A step that is neither linear nor elementwise."""


def read_steps(module: nn.Module) -> tuple[list[Step], list[str]]:
    """The steps of a module, and notes on what was left out of account.

    Nothing of the module changes: a copy of it is traced, and no data are passed through.

    Raises
    ------
    ValueError
        It cannot be traced, or is not a chain: the message names the step.
    """
    reader = _Reader(bare_copy(module))
    steps = reader.read(reader.module, "")
    own = dict(module.named_modules(remove_duplicate=False))
    found = []
    for step in steps:
        if isinstance(step.what, nn.Linear):
            original = own[step.name]
            assert isinstance(original, nn.Linear)
            step = Step(step.name, original)
        found.append(step)
    return found, list(dict.fromkeys(reader.notes))


class _Tracer(fx.Tracer):
    """Traces into containers, and takes a module without linear layers as one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, nn.Linear):
            return type(m).forward is nn.Linear.forward
        if isinstance(m, (nn.Sequential, nn.ModuleList)):
            return False
        return super().is_leaf_module(m, module_qualified_name) or not any(
            isinstance(p, nn.Linear) for p in m.modules()
        )


class _Reader:
    """Reads one copied module; collects notes."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.notes: list[str] = []

    def read(self, module: nn.Module, prefix: str) -> list[Step]:
        """The steps of a module or of a part of it."""
        graph, main = _traced(module)
        side = _side_nodes(graph, main)
        steps: list[Step] = []
        entry = main
        segment: list[fx.Node] = []
        for node in graph.nodes:
            if node is main or node in side or node.op == "placeholder":
                continue
            if node.op == "output":
                _check_output(node, entry, segment)
                continue
            segment.append(node)
            if _is_cut(entry, segment, side):
                steps.extend(self._step(module, prefix, entry, segment, side))
                entry, segment = node, []
        return steps

    def _step(
        self, module: nn.Module, prefix: str, entry: fx.Node, segment: list[fx.Node], side: set[fx.Node]
    ) -> list[Step]:
        """What one segment is: linear, elementwise, a softmax, or nothing (it passes its input on)."""
        node = segment[-1]
        modules = dict(module.named_modules(remove_duplicate=False))
        part = modules[str(node.target)] if node.op == "call_module" else None
        name = prefix + str(node.target) if node.op == "call_module" else prefix + node.name
        if len(segment) == 1:
            if isinstance(part, nn.Linear):
                return [Step(name, part)]
            kind = _kind(node, part)
            if kind == "softmax":
                return [Step(name, Softmax(node.name if part is None else type(part).__name__))]
            if kind == "transparent":
                if isinstance(part, _DROPOUT_MODULES) or node.target in _DROPOUT_FUNCTIONS:
                    self.notes.append("dropout is left out: the theory is of the network at evaluation")
                return []
        joint = next((n for n in segment if len([a for a in n.all_input_nodes if a not in side]) > 1), node)
        linear = next((n for n in segment if isinstance(modules.get(str(n.target)), nn.Linear)), None)
        if linear is not None:
            raise NotAChainError(
                f"module is not a chain: step {prefix + joint.name!r} joins paths, one of them through "
                f"{prefix + str(linear.target)!r}"
            )
        function: Any = part if part is not None and len(segment) == 1 else _evaluation(module, name, entry, segment)
        try:
            return [Step(name, recognise(as_activation(function)))]
        except (ValueError, TypeError) as error:
            if part is not None and len(segment) == 1 and not _from_torch(part):
                return self._inside(part, name)
            label = prefix + str(joint.target) if joint.op == "call_module" else prefix + joint.name
            kind = f"({type(part).__name__}) " if part is not None else ""
            reason = f" ({first_line(error)})" if part is None else ""
            raise NotAChainError(
                f"module is not a chain: step {label!r} {kind}is neither linear nor elementwise{reason}"
            ) from None

    def _inside(self, part: nn.Module, name: str) -> list[Step]:
        """The steps inside a user's module that is not elementwise as a whole: it may only reshape, or drop out."""
        try:
            return self.read(part, f"{name}.")
        except ValueError:
            raise NotAChainError(
                f"module is not a chain: step {name!r} ({type(part).__name__}) is neither linear nor elementwise"
            ) from None


def _traced(module: nn.Module) -> tuple[fx.Graph, fx.Node]:
    """The traced graph and its one input; arguments with a default are held at it."""
    parameters = list(inspect.signature(type(module).forward).parameters.values())[1:]
    fixed = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    if not required and fixed:  # forward(x=None): the first is the input
        required = [next(iter(fixed))]
        del fixed[required[0]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = _Tracer().trace(module, concrete_args=fixed or None)
    except Exception as error:  # tracing runs the user's forward, which may raise anything
        raise ValueError(f"module {type(module).__name__} cannot be traced as a chain: {first_line(error)}") from error
    inputs = [node for node in graph.nodes if node.op == "placeholder" and str(node.target) in required]
    used = [node for node in inputs if node.users]
    if len(used) > 1:
        raise NotAChainError(f"module is not a chain: it takes more than one input ({used[1].name!r})")
    if not inputs:
        raise NotAChainError("module is not a chain: its forward pass takes no input, or *args")
    return graph, used[0] if used else inputs[0]


def _side_nodes(graph: fx.Graph, main: fx.Node) -> set[fx.Node]:
    """Nodes that carry shapes, constants and fixed arguments rather than the signal."""
    side: set[fx.Node] = set()
    for node in graph.nodes:
        if node is main or node.op == "output":
            continue
        sources = node.all_input_nodes
        constant = node.op in ("placeholder", "get_attr") or not sources
        shape = (node.op == "call_method" and node.target in _SHAPE_METHODS) or (
            node.op == "call_function" and node.target is getattr and node.args[1] in _SHAPE_ATTRIBUTES
        )
        length = node.op == "call_function" and node.target in (len, operator.index)
        if constant or shape or length or all(source in side for source in sources):
            side.add(node)
    return side


def _check_output(node: fx.Node, entry: fx.Node, segment: list[fx.Node]) -> None:
    if segment or node.args[0] is not entry:
        raise NotAChainError("module is not a chain: its output is not the end of one path")


def _is_cut(entry: fx.Node, segment: list[fx.Node], side: set[fx.Node]) -> bool:
    """Whether everything after the segment comes through its last node."""
    inside = set(segment)
    for earlier in (entry, *segment[:-1]):
        if any(user not in inside and user not in side for user in earlier.users):
            return False
    return True


def _kind(node: fx.Node, part: nn.Module | None) -> str:
    if isinstance(part, _TRANSPARENT_MODULES):
        return "transparent"
    if isinstance(part, _SOFTMAX_MODULES):
        return "softmax"
    if node.op == "call_function" and node.target in _TRANSPARENT_FUNCTIONS:
        return "transparent"
    if node.op == "call_function" and node.target in _SOFTMAX_FUNCTIONS:
        return "softmax"
    if node.op == "call_method" and node.target in _TRANSPARENT_METHODS:
        return "transparent"
    if node.op == "call_method" and node.target in _SOFTMAX_METHODS:
        return "softmax"
    return "other"


def _from_torch(part: nn.Module) -> bool:
    return type(part).__module__.startswith("torch.nn")


def _evaluation(module: nn.Module, name: str, entry: fx.Node, segment: Sequence[fx.Node]) -> Callable[[Tensor], Tensor]:
    """A segment as a function of the value that enters it."""
    modules = {str(node.target): module.get_submodule(str(node.target)) for node in segment if node.op == "call_module"}
    doubled = {target: _double(part) for target, part in modules.items()}

    def value(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
        if node not in known:
            if node.op == "placeholder":
                raise ValueError("it uses another input of the module")
            known[node] = _apply(node, lambda source: value(source, known), doubled, module)
        return known[node]

    def function(z: Tensor) -> Tensor:
        known: dict[fx.Node, Any] = {entry: z.clone()}  # a step may write in place
        for node in segment:
            known[node] = _apply(node, lambda source: value(source, known), doubled, module)
        result: Tensor = known[segment[-1]]
        return result

    # The name says that no import path leads to it.
    function.__name__ = function.__qualname__ = f"<step {name}>"
    function.__module__ = type(module).__module__
    return function


def _double(part: nn.Module) -> nn.Module:
    if isinstance(part, torch.jit.ScriptModule):
        raise NotAChainError(f"module is not a chain: {type(part).__name__} is scripted, and cannot be looked into")
    return copy.deepcopy(part).double().requires_grad_(False)


def _apply(node: fx.Node, value: Callable[[fx.Node], Any], modules: dict[str, nn.Module], owner: nn.Module) -> Any:
    """The value of one traced operation."""
    if node.op == "get_attr":
        held: Any = owner
        for part in str(node.target).split("."):
            held = getattr(held, part)
        if isinstance(held, nn.Parameter):
            raise ValueError(f"it uses the parameter {str(node.target)!r} outside an nn.Linear")
        return held
    args = fx.node.map_arg(node.args, value)
    kwargs = fx.node.map_arg(node.kwargs, value)
    if node.op == "call_module":
        return modules[str(node.target)](*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    if callable(node.target):
        return node.target(*args, **kwargs)
    raise ValueError(f"operation {node.op!r} is unknown")
