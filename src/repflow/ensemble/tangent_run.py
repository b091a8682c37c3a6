"""The NTK in a sampling run: the pilot that centres it, and one batch of networks through all layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from repflow.ensemble.arithmetic import Array
from repflow.ensemble.differentials import differentials
from repflow.ensemble.features import BlockRecord
from repflow.ensemble.setup import Setup
from repflow.ensemble.tangent import first_ntk, propagate
from repflow.ensemble.tangent_features import TangentRecord, ntk_overflow_message
from repflow.ensemble.tangent_layout import TangentLayout
from repflow.ensemble.weights import LayerDraw, WeightStreams, draw_layers, streams

# The mean over neurons of a few networks is near enough: the centre keeps rounding errors small, and drops out.
_PILOT_NETWORKS = 4


def pilot(setup: Setup, layout: TangentLayout, key: int) -> Array:
    """Centre of H_ii;ab for every layer, from a few networks of their own stream, shape (L, P).

    In layer 1 it is H_ii to the bit.

    Raises
    ------
    ValueError
        The NTK of the networks tried is not finite.
    """
    draws = streams(setup, key)
    total = np.zeros((setup.network.depth, len(layout.pair_a)))
    with np.errstate(all="ignore"):
        for _ in range(_PILOT_NETWORKS):
            drawn = draw_layers(setup, draws, 1)
            for number, (_, ntk) in enumerate(propagate(setup, drawn, layout.pair_a, layout.pair_b)):
                if ntk is not None:
                    total[number] += np.einsum("bipi->bip", ntk)[0].mean(axis=0) / _PILOT_NETWORKS
        total[0] = first_ntk(setup, layout.pair_a, layout.pair_b)
    finite = np.isfinite(total).all(axis=1)
    if not finite.all():
        raise ValueError(ntk_overflow_message(int(np.argmin(finite)) + 1))
    return total


def run_batch(
    setup: Setup, draws: WeightStreams, first: int, count: int, record: BlockRecord, tangents: TangentRecord
) -> None:
    """Draw the next ``count`` networks, from ``first`` on in their block, and record every layer."""
    layout = tangents.layout
    kept: list[tuple[Tensor, Tensor]] = []
    drawn: Iterable[LayerDraw] = draw_layers(setup, draws, count)
    if layout.differentials:
        drawn = _keeping(setup, drawn, kept)
    for number, (layer, ntk) in enumerate(propagate(setup, drawn, layout.pair_a, layout.pair_b)):
        record.add(number, first, layer.gram, layer.z)
        tangents.add(number, first, layer.z, ntk)
    if layout.differentials:
        weights, biases = ([entry[place] for entry in kept] for place in (0, 1))
        tensors = differentials(setup.network, weights, biases, torch.from_numpy(setup.x))
        tangents.add_differentials(first, {name: tensor.numpy() for name, tensor in tensors.items()})


def _keeping(setup: Setup, drawn: Iterable[LayerDraw], kept: list[tuple[Tensor, Tensor]]) -> Iterator[LayerDraw]:
    """Pass layers on, their weights and biases copied to ``kept``."""
    for layer, draw in zip(setup.network.layers, drawn):
        weights = draw.normals * math.sqrt(layer.C_W / layer.n_in)
        biases = np.zeros(weights.shape[:2]) if draw.biases is None else draw.biases
        kept.append((torch.from_numpy(weights), torch.from_numpy(biases)))
        yield draw
