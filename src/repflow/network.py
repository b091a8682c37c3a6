"""A multilayer perceptron as plain data: what the theory, the ensemble and the tuner are all given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from repflow.activation import Activation, ActivationLike, activation_from_dict


@dataclass(frozen=True)
class Layer:
    """One weight layer, z_i = b_i + sum_j W_ij s_j, with the activation that leaves it.

    Attributes
    ----------
    n_in, n_out
        Fan-in n_{l-1} and number of neurons n_l.
    C_W, C_b
        Var W_ij = C_W / n_in and Var b_i = C_b, both Gaussian with mean zero.
    lambda_W, lambda_b
        Learning-rate tensor: weights learn at lambda_W / n_in, biases at lambda_b (PDLT equation 8.6).
    activation
        sigma applied to this layer's preactivations; ``None`` for the output layer.
    """

    n_in: int
    n_out: int
    C_W: float = 1.0
    C_b: float = 0.0
    lambda_W: float = 1.0
    lambda_b: float = 1.0
    activation: Activation | None = None

    def __post_init__(self) -> None:
        for name in ("n_in", "n_out"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
        for name in ("C_W", "C_b", "lambda_W", "lambda_b"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be finite and not negative, got {value!r}")
            object.__setattr__(self, name, float(value))


@runtime_checkable
class LayerMaps(Protocol):
    """All that :func:`repflow.flow` asks of what it is given: a chain of layers."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers 1..L."""
        ...

    @property
    def depth(self) -> int:
        """L."""
        ...

    @property
    def widths(self) -> tuple[int, ...]:
        """(n_0, ..., n_L)."""
        ...


Kernels_co = TypeVar("Kernels_co", covariant=True)


@runtime_checkable
class NodeMaps(Protocol[Kernels_co]):
    """What gives its kernels itself, node by node at order 0: all that :func:`repflow.flow` knows of a graph."""

    def kernels(self, x: Any, measure: Any = None) -> Kernels_co:
        """The infinite-width kernel of every node on ``x``; ``measure`` gives those that no rule covers."""
        ...

    def as_chain(self, x: Any) -> tuple[LayerMaps, Any]:
        """The same as a chain of layers, and ``x`` as its inputs; ValueError where it is none, with the reason."""
        ...


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron: layers 1..L, every one but the last followed by its activation.

    Attributes
    ----------
    layers
        The weight layers in order; ``layers[l - 1]`` is layer l.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers must hold at least one layer")
        for number, (layer, following) in enumerate(zip(self.layers, self.layers[1:], strict=False), start=1):
            if layer.n_out != following.n_in:
                raise ValueError(
                    f"layers: layer {number} has n_out={layer.n_out} but layer {number + 1} has n_in={following.n_in}"
                )
            if layer.activation is None:
                raise ValueError(f"layers: layer {number} is hidden and needs an activation")
        if self.layers[-1].activation is not None:
            raise ValueError("layers: the last layer is the output and takes no activation")

    @property
    def depth(self) -> int:
        """L, the number of weight layers."""
        return len(self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """(n_0, ..., n_L): inputs, hidden widths, outputs."""
        return (self.layers[0].n_in, *(layer.n_out for layer in self.layers))

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases; biases count whether or not C_b is 0."""
        return sum(layer.n_out * (layer.n_in + 1) for layer in self.layers)

    @property
    def aspect_ratio(self) -> float:
        """L/n, the emergent expansion parameter: the sum of 1/n_l over hidden layers, (L - 1)/n at equal widths."""
        return sum(1.0 / layer.n_out for layer in self.layers[:-1])

    @property
    def activations(self) -> tuple[Activation, ...]:
        """Activation of each hidden layer."""
        return tuple(layer.activation for layer in self.layers if layer.activation is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "layers": [
                {
                    "n_in": layer.n_in,
                    "n_out": layer.n_out,
                    "C_W": layer.C_W,
                    "C_b": layer.C_b,
                    "lambda_W": layer.lambda_W,
                    "lambda_b": layer.lambda_b,
                    "activation": None if layer.activation is None else layer.activation.to_dict(),
                }
                for layer in self.layers
            ]
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], activations: Mapping[str, ActivationLike] | None = None) -> Network:
        """Read what :meth:`to_dict` wrote; ``activations`` has callables that cannot be imported, by saved name."""
        layers = []
        for entry in data["layers"]:
            fields = dict(entry)
            saved = fields.pop("activation")
            activation = None if saved is None else activation_from_dict(saved, activations)
            layers.append(Layer(**fields, activation=activation))
        return cls(tuple(layers))

    def __repr__(self) -> str:
        names = list(dict.fromkeys(activation.name for activation in self.activations)) or ["none"]
        return (
            f"Network(depth={self.depth}, widths={_short(self.widths)}, activation={'/'.join(names)}, "
            f"C_W={_short([layer.C_W for layer in self.layers])}, C_b={_short([layer.C_b for layer in self.layers])})"
        )


def _short(values: Sequence[float]) -> str:
    """A list with runs of equal values folded: 64-128x3-10."""
    parts: list[tuple[str, int]] = []
    for value in values:
        text = f"{value:.6g}"
        if parts and parts[-1][0] == text:
            parts[-1] = (text, parts[-1][1] + 1)
        else:
            parts.append((text, 1))
    return "-".join(text if count == 1 else f"{text}x{count}" for text, count in parts)
