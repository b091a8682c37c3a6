"""Activations as modules, and models built from them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from repflow.activation import Activation, ActivationLike

_MODULES: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
}
_WITH_PARAMETER: dict[str, Callable[[float], nn.Module]] = {"elu": nn.ELU, "leaky_relu": nn.LeakyReLU}


def module_names() -> tuple[str, ...]:
    """Registered activations that torch has a module for, by name."""
    return tuple(sorted([*_MODULES, *_WITH_PARAMETER]))


class Elementwise(nn.Module):
    """An activation that torch has no module for.

    Parameters
    ----------
    function
        Applied to every element.
    name
        For ``repr``.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], name: str) -> None:
        super().__init__()
        self.function = function
        self.name = name

    def forward(self, z: Tensor) -> Tensor:
        """Of a tensor of any shape."""
        return self.function(z)

    def extra_repr(self) -> str:
        """The activation's name."""
        return self.name


def activation_module(activation: Activation, given: ActivationLike | None = None) -> nn.Module:
    """A new module: torch's own where there is one.

    Parameters
    ----------
    activation
        What it computes.
    given
        What the user gave for it: a module of one's own is copied.
    """
    if activation.registered:
        name, _, parameter = activation.name.partition(":")
        if name in _WITH_PARAMETER:
            return _WITH_PARAMETER[name](float(parameter))
        if name in _MODULES:
            return _MODULES[name]()
    if isinstance(given, nn.Module):
        return copy.deepcopy(given)
    plain = given if callable(given) and not isinstance(given, Activation) else activation.function
    return Elementwise(plain, activation.name)


def chain_of(widths: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """``nn.Linear`` layers of widths (n_0, ..., n_L), initialised by torch, with a new activation between any two."""
    parts: list[nn.Module] = []
    for n_in, n_out in pairwise(widths[:-1]):
        parts += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1]))
