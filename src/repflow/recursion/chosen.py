"""The four-point vertex of chosen quadruples, without the N^4 tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.expectation.four_point import four_point
from repflow.expectation.pair_map import PairMap, pair_map
from repflow.network import LayerMaps
from repflow.recursion.inputs import as_inputs, check_network


def vertex_at(
    network: LayerMaps, x: Any, quadruples: Any, device: torch.device | str | None = None
) -> Float64[Tensor, "L M"]:
    """V_abcd of chosen quadruples in every layer.

    V_(ab)(cd) depends on nine components only, those of the pairs {aa, bb, ab} with {cc, dd, cd}, so each quadruple
    closes on its own four inputs.

    Parameters
    ----------
    network
        A :class:`Network`.
    x
        Inputs, shape (N, n_0).
    quadruples
        Indices (a, b, c, d) of inputs, shape (M, 4).
    device
        As in :func:`flow`.

    Returns
    -------
    Tensor
        Shape (L, M): row l - 1 is layer l, Cov(G_ab, G_cd) = V_abcd/n_{l-1} + O(1/n^2).

    Raises
    ------
    TypeError, ValueError
        ``quadruples`` is not an (M, 4) array of whole numbers from 0 to N - 1, or ``x`` is not (N, n_0).
    """
    check_network(network)
    inputs = as_inputs(x, network.widths[0], device)
    index = _as_quadruples(quadruples, len(inputs), inputs.device)
    involved, index = torch.unique(index, return_inverse=True)
    inputs = inputs[involved]
    first = network.layers[0]
    kernel = first.C_b + first.C_W * inputs @ inputs.T / first.n_in
    a, b, c, d = index.T
    vertex = kernel.new_zeros(len(index), 3, 3)
    rows = [vertex[:, 2, 2]]
    for number in range(1, network.depth):
        layer, before = network.layers[number], network.layers[number - 1]
        assert before.activation is not None
        maps = pair_map(before.activation, kernel, derivatives=1)
        left, right = _pair_jacobian(maps, a, b), _pair_jacobian(maps, c, d)
        products = ((a, a), (b, b), (a, b)), ((c, c), (d, d), (c, d))
        fresh = torch.stack([torch.stack([*p, *q], dim=1) for p in products[0] for q in products[1]], dim=1)
        moments = four_point(before.activation, kernel, fresh.reshape(-1, 4)).values.reshape(-1, 3, 3)
        mean_left = torch.stack([maps.mean[i, j] for i, j in products[0]], dim=1)
        mean_right = torch.stack([maps.mean[i, j] for i, j in products[1]], dim=1)
        covariance = moments - mean_left[:, :, None] * mean_right[:, None, :]
        ratio = layer.n_in / before.n_in
        vertex = layer.C_W**2 * (covariance + ratio * left @ vertex @ right.mT)
        kernel = layer.C_b + layer.C_W * maps.mean
        rows.append(vertex[:, 2, 2])
    return torch.stack(rows)


def _pair_jacobian(maps: PairMap, a: Tensor, b: Tensor) -> Tensor:
    """Derivatives of (S_aa, S_bb, S_ab) in (K_aa, K_bb, K_ab), shape (M, 3, 3)."""
    assert maps.d_cross is not None
    assert maps.d_self is not None
    own = maps.d_cross.diagonal()
    jacobian = maps.mean.new_zeros(len(a), 3, 3)
    jacobian[:, 0, 0], jacobian[:, 1, 1] = own[a], own[b]
    same = a == b
    jacobian[:, 2, 0] = torch.where(same, own[a], maps.d_self[a, b])
    jacobian[:, 2, 1] = torch.where(same, 0.0, maps.d_self[b, a])
    jacobian[:, 2, 2] = torch.where(same, 0.0, maps.d_cross[a, b])
    return jacobian


def _as_quadruples(quadruples: Any, n: int, device: torch.device) -> Tensor:
    array = quadruples.detach().cpu().numpy() if isinstance(quadruples, Tensor) else np.asarray(quadruples)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"quadruples must have shape (M, 4), got {array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"quadruples must hold whole numbers, got dtype {array.dtype}")
    if array.size and (array.min() < 0 or array.max() >= n):
        raise ValueError(f"quadruples must be indices from 0 to {n - 1}, got {array.min()} to {array.max()}")
    return torch.as_tensor(array.astype(np.int64), device=device)
