"""What one block of networks contributes: features of each network, summed over small groups of networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from repflow.ensemble.arithmetic import Array, product
from repflow.ensemble.layout import Layout

Counts: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

GROUPS = 32
"""Groups of networks in a whole block; their sums are kept apart so that scatter between groups gives standard
errors.
"""

HISTOGRAM_BINS = 128
HISTOGRAM_RANGE = 6.4
# Neurons of a network that enter the histogram: more of one network add little and cost as much as the rest of a
# gram chain.
HISTOGRAM_NEURONS = 8
# Neurons of a network that enter the moments of z: all of a narrow layer. More of a wide one would take longer than
# a gram chain itself, and the moments of z follow from those of G far more precisely.
_MOMENT_NEURONS = 128
_MOMENT_WORK = 1 << 17
# Numbers handled at once when a block is summed: just below the size from which malloc maps fresh pages for every
# array.
_SLICE = 14_000


def moment_neurons(width: int, inputs: int) -> int:
    """How many of a layer's neurons the moments of z are averaged over, for each network."""
    pairs = inputs * (inputs + 1) // 2
    return min(width, _MOMENT_NEURONS, max(8, _MOMENT_WORK // pairs**2))


def overflow_message(layer: int) -> str:
    """The error for signals that are no longer finite in layer ``layer``."""
    return (
        f"network: preactivations of layer {layer} overflow float64 in some networks of the ensemble; "
        "smaller C_W or fewer layers keep them finite"
    )


@dataclass
class BlockRecord:
    """Statistics of the networks of one block while they are computed, batch by batch.

    Attributes
    ----------
    layout
        Which components.
    centre
        (L, P) point near the mean of G that is taken off before powers are formed, against cancellation.
    scale
        (L, N) unit of z in the histogram.
    neurons
        Neurons of each layer whose z is kept, see :func:`moment_neurons`.
    networks
        Networks of this block.
    """

    layout: Layout
    centre: Array
    scale: Array
    neurons: tuple[int, ...]
    networks: int
    gram: Array = field(init=False, repr=False)
    z: list[Array] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        depth, pairs = self.centre.shape
        self.gram = np.empty((depth, pairs, self.networks))
        self.z = [np.empty((self.networks, self.layout.n, count)) for count in self.neurons]

    def add(self, layer: int, first: int, gram: Array, z: Array) -> None:
        """Take one layer of the networks from ``first`` on; layers count from 0 here.

        Parameters
        ----------
        layer, first
            Which layer, and the place of the batch in the block.
        gram, z
            G of the layer, shape (B, N, N), and its preactivations, shape (B, N, neurons).
        """
        here = slice(first, first + len(gram))
        self.gram[layer, :, here] = gram[:, self.layout.pair_a, self.layout.pair_b].T
        self.z[layer][here] = z[:, :, : self.neurons[layer]]

    def histogram(self) -> Counts:
        """Counts of z in units of ``scale``, shape (L, N, bins + 2), the first and last cell for what lies outside."""
        n, cells = self.layout.n, HISTOGRAM_BINS + 2
        per_unit = HISTOGRAM_BINS / (2 * HISTOGRAM_RANGE)
        out = np.empty((len(self.z), n, cells), dtype=np.int64)
        for layer, z in enumerate(self.z):
            place = z[:, :, :HISTOGRAM_NEURONS] * (per_unit / self.scale[layer])[:, None]
            place += HISTOGRAM_RANGE * per_unit + 1.0
            np.clip(place, 0.0, cells - 1.0, out=place)
            index = place.astype(np.int64)
            index += (np.arange(n) * cells)[:, None]
            out[layer] = np.bincount(index.ravel(), minlength=n * cells).reshape(n, cells)
        return out

    def sums(self) -> tuple[Array, Counts]:
        """Features summed over each group, and the networks in each.

        Networks k, k + g, k + 2g, ... of the block form group k of g.

        Returns
        -------
        sums
            Shape (groups, L, features).
        counts
            Shape (groups,).

        Raises
        ------
        ValueError
            Signals of some network overflow.
        """
        groups = min(GROUPS, self.networks)
        rounds = -(-self.networks // groups)
        counts = np.bincount(np.arange(self.networks) % groups, minlength=groups)
        depth = len(self.centre)
        out = np.empty((groups, depth, self.layout.size))
        for layer in range(depth):
            parts = (*self._gram_sums(layer, groups, rounds), *self._moment_sums(layer, groups, rounds))
            np.concatenate(parts, axis=1, out=out[:, layer])
            if not np.isfinite(out[:, layer]).all():
                raise ValueError(overflow_message(layer + 1))
        return out, counts

    def _gram_sums(self, layer: int, groups: int, rounds: int) -> tuple[Array, Array, Array]:
        """Sums of c, c c and c c c over each group, shapes (groups, components)."""
        layout = self.layout
        padded = np.zeros((len(layout.pair_a), rounds * groups))
        np.subtract(self.gram[layer], self.centre[layer][:, None], out=padded[:, : self.networks])
        by_group = np.ascontiguousarray(padded.reshape(-1, rounds, groups).transpose(2, 0, 1))
        again = by_group.copy()
        second = product(by_group, again)[:, layout.second_p, layout.second_q]
        p, q, r = layout.third
        third = np.empty((groups, len(p)))
        full = len(layout.second_p) * len(layout.pair_a) <= 4 * len(p)  # nearly all triples: a product of matrices
        left, right = (layout.second_p, layout.second_q) if full else (p, q)
        step = max(1, _SLICE // max(1, len(left) * rounds))
        for low in range(0, groups if len(p) else 0, step):
            part = slice(low, low + step)
            values = by_group[part, left] * by_group[part, right]
            if full:
                third[part] = product(values, again[part])[:, layout.second_of[p, q], r]
            else:
                values *= by_group[part, r]
                values.sum(axis=2, out=third[part])
        return by_group.sum(axis=2), second, third

    def _moment_sums(self, layer: int, groups: int, rounds: int) -> tuple[Array, Array]:
        """Sums over each group of a network's means of z z and z z z z over neurons, shapes (groups, components)."""
        layout, used = self.layout, self.neurons[layer]
        z = self.z[layer]
        if rounds * groups != self.networks:
            z = np.concatenate([z, np.zeros((rounds * groups - self.networks, *z.shape[1:]))])
        z = z.reshape(rounds, groups, layout.n, used).transpose(1, 2, 0, 3).reshape(groups, layout.n, rounds * used)
        square = product(z, z.copy())[:, layout.pair_a, layout.pair_b]
        fourth = np.empty((groups, layout.quads.shape[1]))
        a, b, c, d = layout.quads
        left, right = layout.pair_of[a, b], layout.pair_of[c, d]
        step = max(1, _SLICE // (len(layout.pair_a) * rounds * used))
        for low in range(0, groups, step):
            part = slice(low, low + step)
            pairs = z[part, layout.pair_a] * z[part, layout.pair_b]
            fourth[part] = product(pairs, pairs.copy())[:, left, right]
        return square / used, fourth / used
