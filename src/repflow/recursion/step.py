"""One step of the whole recursion: what is carried from layer to layer, at the orders asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from repflow.activation import Activation
from repflow.network import Layer
from repflow.recursion.differentials import Differentials, first_differentials, next_differentials
from repflow.recursion.expectations import DIFFERENTIALS, FLUCTUATIONS, LayerExpectations
from repflow.recursion.forward import State, first_layer, next_layer
from repflow.recursion.second_order import NeuronExpectations, SecondOrder, first_second_order, next_second_order
from repflow.recursion.tangent import Tangent, first_tangent, next_tangent


@dataclass(frozen=True)
class Wanted:
    """What a flow computes.

    Attributes
    ----------
    order
        0, 1 or 2.
    tangent
        The NTK, and from order 1 on its mean and its fluctuations at order 1.
    differentials
        The dNTK and ddNTK at order 1.
    """

    order: int
    tangent: bool
    differentials: bool


@dataclass
class Statistics:
    """All that is known of one layer."""

    forward: State
    tangent: Tangent | None = None
    differentials: Differentials | None = None
    second: SecondOrder | None = None

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """What was computed, each with its name."""
        forward = self.forward
        named = [("kernel", forward.kernel), ("vertex", forward.vertex), ("kernel correction", forward.correction)]
        named.append(("NTK", forward.ntk))
        if self.second is not None:
            named += [("six-point vertex", self.second.sextic), ("vertex correction", self.second.vertex_correction)]
            named.append(("second kernel correction", self.second.correction))
        if self.tangent is not None:
            named += [("NTK correction" if key == "correction" else key, t) for key, t in vars(self.tangent).items()]
        if self.differentials is not None:
            named += list(vars(self.differentials).items())
        return ((name, tensor) for name, tensor in named if tensor is not None)


def first_step(layer: Layer, x: Tensor, wanted: Wanted) -> Statistics:
    """Layer 1."""
    forward = first_layer(layer, x, wanted.order, wanted.tangent)
    at_order_1 = wanted.order >= 1 and wanted.tangent
    return Statistics(
        forward,
        first_tangent(forward.kernel) if at_order_1 else None,
        first_differentials(forward.kernel) if at_order_1 and wanted.differentials else None,
        first_second_order(forward.kernel) if wanted.order >= 2 else None,
    )


def next_step(before: Statistics, layer: Layer, activation: Activation, n_before: int) -> Statistics:
    """Layer l + 1 from layer l, whose activation and n_{l-1} are given."""
    if before.second is None:
        return _next_first_order(before, layer, activation, n_before)
    given = NeuronExpectations(activation, before.forward)
    found = _next_first_order(before, layer, activation, n_before, given.signal_covariance())
    found.second = next_second_order(before.second, before.forward, layer, n_before, given)
    found.forward.error = max(found.forward.error, given.error)
    return found


def _next_first_order(
    before: Statistics, layer: Layer, activation: Activation, n_before: int, covariance: Tensor | None = None
) -> Statistics:
    """``covariance`` is that of one neuron's signals, where it is known."""
    forward = before.forward
    if before.tangent is None:
        return Statistics(next_layer(forward, layer, activation, n_before, covariance=covariance))
    assert forward.ntk is not None
    kinds = FLUCTUATIONS if before.differentials is None else FLUCTUATIONS + DIFFERENTIALS
    given = LayerExpectations(activation, forward.kernel, kinds)
    found = Statistics(
        next_layer(forward, layer, activation, n_before, given, covariance),
        next_tangent(before.tangent, forward, layer, n_before, given),
    )
    if before.differentials is not None:
        found.differentials = next_differentials(
            before.differentials, before.tangent, forward.ntk, layer, n_before, given
        )
    return found
