"""Simulated Gram chains of one input, for experiments that need long chains in wide networks and many of them.

The chain is that of ``sample(method="gram")``, exact at every width: given G, n neurons z_j = sqrt(G) u_j are drawn
and G' = C_b + (C_W/n) sum_j sigma(z_j)^2. Two things make it cheap for one input. Normals and activations are float32,
whose rounding is a thousandth of the least error asked for, and averages over networks float64; and beside G each chain
carries delta, a linear response to the same normals,

    delta' = A delta + (1/n) sum_j (u_j^2 - 1),

a weighted sum of chi-square variables, so that all of its moments are known exactly whatever A is. Regression of a
statistic on powers of delta (control variates) removes what delta explains of its noise and leaves its mean alone: a
good A makes errors smaller, a bad A does not make them wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from repflow.activation import as_activation
from repflow.blocks import generator, run_blocks

FloatArray = NDArray[np.float64]

# Below PyTorch's grain, so that each call stays on its thread and bits do not depend on their number.
_TILE = 32_000
#: Chains of a block, whose seed is its own; errors come from the spread of groups of chains.
BLOCK, GROUPS, POWERS = 1000, 20, 4


@dataclass(frozen=True)
class Chains:
    """Gram entries of every network in the layers kept.

    Attributes
    ----------
    gram
        G^(l), shape (layers, networks).
    response
        delta^(l), the same shape.
    response_moments
        E[delta^m], m = 1, ..., 4, exact, shape (layers, 4).
    """

    gram: FloatArray
    response: FloatArray
    response_moments: FloatArray

    def mean(self, layer: int, function: Callable[[FloatArray], FloatArray]) -> tuple[float, float]:
        """E[function(G)] in a layer kept, by its number among them, and its standard error.

        ``function`` maps (networks,) to (networks,). The regression on powers of delta is fitted on other groups of
        networks than the one it is applied to, so that the estimate has no bias.
        """
        values = function(self.gram[layer])
        moments = self.response_moments[layer]
        spread = math.sqrt(moments[1])
        unit = self.response[layer] / spread
        columns = [np.ones_like(unit)]
        for _ in range(POWERS):
            columns.append(columns[-1] * unit)
        for m in range(1, POWERS + 1):
            columns[m] = columns[m] - moments[m - 1] / spread**m
        # Normal equations group by group: five columns of order one, so that nothing is lost by squaring them.
        edges = np.linspace(0, len(values), GROUPS + 1).astype(int)
        parts = [slice(low, high) for low, high in itertools.pairwise(edges)]
        square = np.array([[[float((a[k] * b[k]).sum()) for a in columns] for b in columns] for k in parts])
        right = np.array([[float((a[k] * values[k]).sum()) for a in columns] for k in parts])
        residual = values.copy()
        for number, here in enumerate(parts):
            fit = np.linalg.solve(square.sum(axis=0) - square[number], right.sum(axis=0) - right[number])
            for m in range(1, POWERS + 1):
                residual[here] -= fit[m] * columns[m][here]
        return float(residual.mean()), float(residual.std(ddof=1) / math.sqrt(len(values)))

    def relative_variance(self, layer: int, K: float) -> tuple[float, float]:
        """Var G/K^2 in a layer kept, by its number among them, and its standard error."""
        mean, _ = self.mean(layer, lambda g: g / K)
        return self.mean(layer, lambda g: (g / K - mean) ** 2)  # the mean's own error enters in second order


def simulate(
    activation: str,
    C_W: float,
    C_b: float,
    K1: float,
    width: int,
    layers: Sequence[int],
    networks: int,
    generator_key: tuple[int, ...],
    response: FloatArray,
    threads: int | None = None,
    on_block: Callable[[int, int], None] | None = None,
) -> Chains:
    """Draw Gram chains of one input from G^(1) = K1 on.

    Parameters
    ----------
    activation
        A registered name.
    C_W, C_b
        Couplings of layers 2 and up.
    K1
        G^(1).
    width
        n of every hidden layer.
    layers
        Layer numbers to keep, ascending, 1 or more.
    networks
        Number of chains; whole blocks of 1000 are drawn.
    generator_key
        (seed, ...) of the random stream.
    response
        A of layers 1, 2, ..., shape (max(layers) - 1,) or longer: how delta^(l) enters delta^(l + 1).
    threads
        Blocks at once; None takes PyTorch's number. Speed only.
    on_block
        Told (blocks done, blocks).
    """
    sigma = as_activation(activation)
    blocks = -(-networks // BLOCK)
    gram, delta = (np.empty((len(layers), blocks * BLOCK)) for _ in range(2))
    row = {layer: number for number, layer in enumerate(layers)}
    depth = max(layers)

    def work(block: int) -> int:
        seed = np.random.SeedSequence(generator_key[0], spawn_key=(*generator_key[1:], block)).generate_state(1)
        source = torch.Generator().manual_seed(int(seed[0]))
        tile = max(1, _TILE // width)
        for first in range(0, BLOCK, tile):
            count = min(tile, BLOCK - first)
            place = slice(block * BLOCK + first, block * BLOCK + first + count)
            u = torch.empty(count, width)
            g, d = torch.full((count,), K1, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
            for layer in range(1, depth + 1):
                if layer in row:
                    gram[row[layer], place], delta[row[layer], place] = g.numpy(), d.numpy()
                if layer == depth:
                    break
                u.normal_(generator=source)
                signal = sigma(u * g.sqrt().float()[:, None])
                g = C_b + C_W * torch.linalg.vecdot(signal, signal).double() / width
                d = float(response[layer - 1]) * d + torch.linalg.vecdot(u, u).double() / width - 1.0
        return block

    with torch.no_grad():
        run_blocks(
            work,
            lambda _: None,
            blocks,
            threads=torch.get_num_threads() if threads is None else threads,
            on_block=on_block,
        )
    moments = np.array([_moments(layer, width, response) for layer in layers])
    return Chains(gram[:, :networks], delta[:, :networks], moments)


def relu_products(
    width: int, layers: Sequence[int], networks: int, generator_key: tuple[int, ...], by_size: bool = False
) -> FloatArray:
    """G^(l)/G^(1) of relu networks at C_W = 2, C_b = 0, shape (layers, networks); 0 where a network is dead.

    A layer's factor (2/n) sum_j relu(u_j)^2 is drawn from its own law instead of from n normals: (2/n) chi^2 of b
    degrees of freedom, b ~ Binomial(n, 1/2) the number of neurons above 0. So a million chains are cheap, and they have
    to be many: the variance is carried by rare networks.

    With ``by_size`` networks are drawn in proportion to their G (importance sampling): b - 1 ~ Binomial(n - 1, 1/2) and
    chi^2 of b + 2. The plain mean of G over them is E[G^2]/E[G], with a far smaller error.
    """
    source = generator(*generator_key)
    found = np.empty((len(layers), networks))
    row = {layer: number for number, layer in enumerate(layers)}
    gram = np.ones(networks)
    extra = 1 if by_size else 0
    for layer in range(1, max(layers) + 1):
        if layer in row:
            found[row[layer]] = gram
        positive = source.binomial(width - extra, 0.5, networks) + extra
        gram = gram * (4.0 / width) * source.standard_gamma(0.5 * positive + extra)
    return found


def _moments(layer: int, width: int, response: FloatArray) -> FloatArray:
    """E[delta^m], m = 1, ..., 4.

    delta = sum_k c_k (chi^2_n/n - 1), whose m-th cumulant is 2^(m-1) (m-1)! n^(1-m) sum_k c_k^m.
    """
    weights = np.ones(max(layer - 1, 0))
    for k in range(len(weights) - 2, -1, -1):
        weights[k] = weights[k + 1] * response[k + 1]
    k2, k3, k4 = (
        float((weights**m).sum()) * 2.0 ** (m - 1) * math.factorial(m - 1) / width ** (m - 1) for m in (2, 3, 4)
    )
    return np.array([0.0, k2, k3, k4 + 3.0 * k2**2])
