"""Functions that move entries without changing them: applied, as they are, to a tensor of labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from repflow.graph.arguments import map_tensors
from repflow.graph.joining import joined
from repflow.graph.law import Law
from repflow.graph.layout import Layout, from_labels
from repflow.graph.refusal import Refusal
from repflow.graph.registry import Bound, kernel_rule, states_in
from repflow.graph.states import Fixed, Random, Raw, State, Unknown, as_random, drawn, raw_layout

_JOINS = ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack")
_TRANSPOSES = ("t", "T", "mT", "transpose", "swapaxes", "permute")


@kernel_rule(
    "reshape", "contiguous", "clone", "detach", "to", "type", "type_as", "float", "double", "half", "bfloat16", "cpu",
    "cuda", "alias", "requires_grad", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "feature_dropout", "feature_alpha_dropout",
)  # fmt: skip
def passed(bound: Bound) -> State:
    """What passes its input on, in another number format or at another place."""
    state = bound.args[0]
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    assert isinstance(state, (Fixed, Random, Raw))
    return state


@kernel_rule(
    "reshape", "view", "reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "permute", "transpose", "t",
    "T", "mT", "swapaxes", "movedim", "moveaxis", "expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave",
    "tile", "chunk", "split", "tensor_split", "unbind", "getitem", "select", "narrow", "index_select", "roll", "flip",
    "pad", "view_as", "reshape_as", "unfold", "pixel_shuffle", "pixel_unshuffle", "diagonal", *_JOINS,
)  # fmt: skip
def moves(bound: Bound) -> Sequence[State]:
    """Entries at new places; several results for functions that split."""
    _check_padding(bound)
    if bound.call.operation in _TRANSPOSES and isinstance(bound.args[0], Raw) and len(bound.args[0].shape) == 2:
        raw = bound.args[0]
        return [Raw(raw.name, raw.shape[::-1], raw.moments, not raw.transposed)]
    joins = bound.call.operation in _JOINS
    held = {id(s): s for s in states_in((bound.args, bound.kwargs)) if joins or not isinstance(s, Fixed)}
    operands = [s for s in held.values() if not isinstance(s, Fixed) or s.tensor.numel()]
    unknown = next((s for s in operands if isinstance(s, Unknown)), None)
    if unknown is not None:
        raise Refusal(unknown.reason)
    if len(operands) == 1 and isinstance(operands[0], Raw):
        return _of_parameter(bound, operands[0])
    axis = next((s.layout.axis for s in operands if isinstance(s, Random)), None)
    values = {id(s): as_random(s, axis) for s in operands}
    offsets, total = {}, 0
    for key, value in values.items():
        offsets[key] = total
        total += value.law.size
    law = joined([value.law for value in values.values()]) if len(values) > 1 else next(iter(values.values())).law

    def labels(state: State) -> Tensor:
        if id(state) in values:
            return values[id(state)].layout.labels(offsets[id(state)])
        assert isinstance(state, Fixed)
        return state.tensor if state.tensor.numel() else state.tensor.double()  # an empty cache

    found: list[State] = []
    for tensor in _results(bound.evaluate(labels)):
        layout, block = from_labels(tensor)
        of_block = law
        if block is not None and block != (0, _channels(values)):
            of_block = law.sliced(*block)
        found.append(_with_zero(Random(layout, of_block)))
    return found


def _with_zero(value: Random) -> Random:
    """Rows of padding as one more point, where the function is zero until something is added to it."""
    layout, law = value.layout, value.law
    if layout.index is None or not layout.padded:
        return value
    index = torch.where(layout.index < 0, law.size, layout.index)
    return Random(Layout(layout.shape, layout.axis, index), joined([law, Law(1)]))


def _of_parameter(bound: Bound, raw: Raw) -> Sequence[State]:
    """Parts of a parameter: only the rows that are used get points."""
    layout = raw_layout(raw)
    found: list[State] = []
    for tensor in _results(bound.evaluate(lambda s: layout.labels() if s is raw else s.tensor)):  # type: ignore[union-attr]
        part, _ = from_labels(tensor)
        if part.axis is None or part.index is None:
            raise Refusal(f"it uses the parameter {raw.name!r} in a way that has no kernel")
        used, index = torch.unique(part.index, return_inverse=True)
        found.append(Random(type(part)(part.shape, part.axis, index), drawn(raw, len(used))))
    return found


def _channels(values: dict[int, Random]) -> int | None:
    """Number of channels along the common channel axis."""
    widths = {value.layout.shape[value.layout.axis] for value in values.values() if value.layout.axis is not None}
    return widths.pop() if len(widths) == 1 else None


def _results(result: object) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(result, found.append)
    return found


def _check_padding(bound: Bound) -> None:
    constant = bound.call.operation == "pad" and bound.argument(2, "mode", "constant") == "constant"
    if constant and bound.argument(3, "value") not in (None, 0, 0.0):
        raise Refusal("it pads with a number that is not zero")
