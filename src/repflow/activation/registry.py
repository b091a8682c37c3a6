"""The registered activations, by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from repflow.activation.function import Activation

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def _erf_gelu(z: Tensor) -> Tensor:
    return nn.functional.gelu(z)


def _perceptron(z: Tensor) -> Tensor:
    return (z > 0).to(z.dtype)


def _digits(value: float) -> str:
    """All digits of a parameter, since the name alone goes into files: 0.2, 1, 1e-05."""
    return repr(value).removesuffix(".0")


def leaky_relu_of(slope: float) -> Activation:
    """Slope 1 for z > 0, and this one below."""

    def leaky_relu(z: Tensor) -> Tensor:
        return torch.where(z > 0, z, slope * z)

    kinks = () if slope == 1.0 else ((0.0, 1),)
    return Activation(f"leaky_relu:{_digits(slope)}", leaky_relu, kinks, (slope, 1.0))


def elu_of(alpha: float) -> Activation:
    """z for z > 0, and alpha (exp(z) - 1) below."""

    def elu(z: Tensor) -> Tensor:
        return torch.where(z > 0, z, alpha * torch.expm1(z.clamp(max=0.0)))

    return Activation(f"elu:{_digits(alpha)}", elu, ((0.0, 2 if alpha == 1.0 else 1),))


def _selu(z: Tensor) -> Tensor:
    return _SELU_SCALE * torch.where(z > 0, z, _SELU_ALPHA * torch.expm1(z.clamp(max=0.0)))


def _softplus(z: Tensor) -> Tensor:
    return torch.logaddexp(z, torch.zeros_like(z))


def _silu(z: Tensor) -> Tensor:
    return z * torch.sigmoid(z)


def _mish(z: Tensor) -> Tensor:
    return z * torch.tanh(_softplus(z))


def _gelu_tanh(z: Tensor) -> Tensor:
    # Written out: the third derivative of torch's own is NaN beyond |z| = 27.
    return 0.5 * z * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def _softsign(z: Tensor) -> Tensor:
    return z / (1.0 + z.abs())


def _hardtanh(z: Tensor) -> Tensor:
    return z.clamp(-1.0, 1.0)


def _hardswish(z: Tensor) -> Tensor:
    return z * (z + 3.0).clamp(0.0, 6.0) / 6.0


def _relu(z: Tensor) -> Tensor:
    return torch.relu(z)  # its derivative at 0 is 0, as in networks that are trained


def _monomial(power: float) -> Activation:
    if power != int(power) or power < 1:
        raise ValueError(
            f"activation monomial needs a whole power of 1 or more, got {power:g}; for example 'monomial:3'"
        )
    degree = int(power)
    if degree == 1:
        return REGISTRY["identity"]

    def monomial(z: Tensor) -> Tensor:
        return z**degree

    return Activation(f"monomial:{degree}", monomial)


#: Those without a parameter.
REGISTRY: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("identity", lambda z: z * 1.0, (), (1.0, 1.0)),
        Activation("relu", _relu, ((0.0, 1),), (0.0, 1.0)),
        Activation("abs", torch.abs, ((0.0, 1),), (-1.0, 1.0)),
        Activation("tanh", torch.tanh),
        Activation("sin", torch.sin),
        Activation("erf", torch.erf),
        Activation("arctan", torch.atan),
        Activation("gelu", _erf_gelu),
        Activation("gelu_tanh", _gelu_tanh),
        Activation("silu", _silu),
        Activation("mish", _mish),
        Activation("selu", _selu, ((0.0, 1),)),
        Activation("softplus", _softplus),
        Activation("sigmoid", torch.sigmoid),
        Activation("softsign", _softsign, ((0.0, 2),)),
        Activation("hardtanh", _hardtanh, ((-1.0, 1), (1.0, 1))),
        Activation("hardswish", _hardswish, ((-3.0, 1), (3.0, 1))),
        Activation("perceptron", _perceptron, ((0.0, 0),)),
    )
}
# Families with a parameter: the maker, and the value that the bare name stands for.
_FAMILIES: dict[str, tuple[Callable[[float], Activation], float | None]] = {
    "leaky_relu": (leaky_relu_of, 0.01),
    "elu": (elu_of, 1.0),
    "monomial": (_monomial, None),
}
_ALIASES = {"linear": "identity", "swish": "silu", "step": "perceptron", "atan": "arctan"}


def activation_names() -> tuple[str, ...]:
    """Registered names, families with a parameter included, in alphabetical order."""
    return tuple(sorted([*REGISTRY, *_FAMILIES]))


def by_name(spec: str) -> Activation:
    """The registered activation of a name, with its parameter after a colon."""
    name, colon, parameter = spec.strip().partition(":")
    name = _ALIASES.get(name, name)
    if name in _FAMILIES:
        make, default = _FAMILIES[name]
        if not colon and default is None:
            raise ValueError(f"activation {name!r} needs a parameter, for example '{name}:2'")
        try:
            value = float(parameter) if colon else float(default or 0.0)
        except ValueError:
            raise ValueError(f"activation {spec!r}: {parameter!r} is not a number") from None
        if not math.isfinite(value):
            raise ValueError(f"activation {spec!r}: the parameter must be finite")
        return make(value)
    if name not in REGISTRY:
        raise ValueError(f"activation {spec!r} is unknown; registered are {', '.join(activation_names())}")
    if colon:
        raise ValueError(f"activation {name!r} takes no parameter, got {spec!r}")
    return REGISTRY[name]
