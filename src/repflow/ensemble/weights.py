"""Method "weights": real random networks, their weights and biases drawn, a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from repflow.blocks import generator
from repflow.ensemble.arithmetic import Array, activate, product
from repflow.ensemble.setup import Setup, first_gram, next_gram


class WeightStreams:
    """Generators of one block: a stream for each layer's weights and one for its biases.

    A stream is read network by network, so its values do not depend on how many networks a batch holds.
    """

    def __init__(self, setup: Setup, *key: int) -> None:
        layers = setup.network.layers
        self.weights = [generator(setup.seed, setup.stream, *key, number, 0) for number in range(len(layers))]
        self.biases = [
            generator(setup.seed, setup.stream, *key, number, 1) if layer.C_b > 0 else None
            for number, layer in enumerate(layers)
        ]
        self._buffer = np.empty(0)

    def draw(self, number: int, shape: tuple[int, int, int]) -> Array:
        """Standard normals for the weights of ``layers[number]``, valid until the next call: fresh memory would cost
        a tenth more.
        """
        size = math.prod(shape)
        if len(self._buffer) < size:
            self._buffer = np.empty(size)
        return self.weights[number].standard_normal(out=self._buffer[:size].reshape(shape))


class LayerDraw(NamedTuple):
    """One layer of a batch of networks.

    Attributes
    ----------
    gram
        G, shape (count, N, N).
    z
        Preactivations, shape (count, N, n_l).
    signals
        What entered the layer, shape (count, N, n_{l-1}).
    normals
        The weights in units of sqrt(C_W/n_{l-1}), shape (count, n_l, n_{l-1}); valid until the next layer is drawn.
    biases
        Shape (count, n_l), or None where C_b is 0.
    """

    gram: Array
    z: Array
    signals: Array
    normals: Array
    biases: Array | None


def streams(setup: Setup, *key: int) -> WeightStreams:
    """Generators of the block named by ``key``."""
    return WeightStreams(setup, *key)


def draw_layers(setup: Setup, draws: WeightStreams, count: int) -> Iterator[LayerDraw]:
    """The layers l = 1, ..., L of the next ``count`` networks.

    z_i = b_i + sum_j W_ij s_j with W_ij ~ N(0, C_W / n_in) and b_i ~ N(0, C_b); G is the covariance of z given s.
    """
    signals = np.ascontiguousarray(np.broadcast_to(setup.x, (count, *setup.x.shape)))
    gram = first_gram(setup, count)
    for number, layer in enumerate(setup.network.layers):
        normals = draws.draw(number, (count, layer.n_out, layer.n_in))
        z = product(signals, normals, setup.device)
        z *= math.sqrt(layer.C_W / layer.n_in)
        stream = draws.biases[number]
        biases = None
        if stream is not None:
            biases = math.sqrt(layer.C_b) * stream.standard_normal((count, layer.n_out))
            z += biases[:, None, :]
        yield LayerDraw(gram, z, signals, normals, biases)
        if layer.activation is not None:
            signals = activate(layer.activation, z, setup.device)
            gram = next_gram(setup, number + 1, signals)


def propagate(setup: Setup, draws: WeightStreams, count: int) -> Iterator[tuple[Array, Array]]:
    """(G^(l), z^(l)) of the next ``count`` networks, for l = 1, ..., L.

    Yields
    ------
    gram
        Shape (count, N, N).
    z
        Shape (count, N, n_l).
    """
    for layer in draw_layers(setup, draws, count):
        yield layer.gram, layer.z
