"""The neural tangent kernel of real networks, layer by layer, exact for each network of a batch.

H_{ij;ab} = sum over the parameters theta up to this layer of lambda dz_{i;a}/dtheta dz_{j;b}/dtheta obeys

    H'_{ij;ab} = d_ij (lambda_b + lambda_W/n sum_k s_{k;a} s_{k;b}) + sum_kl W_ik W_jl s'_{k;a} s'_{l;b} H_{kl;ab}

with s = sigma(z), s' = sigma'(z) (PDLT equation 8.12). Since H_{ij;ab} = H_{ji;ba} the pairs a <= b are kept alone. The
layout (network, i, pair, j) makes both sums one matrix product a network, without a transposition between layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from repflow.ensemble.arithmetic import Array, activate, product
from repflow.ensemble.layout import Index
from repflow.ensemble.setup import Setup
from repflow.ensemble.weights import LayerDraw
from repflow.network import Layer


def first_ntk(setup: Setup, pair_a: Index, pair_b: Index) -> Array:
    """H_{ii;ab} of layer 1, lambda_b + lambda_W x_a.x_b / n_0, the same for every network and neuron, shape (P,)."""
    layer = setup.network.layers[0]
    overlaps = product(setup.x[None], setup.x[None])[0, pair_a, pair_b]
    return np.asarray(layer.lambda_b + overlaps * (layer.lambda_W / layer.n_in))


def propagate(
    setup: Setup, drawn: Iterable[LayerDraw], pair_a: Index, pair_b: Index
) -> Iterator[tuple[LayerDraw, Array | None]]:
    """Each layer with its H, or None for layer 1, where H_{ij;ab} = d_ij times :func:`first_ntk`.

    Parameters
    ----------
    setup
        Network and inputs.
    drawn
        Layers of a batch of networks, in order.
    pair_a, pair_b
        The pairs of inputs a <= b, shape (P,).

    Yields
    ------
    layer
        As drawn.
    ntk
        Shape (count, n_l, P, n_l), entry [network, i, (ab), j]. It is overwritten when the next layer is asked for.
    """
    layers = setup.network.layers
    before: LayerDraw | None = None
    ntk: Array | None = None
    for number, layer in enumerate(drawn):
        if before is not None:
            activation = layers[number - 1].activation
            assert activation is not None
            slopes = activate(partial(activation.derivative, order=1), before.z, setup.device)
            left, right = slopes[:, pair_a], slopes[:, pair_b]
            if ntk is None:
                left *= right
                left *= first_ntk(setup, pair_a, pair_b)[:, None]
            ntk = _next_ntk(setup, layers[number], layer, ntk, left, right, pair_a, pair_b)
        yield layer, ntk
        # normals and H are not needed any more, and the buffer behind the normals is drawn over
        before = layer


def _next_ntk(
    setup: Setup,
    layer: Layer,
    draw: LayerDraw,
    ntk: Array | None,
    left: Array,
    right: Array,
    pair_a: Index,
    pair_b: Index,
) -> Array:
    """H of the layer that ``draw`` is, from that of the layer before.

    ``left`` and ``right`` are s'_{k;a} and s'_{k;b}, shape (count, P, n_in); where ``ntk`` is None the layer before is
    the first, H_kl is diagonal, and ``left`` holds its diagonal with both slopes.
    """
    count, n_out, n_in = draw.normals.shape
    pairs = len(pair_a)
    weights = draw.normals * math.sqrt(layer.C_W / n_in)
    if ntk is None:
        half = weights[:, :, None, :] * left[:, None]
    else:
        ntk *= left.transpose(0, 2, 1)[:, :, :, None]
        ntk *= right[:, None]
        half = product(weights, ntk.reshape(count, n_in, pairs * n_in).transpose(0, 2, 1), setup.device)
    found = product(half.reshape(count, n_out * pairs, n_in), weights, setup.device)
    found = found.reshape(count, n_out, pairs, n_out)
    own = product(draw.signals, draw.signals * (layer.lambda_W / n_in), setup.device)[:, pair_a, pair_b]
    own += layer.lambda_b
    diagonal = np.einsum("bipi->bpi", found)
    diagonal += own[:, :, None]
    return found
