"""What is fixed before the first network is drawn: sizes of blocks and batches, memory, and the chain's first step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from repflow.ensemble.arithmetic import Array, product
from repflow.ensemble.features import GROUPS, HISTOGRAM_BINS, moment_neurons
from repflow.ensemble.layout import count_components
from repflow.ensemble.tangent_layout import count_tangent
from repflow.network import Network

_BLOCK = 1024
# Normals and stored numbers of one block: about a third of a second of work, so that Ctrl-C and checkpoints are prompt.
_BLOCK_NORMALS = 1 << 25
_BLOCK_NUMBERS = 1 << 23
# Numbers of one batch's largest array: a megabyte, which stays in the cache.
_BATCH_NUMBERS = 1 << 17
_GROUP_BYTES = 1 << 26
# Multiply-adds that take as long as one normal.
_WORK_OF_NORMAL = 64


@dataclass(frozen=True)
class Setup:
    """A sampling run's fixed data.

    Attributes
    ----------
    network, x, seed
        As given to ``sample``; x is contiguous float64, shape (N, n_0).
    first
        G^(1), shape (N, N), symmetric to the bit.
    stream
        Number that goes into every generator's key: one for each method and widths, so that ensembles of two widths
        drawn with one seed are independent.
    device
        None for NumPy on the CPU.
    """

    network: Network
    x: Array
    seed: int
    first: Array
    stream: int
    device: torch.device | None = None


@dataclass(frozen=True)
class Sizes:
    """How the work is cut; ``block`` and ``groups`` depend on the network, N and the method alone, ``batch`` on
    speed alone.
    """

    block: int
    batch: int
    groups: int
    bytes_needed: int


def _power_of_two(bound: float) -> int:
    """Largest power of two that is at most ``bound``, at least 1."""
    return 1 << (max(1, int(bound)).bit_length() - 1)


def sizes(
    network: Network,
    inputs: int,
    method: str,
    sextuples: int,
    batch_size: int | None,
    networks: int,
    threads: int,
    tangent: bool = False,
    differentials: bool = False,
) -> Sizes:
    """Cut the work, and count the bytes that it takes."""
    widths = network.widths
    if method == "weights":
        largest = max(layer.n_out * layer.n_in for layer in network.layers)
        normals = sum(layer.n_out * layer.n_in for layer in network.layers)
    else:
        largest = inputs * max(widths[1:])
        normals = inputs * sum(widths[1:])
    depth = network.depth
    pairs = inputs * (inputs + 1) // 2
    of_tangent = count_tangent(inputs, differentials) if tangent else 0
    features = count_components(inputs, sextuples) + of_tangent
    stored = sum(pairs + inputs * moment_neurons(width, inputs) for width in widths[1:]) + depth * of_tangent
    if tangent:
        largest = max(largest, pairs * max(widths[1:]) ** 2)
        normals += sum(pairs * n * m * (n + m) for n, m in pairwise(widths[1:])) // _WORK_OF_NORMAL
    block = min(_BLOCK, _power_of_two(_BLOCK_NORMALS / normals), _power_of_two(_BLOCK_NUMBERS / stored))
    batch = min(block, _power_of_two(_BATCH_NUMBERS / largest) if batch_size is None else batch_size)
    groups = min(1024, max(16, _power_of_two(_GROUP_BYTES / (8 * depth * features))))
    signals = inputs * max(widths)
    per_batch = batch * ((5 if tangent else 1) * largest + 5 * signals)
    per_block = block * stored + min(block, GROUPS) * ((depth + 1) * features + 2 * pairs**2)
    kept = (min(groups, -(-networks // max(1, block // GROUPS))) + 2) * depth * features
    histogram = depth * inputs * (HISTOGRAM_BINS + 2)
    needed = 8 * ((threads + 1) * (per_block + histogram) + threads * per_batch + kept)
    return Sizes(block, batch, groups, needed)


def stream_of(method: str, network: Network, inputs: int) -> int:
    """The number that sets this method, these widths and this many inputs apart from others under one seed."""
    text = f"{method} {network.widths} {inputs if method == 'gram' else ''}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def gram_one(network: Network, x: Array) -> Array:
    """G^(1) = C_b + C_W x x^T / n_0, exact and the same for every network."""
    layer = network.layers[0]
    values = layer.C_b + product(x[None], x[None] * (layer.C_W / layer.n_in))[0]
    return np.asarray(np.triu(values) + np.triu(values, 1).T)


def first_gram(setup: Setup, count: int) -> Array:
    """G^(1) of ``count`` networks, shape (count, N, N)."""
    return np.ascontiguousarray(np.broadcast_to(setup.first, (count, *setup.first.shape)))


def next_gram(setup: Setup, number: int, signals: Array) -> Array:
    """G of ``layers[number]`` from the signals that enter it, shape (count, N, n_in)."""
    layer = setup.network.layers[number]
    gram = product(signals, signals * (layer.C_W / layer.n_in), setup.device)
    gram += layer.C_b
    return gram
