"""What the NTK of one network contributes, layer by layer, and its sums over small groups of networks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from repflow.ensemble.arithmetic import Array, product
from repflow.ensemble.tangent_layout import TangentLayout


def tangent_features(layout: TangentLayout, centre: Array, z: Array, ntk: Array) -> Array:
    """Features of each network of a batch in one layer, in the order of :class:`TangentLayout`, those of A, B, D, F.

    Parameters
    ----------
    layout
        Which components.
    centre
        (P,) point near the mean of H_ii.
    z
        Shape (count, N, n).
    ntk
        Shape (count, n, P, n), entry [network, i, (ab), j]. Unchanged on return.

    Returns
    -------
    ndarray
        Shape (count, features). The parts over i != j are 0 where the layer has one neuron.
    """
    count, neurons, pairs = ntk.shape[:3]
    out = np.zeros((count, layout.size))
    part = layout.split(out)
    diagonal = np.einsum("bipi->bpi", ntk)
    kept = diagonal.copy()
    own = kept - centre[:, None]
    squares = z[:, layout.pair_a] * z[:, layout.pair_b]
    ones = np.ones((count, 1, neurons))
    # one product holds the sums over neurons of h, zz, h h and h zz
    sums = product(np.concatenate([own, ones], axis=1), np.concatenate([own, squares, ones], axis=1))
    total_h, total_s = sums[:, -1, :pairs], sums[:, -1, pairs:-1]
    part["mean"][:] = total_h / neurons
    part["square"][:] = total_s / neurons
    p, q = layout.pairs_of("A")
    first, second = layout.pairs_of("D")
    part["mean_mean"][:] = part["mean"][:, p] * part["mean"][:, q]
    part["square_mean"][:] = part["square"][:, first] * part["mean"][:, second]
    if neurons == 1:
        return out
    ordered = neurons * (neurons - 1)
    part["A"][:] = (total_h[:, p] * total_h[:, q] - sums[:, p, q]) / ordered
    part["D"][:] = (total_s[:, first] * total_h[:, second] - sums[:, second, pairs + first]) / ordered
    diagonal[:] = 0.0
    part["B"][:] = _squares(layout, ntk) / ordered
    part["F"][:] = _with_z(layout, z, ntk) / ordered
    diagonal[:] = kept
    return out


def _squares(layout: TangentLayout, ntk: Array) -> Array:
    """Sum over i and j of H_ij;12 H_ij;34 for each component of B, shape (count, C); H_ii is 0 here."""
    count, neurons, pairs = ntk.shape[:3]
    back = layout.reversed_pairs
    every = np.empty((count, pairs + len(back), neurons, neurons))
    every[:, :pairs] = ntk.transpose(0, 2, 1, 3)
    every[:, pairs:] = ntk[:, :, back].transpose(0, 2, 3, 1)
    flat = every.reshape(count, -1, neurons * neurons)
    # a copy, since the same memory on both sides would take another routine of BLAS
    row, column = layout.rows_of_b
    return np.asarray(product(flat[:, :pairs].copy(), flat)[:, row, column])


def _with_z(layout: TangentLayout, z: Array, ntk: Array) -> Array:
    """Sum over i and j of z_i;1 z_j;2 H_ij;34 for each component of F, shape (count, C); H_ii is 0 here."""
    count, neurons, pairs = ntk.shape[:3]
    inputs = z.shape[1]
    half = product(ntk.reshape(count, neurons * pairs, neurons), z).reshape(count, neurons, pairs * inputs)
    found = product(z, half.transpose(0, 2, 1)).reshape(count, inputs, pairs, inputs)
    first, pair, second = layout.entries_of_f
    return np.asarray(found[:, first, pair, second])


@dataclass
class TangentRecord:
    """Tangent features of the networks of one block, filled batch by batch.

    Attributes
    ----------
    layout
        Which components.
    centre
        (L, P) point near the mean of H_ii; in layer 1 it is H_ii.
    networks
        Networks of this block.
    """

    layout: TangentLayout
    centre: Array
    networks: int
    features: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.features = np.zeros((self.networks, len(self.centre), self.layout.size))

    def add(self, layer: int, first: int, z: Array, ntk: Array | None) -> None:
        """Take one layer, counted from 0, of the networks from ``first`` on; ``ntk`` is None in layer 1."""
        if ntk is not None:
            here = slice(first, first + len(ntk))
            self.features[here, layer] = tangent_features(self.layout, self.centre[layer], z, ntk)

    def add_differentials(self, first: int, tensors: dict[str, Array]) -> None:
        """Take the tensors of the differentials in the output layer, each (count, N, N, N, N)."""
        for name, tensor in tensors.items():
            here = slice(first, first + len(tensor))
            self.features[here, -1, self.layout.places[name]] = self.layout.orbits[name].means(tensor)

    def sums(self, groups: int) -> Array:
        """Sums over the networks k, k + g, k + 2g, ... for each k of the g groups, shape (groups, L, features).

        Raises
        ------
        ValueError
            The NTK of some network overflows.
        """
        rounds = -(-self.networks // groups)
        total = np.zeros((groups, *self.features.shape[1:]))
        for number in range(rounds):
            members = self.features[number * groups : (number + 1) * groups]
            total[: len(members)] += members
        finite = np.isfinite(total).all(axis=(0, 2))
        if not finite.all():
            raise ValueError(ntk_overflow_message(int(np.argmin(finite)) + 1))
        return total


def ntk_overflow_message(layer: int) -> str:
    """The error for an NTK that is not finite in layer ``layer``."""
    return (
        f"network: the NTK of layer {layer} is not finite in some networks of the ensemble: it overflows (smaller C_W, "
        "lambda_W or fewer layers), or a derivative of the activation is not finite where signals reach"
    )
