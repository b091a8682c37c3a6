"""Method "gram": the exact Markov chain of Gram matrices, without weights.

Given G^(l) the neurons of layer l are independent Gaussian vectors with covariance G^(l), so n_l of them are drawn,
activated, and give G^(l+1) (design: G^(l+1) = C_b + (C_W/n_l) sum_j s_j s_j^T). A network costs N n_l normals a
layer in place of n_l n_{l-1}.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from repflow.blocks import generator
from repflow.ensemble.arithmetic import Array, activate, factor, product
from repflow.ensemble.setup import Setup, first_gram, next_gram


def streams(setup: Setup, *key: int) -> list[np.random.Generator]:
    """Generators of the block named by ``key``: one for each layer, read network by network."""
    return [generator(setup.seed, setup.stream, *key, number) for number in range(setup.network.depth)]


def propagate(setup: Setup, draws: list[np.random.Generator], count: int) -> Iterator[tuple[Array, Array]]:
    """(G^(l), z^(l)) of the next ``count`` networks, for l = 1, ..., L.

    Yields
    ------
    gram
        Shape (count, N, N).
    z
        Shape (count, N, n_l).
    """
    gram = first_gram(setup, count)
    for number, layer in enumerate(setup.network.layers):
        normals = draws[number].standard_normal((count, layer.n_out, len(setup.x)))
        z = product(factor(gram), normals, setup.device)
        yield gram, z
        if layer.activation is not None:
            signals = activate(layer.activation, z, setup.device)
            gram = next_gram(setup, number + 1, signals)
