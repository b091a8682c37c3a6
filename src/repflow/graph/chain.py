"""Reading a chain of linear and elementwise layers out of an ``nn.Module``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from repflow.activation import Activation, as_activation, recognise
from repflow.graph.steps import NotAChainError, Softmax, Step, read_steps
from repflow.isolation import random_state_kept
from repflow.network import Layer, Network


@dataclass(frozen=True)
class ChainLayer:
    """One linear layer of a module and the activation behind it.

    Attributes
    ----------
    name
        Qualified name of the ``nn.Linear``.
    linear
        The module itself.
    activation
        What follows it; identity where the next layer follows at once, None behind the last layer.
    """

    name: str
    linear: nn.Linear
    activation: Activation | None

    @property
    def has_bias(self) -> bool:
        """Whether the layer has biases."""
        return self.linear._parameters.get("bias") is not None


@dataclass(frozen=True)
class Chain:
    """A module as a chain.

    Attributes
    ----------
    layers
        In order of execution.
    notes
        What was left out of account, in words.
    """

    layers: tuple[ChainLayer, ...]
    notes: tuple[str, ...] = ()

    @property
    def widths(self) -> tuple[int, ...]:
        """(n_0, ..., n_L)."""
        return (self.layers[0].linear.in_features, *(layer.linear.out_features for layer in self.layers))

    @property
    def activations(self) -> tuple[Activation, ...]:
        """Of the hidden layers."""
        return tuple(layer.activation for layer in self.layers[:-1] if layer.activation is not None)

    @property
    def on_meta(self) -> bool:
        """Whether a layer has no data yet (torch's meta device)."""
        return any(parameter.is_meta for layer in self.layers for parameter in layer.linear.parameters())

    def network(self) -> Network:
        """The network with C_W and C_b read off the weights as they are: mean square times fan-in, and mean square.

        Raises
        ------
        ValueError
            A layer is on the meta device, or holds a NaN or an infinity.
        """
        if self.on_meta:
            raise ValueError("module is on the meta device: it has no weights to read C_W and C_b from")
        layers = []
        for number, layer in enumerate(self.layers):
            linear = layer.linear
            weight = mean_square(linear.weight)
            bias = mean_square(linear.bias) if layer.has_bias else 0.0
            if not (math.isfinite(weight) and math.isfinite(bias)):
                raise ValueError(f"module has a NaN or an infinity in the parameters of {layer.name or 'the layer'!r}")
            layers.append(
                Layer(
                    linear.in_features,
                    linear.out_features,
                    weight * linear.in_features,
                    bias,
                    lambda_b=1.0 if layer.has_bias else 0.0,
                    activation=layer.activation if number < len(self.layers) - 1 else None,
                )
            )
        return Network(tuple(layers))


def mean_square(tensor: Tensor) -> float:
    """Of the entries, summed in float64 without a float64 copy of the tensor."""
    if not tensor.numel():
        return 0.0
    norm = torch.linalg.vector_norm(tensor.detach().flatten(), dtype=torch.float64)
    return float(norm) ** 2 / tensor.numel()


def read_chain(module: nn.Module) -> Chain:
    """The linear layers and activations of a module in order, if it is a chain of them.

    The module is traced symbolically: no data are passed through, and nothing of it changes.

    Raises
    ------
    TypeError
        ``module`` is not an ``nn.Module``.
    ValueError
        It is not a chain: the message names the first step that is neither linear nor elementwise.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be an nn.Module, got {type(module).__name__}")
    notes: list[str] = []
    with random_state_kept():
        if type(module) is nn.Linear:
            steps = [Step("", module)]
        else:
            steps, notes = read_steps(module)
        return _as_chain(steps, notes)


def rows_of(x: Any, n_in: int, name: str = "x") -> Tensor:
    """A batch as a matrix (N, n_0): flattened from the second axis on, or, where only the last axis fits, position by
    position.

    Parameters
    ----------
    x
        A tensor or array (N, ...), a tuple of one (arguments), or a dictionary of one (keywords).
    n_in
        n_0.
    name
        Of the argument, for messages.

    Raises
    ------
    ValueError, TypeError
        It is none of these, has no rows, or another size.
    """
    if isinstance(x, (tuple, dict)):
        held = list(x.values()) if isinstance(x, dict) else list(x)
        held = [entry for entry in held if entry is not None]
        if len(held) != 1:
            raise ValueError(f"{name} must hold one tensor, since a chain takes one input, got {len(held)}")
        x = held[0]
    try:
        tensor = x.detach() if isinstance(x, Tensor) else torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a tensor or array of numbers, got {type(x).__name__}") from None
    if tensor.ndim < 2:
        raise ValueError(f"{name} must be a batch of shape (N, ...), got shape {tuple(tensor.shape)}")
    if not tensor.numel():
        raise ValueError(f"{name} must have at least one row and one column, got shape {tuple(tensor.shape)}")
    flat = tensor.flatten(1)
    if flat.shape[1] == n_in:
        return flat
    if tensor.shape[-1] == n_in:
        return tensor.flatten(0, -2)
    raise ValueError(f"{name} must have {n_in} values a row, as the first layer takes, got shape {tuple(tensor.shape)}")


def _as_chain(steps: list[Step], notes: list[str]) -> Chain:
    if not any(isinstance(step.what, nn.Linear) for step in steps):
        raise NotAChainError("module has no nn.Linear; a chain of linear and elementwise layers is needed")
    layers: list[tuple[str, nn.Linear, list[Step]]] = []
    for step in steps:
        if isinstance(step.what, nn.Linear):
            _check_linear(step.name, step.what, layers[-1] if layers else None)
            layers.append((step.name, step.what, []))
        elif not layers:
            raise NotAChainError(
                f"module is not a chain of linear layers: {step.name!r} comes before the first nn.Linear"
            )
        else:
            layers[-1][2].append(step)
    found = []
    for number, (name, linear, behind) in enumerate(layers):
        last = number == len(layers) - 1
        for step in behind:
            if isinstance(step.what, Softmax) and not last:
                raise NotAChainError(
                    f"module is not a chain: step {step.name!r} is a softmax, neither linear nor elementwise"
                )
        if last and behind:
            names = ", ".join(map(_label, behind))
            notes.append(f"{names} behind the last linear layer is left out: the output is taken before it")
        activations = [step.what for step in behind if isinstance(step.what, Activation)]
        found.append(ChainLayer(name, linear, None if last else _compose(activations)))
    return Chain(tuple(found), tuple(notes))


def _label(step: Step) -> str:
    """A step's name, and what it is where that says more."""
    assert isinstance(step.what, (Activation, Softmax))
    registered = isinstance(step.what, Softmax) or step.what.registered
    return f"{step.name} ({step.what.name})" if registered and step.what.name != step.name else step.name


def _check_linear(name: str, linear: nn.Linear, before: tuple[str, nn.Linear, list[Step]] | None) -> None:
    for kind in ("weight", "bias"):
        held = linear._parameters.get(kind)  # not getattr: to look at a spectral norm's weight updates its buffers
        if kind not in linear._parameters:
            raise NotAChainError(
                f"module is not a chain: {kind} of {name!r} is computed from other parameters (a parametrisation)"
            )
        if isinstance(held, nn.UninitializedParameter):
            raise NotAChainError(f"module has a lazy layer {name!r}: pass a batch through it once first")
    if before is not None and before[1].out_features != linear.in_features:
        raise NotAChainError(
            f"module is not a chain: {name!r} takes {linear.in_features} values, {before[0]!r} gives "
            f"{before[1].out_features}"
        )


def _compose(activations: list[Activation]) -> Activation:
    if not activations:
        return as_activation("identity")
    if len(activations) == 1:
        return activations[0]

    def composed(z: Tensor) -> Tensor:
        for activation in activations:
            z = activation(z)
        return z

    composed.__name__ = composed.__qualname__ = "<" + " then ".join(activation.name for activation in activations) + ">"
    return recognise(as_activation(composed))
