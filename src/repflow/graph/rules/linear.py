"""Linear maps and convolutions: fresh Gaussian weights make a Gaussian function with K = C_b + C_W <s s>.

<s s> is the mean over the entries that are summed: over channels at one point, or also over the positions that a patch
or a flattened image holds, each paired with itself.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from repflow.graph.averages import averaged
from repflow.graph.gaussian import Source
from repflow.graph.law import Law
from repflow.graph.layout import features, from_labels, grouped, rows_layout
from repflow.graph.record import Call, Ref
from repflow.graph.refusal import Refusal
from repflow.graph.registry import Bound, kernel_rule
from repflow.graph.states import Fixed, Random, Raw, State, Unknown, as_random, parameter


def _weight(state: object) -> Raw:
    if not isinstance(state, Raw):
        raise Refusal("its weight is not a parameter but computed from others")
    return state


def _fresh(raw: Raw, fan_in: int, gram: Tensor, bias: object, upstream: frozenset[str]) -> Law:
    if raw.name in upstream:
        raise Refusal(f"its weights {raw.name!r} are used before on the way to it")
    shift = parameter(bias, "bias")
    kernel = raw.moments.mean_square * fan_in * gram + (shift.mean_square if shift else 0.0)
    return Law.gaussian(Source(raw.name, kernel), upstream)


def applied(state: State, raw: Raw, bias: object, fan_in: int, n_out: int) -> Random:
    """Weights over the last axis of a value."""
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    if isinstance(state, Fixed):
        rows = tuple(state.tensor.shape[:-1])
        x = state.tensor.double().reshape(-1, fan_in)
        gram, upstream = x @ x.T / fan_in, frozenset[str]()
    else:
        value = as_random(state)
        rows, points, weights = features(value.layout, -1)
        gram, upstream = averaged(value.law, points, weights), value.law.upstream
    return Random(rows_layout(rows, n_out, len(rows)), _fresh(raw, fan_in, gram, bias, upstream))


@kernel_rule("linear", "linear")
def linear(bound: Bound) -> State:
    """``linear(x, weight, bias)``."""
    raw = _weight(bound.argument(1, "weight"))
    return applied(bound.argument(0, "input"), raw, bound.argument(2, "bias"), raw.shape[-1], math.prod(raw.shape[:-1]))


def _product_kind(call: Call, origin: object) -> str:
    assert callable(origin)
    held = [*call.args, *call.kwargs.values()]
    entries = [one for entry in held for one in (entry if isinstance(entry, (tuple, list)) else (entry,))]
    kinds = [origin(entry) for entry in entries if isinstance(entry, Ref)]
    return "linear" if "parameter" in kinds else "attention"


@kernel_rule(_product_kind, "matmul", "mm", "rmatmul", "bmm")
def product(bound: Bound) -> State:
    """``x @ W`` with a parameter W; a product of two values has no rule."""
    left, right = bound.argument(0, "input"), bound.argument(1, "other", bound.argument(1, "mat2"))
    if bound.call.operation == "rmatmul":
        left, right = right, left
    if not isinstance(right, Raw) or isinstance(left, Raw) or len(right.shape) != 2:
        raise Refusal("it multiplies two values with each other")
    return applied(left, right, None, right.shape[0], right.shape[1])


@kernel_rule(_product_kind, "einsum")
def contraction(bound: Bound) -> State:
    """``einsum("...d,hd->...h", x, W)``: one index of x is summed with a parameter of two."""
    equation, operands = bound.args[0], bound.args[1:]
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    sides = str(equation).replace(" ", "").replace("...", "_").split("->")
    names = sides[0].split(",")
    if len(operands) == 2 and len(names) == 2 and isinstance(operands[0], Raw):
        operands, names = operands[::-1], names[::-1]
    if len(sides) != 2 or len(names) != 2 or not isinstance(operands[1], Raw) or len(operands[1].shape) != 2:
        raise Refusal("it multiplies two values with each other")
    shared = names[0][-1]
    made = names[1].replace(shared, "")
    if len(names[1]) != 2 or len(made) != 1 or made in names[0] or sides[1] != names[0][:-1] + made:
        raise Refusal("it is not a linear map of the last axis")
    place = names[1].index(shared)
    return applied(operands[0], operands[1], None, operands[1].shape[place], operands[1].shape[1 - place])


@kernel_rule("linear", "addmm")
def addmm(bound: Bound) -> State:
    """``torch.addmm(bias, x, W)``."""
    raw = bound.argument(2, "mat2")
    if not isinstance(raw, Raw) or bound.kwargs.get("beta", 1) != 1 or bound.kwargs.get("alpha", 1) != 1:
        raise Refusal("it multiplies two values with each other")
    return applied(bound.argument(1, "mat1"), raw, bound.argument(0, "input"), raw.shape[0], raw.shape[1])


def _pair(value: object, count: int) -> list[int]:
    if isinstance(value, int):
        return [value] * count
    found = [int(v) for v in value]  # type: ignore[attr-defined]
    return found * count if len(found) == 1 else found


@kernel_rule("convolution", "conv1d", "conv2d")
def convolution(bound: Bound) -> State:
    """A convolution is a linear map of every patch: K_{(a,p)(b,q)} = C_b + C_W mean_o <s_{a,p+o} s_{b,q+o}>.

    The same holds for groups of channels, of which only the second moment is Gaussian's.
    """
    raw = _weight(bound.argument(1, "weight"))
    stride, padding, dilation = (
        bound.argument(position, name, default)
        for position, name, default in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    )
    dims = len(raw.shape) - 2
    kernel = list(raw.shape[2:])
    strides, dilations = _pair(stride, dims), _pair(dilation, dims)
    if padding == "valid":
        padding = 0
    if padding == "same":
        around = []
        for size, step in zip(kernel, dilations, strict=True):
            whole = step * (size - 1)
            around.append((whole // 2, whole - whole // 2))
    else:
        around = [(size, size) for size in _pair(padding, dims)]
    state = bound.argument(0, "input")
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    if isinstance(state, Raw):
        state = as_random(state)
    tensor = state.tensor.double() if isinstance(state, Fixed) else state.layout.labels()
    if tensor.ndim != dims + 2:
        raise Refusal("it convolves a single input without a batch axis")
    tensor = functional.pad(tensor, [size for pair in reversed(around) for size in pair])
    if dims == 1:
        tensor, kernel = tensor.unsqueeze(2), [1, *kernel]
        strides, dilations = [1, *strides], [1, *dilations]
    patches = functional.unfold(tensor, tuple(kernel), tuple(dilations), 0, tuple(strides)).transpose(1, 2)
    patches = patches.reshape(-1, patches.shape[-1])
    fan_in = math.prod(raw.shape[1:])
    if isinstance(state, Fixed):
        gram, upstream = patches @ patches.T / fan_in, frozenset[str]()
    else:
        layout, _ = from_labels(patches)
        points, weights = grouped(*layout.entries())
        gram, upstream = averaged(state.law, points, weights), state.law.upstream
    out = bound.shapes[0]
    law = _fresh(raw, fan_in, gram, bound.argument(2, "bias"), upstream)
    if bound.argument(6, "groups", 1) != 1:  # a channel is a sum over few channels: two moments, and no Gaussian
        law = law.moments_only()
    return Random(rows_layout((out[0], *out[2:]), out[1], 1), law)
