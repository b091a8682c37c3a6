"""The forward recursion: kernel, four-point vertex and next-to-leading kernel from layer to layer.

With G^(l) = K + delta, E[delta] = G1/n_{l-1} and Cov(delta) = V/n_{l-1}, one layer with width n = n_l maps (n' =
n_{l-1})

    K'  = C_b + C_W <s s>_K
    V'  = C_W^2 Cov(s s, s s)_K + (n/n') F_a F_b V_ab
    G1' = (n/n') (F_a G1_a + F_ab V_ab / 2),           F = C_W <s s>, subscripts: derivatives in the kernel's entries

the leading terms of the exact Markov chain of Gram matrices (PDLT sections 4.1 to 4.3 in a form without the inverse of
K).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.four_point import four_point
from repflow.expectation.pair_map import PairMap, pair_map
from repflow.network import Layer
from repflow.recursion.expectations import LayerExpectations
from repflow.recursion.linear_map import LinearMap
from repflow.recursion.pairs import Pairs


@dataclass
class State:
    """What is known of one layer's Gram matrix, at the orders computed.

    Attributes
    ----------
    kernel
        K, shape (N, N).
    vertex
        V by pairs, shape (P, P), or None at order 0.
    correction
        G1 by pairs, shape (P,), or None at order 0.
    ntk
        Theta, shape (N, N), or None.
    error
        Largest relative error estimate of the expectations so far.
    """

    kernel: Tensor
    vertex: Tensor | None = None
    correction: Tensor | None = None
    ntk: Tensor | None = None
    error: float = 0.0


def first_layer(layer: Layer, x: Tensor, order: int, tangent: bool) -> State:
    """Layer 1, whose Gram matrix C_b + C_W x x^T / n_0 does not fluctuate."""
    gram = x @ x.T / layer.n_in
    pairs = Pairs(len(x), x.device)
    return State(
        kernel=layer.C_b + layer.C_W * gram,
        vertex=x.new_zeros(pairs.count, pairs.count) if order else None,
        correction=x.new_zeros(pairs.count) if order else None,
        ntk=layer.lambda_b + layer.lambda_W * gram if tangent else None,
    )


def next_layer(
    state: State,
    layer: Layer,
    activation: Activation,
    n_before: int,
    given: LayerExpectations | None = None,
    covariance: Tensor | None = None,
) -> State:
    """One step of the recursion.

    Parameters
    ----------
    state
        Layer l.
    layer
        Layer l + 1; its fan-in is n_l.
    activation
        sigma of layer l.
    n_before
        n_{l-1}, the width that normalises layer l's statistics.
    given
        Expectations over layer l, where they are known for the tangent kernel's sake.
    covariance
        Cov(s_a s_b, s_c s_d) by pairs, where it is known for the second order's sake.
    """
    order = 0 if state.vertex is None else 1
    maps = given.maps if given else pair_map(activation, state.kernel, 2 * order, slope=state.ntk is not None)
    new = State(kernel=layer.C_b + layer.C_W * maps.mean, error=state.error)
    if state.ntk is not None:
        assert maps.slope is not None
        new.ntk = layer.lambda_b + layer.lambda_W * maps.mean + layer.C_W * maps.slope * state.ntk
    if state.vertex is not None and state.correction is not None:
        pairs = Pairs(len(state.kernel), state.kernel.device)
        jacobian = LinearMap(pairs, maps)
        ratio = layer.n_in / n_before
        error = given.error if given else 0.0
        if covariance is not None:
            fluctuation = covariance
        elif given:
            fluctuation = given.signal_covariance
        else:
            fluctuation, error = single_neuron_covariance(activation, state.kernel, maps, pairs)
        new.vertex = layer.C_W**2 * (fluctuation + ratio * jacobian.both_sides(state.vertex))
        new.correction = layer.C_W * ratio * (jacobian(state.correction) + 0.5 * jacobian.curvature(state.vertex))
        new.error = max(new.error, error)
    return new


def single_neuron_covariance(
    activation: Activation, kernel: Tensor, maps: PairMap, pairs: Pairs
) -> tuple[Tensor, float]:
    """Cov(s_a s_b, s_c s_d) under N(0, K) by pairs, shape (P, P), and the largest relative error estimate."""
    count = pairs.count
    first, second = torch.triu_indices(count, count, device=kernel.device)
    quadruples = torch.stack([pairs.a[first], pairs.b[first], pairs.a[second], pairs.b[second]], dim=1)
    moments = four_point(activation, kernel, quadruples)
    mean = pairs.compress(maps.mean)
    covariance = kernel.new_empty(count, count)
    covariance[first, second] = moments.values - mean[first] * mean[second]
    covariance[second, first] = covariance[first, second]
    return covariance, float(moments.error.max()) if len(moments.error) else 0.0
