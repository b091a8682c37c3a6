"""Activations, and arithmetic of a value with numbers, inputs, parameters and other values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from repflow.activation import Activation, as_activation, recognise
from repflow.graph.law import Law
from repflow.graph.layout import Layout, paired, whole
from repflow.graph.record import Call, Ref
from repflow.graph.refusal import Refusal
from repflow.graph.registry import Bound, kernel_rule, map_states
from repflow.graph.states import Fixed, ParameterMoments, Random, Raw, State, Unknown, as_random


@kernel_rule(
    "elementwise",
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "tanh", "sigmoid",
    "logsigmoid", "log_sigmoid", "softplus", "softsign", "hardtanh", "hardswish", "hardsigmoid", "hardshrink",
    "softshrink", "tanhshrink", "threshold", "erf", "erfc", "sin", "cos", "exp", "expm1", "log1p", "atan", "arctan",
    "sinh", "cosh", "asinh", "abs", "absolute", "square", "sign", "pow", "clamp", "clip", "clamp_min", "clamp_max",
    "sinc", "sqrt", "rsqrt", "reciprocal", "exp2", "rdiv", "rpow", "prelu", "rrelu",
)  # fmt: skip
def activation(bound: Bound) -> State:
    """An elementwise function of one value."""
    state = bound.argument(0, "input")
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    value = as_random(state)
    function = activation_of(bound)
    if value.layout.padded and bool(function(torch.zeros(1, dtype=torch.float64)).any()):
        raise Refusal("it moves padding away from zero")
    return Random(value.layout, value.law.activated(function))


def activation_of(bound: Bound) -> Activation:
    """The function of a call with everything but its first argument held fixed.

    Raises
    ------
    Refusal
        It is not elementwise or not finite, or takes another value.
    """
    function = bound.call.function
    assert function is not None

    def held(state: State) -> Any:
        if isinstance(state, Raw) and state.moments.constant:
            return torch.tensor([state.moments.mean], dtype=torch.float64)
        if not isinstance(state, Fixed) or state.tensor.numel() != 1:
            raise Refusal("it takes a second value")
        return state.tensor.item()

    rest = map_states(bound.args[1:], held)
    kwargs = {key: map_states(value, held) for key, value in bound.kwargs.items() if key not in ("input", "inplace")}
    if bound.call.operation in ("relu", "relu6", "elu", "selu", "celu", "leaky_relu", "silu", "mish", "hardtanh"):
        rest = tuple(entry for entry in rest if not isinstance(entry, bool))  # inplace

    def evaluated(z: Tensor) -> Tensor:
        result: Tensor = function(z.clone(), *rest, **kwargs)
        return result

    evaluated.__name__ = evaluated.__qualname__ = f"<{bound.call.operation}>"
    try:
        return recognise(as_activation(evaluated))
    except (ValueError, TypeError) as error:
        raise Refusal(f"it cannot be integrated: {error}") from None


def _arithmetic_kind(call: Call, origin: Callable[[Ref], str]) -> str:
    kinds = [origin(entry) for entry in (*call.args, *call.kwargs.values()) if isinstance(entry, Ref)]
    values = sum(kind != "constant" for kind in kinds)
    if values < 2:
        return "elementwise"
    if call.operation == "mul" and sorted(kinds) == ["input", "parameter"]:
        return "embedding"  # of a number: a row of weights times a feature
    return "add" if call.operation in ("add", "sub", "rsub") else "multiply"


def _added_product_kind(call: Call, origin: Callable[[Ref], str]) -> str:
    factors = sorted(origin(entry) for entry in call.args[1:3] if isinstance(entry, Ref))
    return "embedding" if factors == ["input", "parameter"] else "add"


@kernel_rule(_arithmetic_kind, "add", "sub", "rsub")
def addition(bound: Bound) -> State:
    """a + alpha b: independent summands add their kernels, correlated ones also their cross-kernels."""
    left, right = bound.argument(0, "input"), bound.argument(1, "other")
    alpha = bound.argument(2, "alpha", 1)
    signs = {"rsub": (-alpha, 1.0)}.get(bound.call.operation, (1.0, alpha if bound.call.operation == "add" else -alpha))
    return combined(bound, left, signs[0], right, signs[1])


def combined(bound: Bound, left: Any, first: float, right: Any, second: float) -> State:
    """first * left + second * right."""
    shape = bound.shapes[0]
    parts = [(_plain(part), factor) for part, factor in ((left, first), (right, second))]
    random = [(part, factor) for part, factor in parts if not isinstance(part, (float, Tensor))]
    if len(random) == 2:
        a, b = (_times(as_random(part), factor) for part, factor in random)
        layout, pa, pb = paired(_wide(a.layout, shape), _wide(b.layout, shape), shape)
        return Random(layout, a.law.take(pa).plus(b.law.take(pb)))
    value = _times(as_random(random[0][0]), random[0][1])
    other, factor = next((part, f) for part, f in parts if isinstance(part, (float, Tensor)))
    if isinstance(other, float):
        return Random(
            value.layout, value.law.shifted(torch.full((value.law.size,), factor * other, dtype=torch.float64))
        )
    layout, points, numbers = _with_numbers(value, factor * other, shape)
    if numbers is not None:
        return Random(layout, value.law.take(points).shifted(numbers))
    given = as_random(Fixed((factor * other).expand(shape)), value.layout.axis)
    layout, pa, pb = paired(_wide(value.layout, shape), given.layout, shape)
    return Random(layout, value.law.take(pa).plus(given.law.take(pb)))


@kernel_rule(_arithmetic_kind, "mul", "div")
def multiplication(bound: Bound) -> State:
    """a b, or a / b for a number or a fixed b."""
    left, right = _plain(bound.argument(0, "input")), _plain(bound.argument(1, "other"))
    if bound.call.operation == "div":
        if not isinstance(right, (float, Tensor)) or bound.kwargs.get("rounding_mode"):
            raise Refusal("it divides by a random value")
        right = 1.0 / right
    return multiplied(left, right, bound.shapes[0])


@kernel_rule(_added_product_kind, "addcmul")
def added_product(bound: Bound) -> State:
    """a + value b c."""
    first, second = (_plain(bound.argument(k, name)) for k, name in ((1, "tensor1"), (2, "tensor2")))
    shape = bound.shapes[0]
    product: State
    if isinstance(first, (float, Tensor)) and isinstance(second, (float, Tensor)):
        product = Fixed(torch.as_tensor(first * second, dtype=torch.float64))
    else:
        product = multiplied(first, second, shape)
    return combined(bound, bound.argument(0, "input"), 1.0, product, bound.kwargs.get("value", 1))


def multiplied(left: Any, right: Any, shape: tuple[int, ...]) -> State:
    """The product of two values, not both of them numbers, broadcast to a shape."""
    if isinstance(left, (float, Tensor)):
        left, right = right, left
    assert isinstance(left, (Raw, Random))
    if isinstance(right, float):
        return _times(as_random(left), right)
    if isinstance(right, Tensor):
        value = as_random(left)
        layout, points, numbers = _with_numbers(value, right, shape)
        if numbers is None:
            if not value.law.constant:
                raise Refusal("it multiplies by an input that differs between channels")
            points, _ = _wide(value.layout, shape).entries()  # a gain of ones that a number was added to
            return Fixed(right * torch.where(points < 0, 0.0, value.law.offset[points]))
        return Random(layout, value.law.take(points).scaled(numbers))
    if isinstance(left, Raw):
        left, right = right, left
    if isinstance(right, Raw) and isinstance(left, Random) and _one_a_channel(right, left.layout):
        return Random(_wide(left.layout, shape), affine(left.law, right.moments, None))
    a, b = as_random(left), as_random(right)
    layout, pa, pb = paired(_wide(a.layout, shape), _wide(b.layout, shape), shape)
    return Random(layout, a.law.take(pa).times(b.law.take(pb)))


@kernel_rule("elementwise", "masked_fill")
def masked_fill(bound: Bound) -> State:
    """A number at some positions, the value at the others."""
    state, mask, number = bound.argument(0, "input"), bound.argument(1, "mask"), _plain(bound.argument(2, "value"))
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    if not isinstance(mask, Fixed) or not isinstance(number, float):
        raise Refusal("its mask or its number is random")
    value = as_random(state)
    layout, points, filled = _with_numbers(value, mask.tensor.double(), bound.shapes[0])
    if filled is None:
        raise Refusal("its mask differs between channels")
    kept = value.law.take(points).scaled(1.0 - filled)
    return Random(layout, kept.shifted(number * filled) if number else kept)


@kernel_rule("elementwise", "neg", "negative")
def negative(bound: Bound) -> State:
    """-a."""
    return _times(as_random(bound.argument(0, "input")), -1.0)


def affine(law: Law, weight: ParameterMoments | None, bias: ParameterMoments | None) -> Law:
    """gamma_c h + beta_c with one number a channel, as they are: equal ones keep the form, others leave the moments.

    E[(gamma h + beta)_p (gamma h + beta)_q] = <gamma^2> E[h_p h_q] + <gamma> <beta> (E h_p + E h_q) + <beta^2>.
    """
    ones = torch.ones(law.size, dtype=torch.float64)
    if weight is not None and weight.constant:
        law = law if weight.mean == 1 else law.scaled(weight.mean * ones)
        weight = None
    if bias is not None and bias.constant and weight is None:
        return law.shifted(bias.mean * ones) if bias.mean else law
    if weight is None and bias is None:
        return law
    gain = weight or ParameterMoments(1.0, 1.0, True)
    shift = bias or ParameterMoments(0.0, 0.0, True)
    second = gain.mean_square * law.second + shift.mean_square
    if law.centred:
        return law.with_moments(second, torch.full((law.size,), shift.mean, dtype=torch.float64))
    if not shift.mean and law.only is not None and law.only.mean is None:
        return law.with_moments(second, None)
    mean = gain.mean * law.mean
    return law.with_moments(second + shift.mean * (mean[:, None] + mean), mean + shift.mean)


def _plain(state: Any) -> float | Tensor | Raw | Random:
    """A number, a fixed tensor, a parameter or a random value."""
    if isinstance(state, Unknown):
        raise Refusal(state.reason)
    if isinstance(state, Fixed):
        return float(state.tensor) if state.tensor.numel() == 1 and state.tensor.ndim == 0 else state.tensor.double()
    if isinstance(state, Raw) and state.moments.constant:
        return float(state.moments.mean) if len(state.shape) == 0 or set(state.shape) == {1} else state
    if isinstance(state, (Raw, Random)):
        return state
    return float(state)


def _times(value: Random, factor: float) -> Random:
    if factor == 1:
        return value
    return Random(value.layout, value.law.scaled(torch.full((value.law.size,), float(factor), dtype=torch.float64)))


def _wide(layout: Layout, shape: tuple[int, ...]) -> Layout:
    """The layout broadcast to a shape."""
    if layout.shape == shape:
        return layout
    points, channels = (part.expand(shape) for part in layout.entries())
    return whole(points, channels)


def _one_a_channel(raw: Raw, layout: Layout) -> bool:
    """Whether a parameter has one entry a channel, the same at every position, or one for all."""
    if raw.moments.constant or layout.axis is None:
        return raw.moments.constant
    behind = len(layout.shape) - layout.axis
    return all(size == 1 or len(raw.shape) - axis == behind for axis, size in enumerate(raw.shape))


def _with_numbers(value: Random, tensor: Tensor, shape: tuple[int, ...]) -> tuple[Layout, Tensor, Tensor | None]:
    """A value beside one number a point: the common layout, the value's points at its points, and the numbers.

    The numbers are None where they differ between channels.
    """
    layout = _wide(value.layout, shape)
    if bool((tensor == tensor.flatten()[0]).all()):
        number = torch.full((value.law.size,), float(tensor.flatten()[0]), dtype=torch.float64)
        return layout, torch.arange(value.law.size), number
    wide = tensor.expand(shape)
    if layout.axis is None or layout.index is None:
        points, channels = layout.entries()
        pairs, back = torch.unique(torch.stack([points.double().flatten(), wide.flatten()]), dim=1, return_inverse=True)
        return whole(back.reshape(shape), channels), pairs[0].long(), pairs[1]
    along = wide.movedim(layout.axis, -1)
    if not bool((along == along[..., :1]).all()):
        return layout, torch.arange(value.law.size), None
    pairs, back = torch.unique(torch.stack([layout.flat.double(), along[..., 0].flatten()]), dim=1, return_inverse=True)
    return Layout(shape, layout.axis, back.reshape(layout.rows)), pairs[0].long(), pairs[1]
