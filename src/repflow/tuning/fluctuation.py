"""How much the output kernel of a single input differs from one initialisation to the next, at order 1/n."""

from __future__ import annotations

import torch
from torch import Tensor

from repflow.expectation.single import hermite_coefficients, rule
from repflow.network import Network


def relative_variance(network: Network, x: Tensor) -> Tensor:
    """V_aaaa/(n_{L-1} K_aa^2) of the output for each input: the variance of G_aa relative to its mean's square.

    One input's vertex closes on its own variance (PDLT section 4.3), with n = n_l and n' = n_{l-1}:

        K' = C_b + C_W <s^2>,    V' = C_W^2 (<s^4> - <s^2>^2) + (n/n') (C_W d<s^2>/dK)^2 V

    so 64 inputs cost 64 one-dimensional integrals a layer, where their pairs would cost 4096 in two dimensions.

    Parameters
    ----------
    network
        Of depth L.
    x
        Inputs, shape (N, n_0).

    Returns
    -------
    Tensor
        Shape (N,); 0 where K_aa is 0 and for a single layer.
    """
    first = network.layers[0]
    kernel = first.C_b + first.C_W * (x * x).mean(1)
    vertex = torch.zeros_like(kernel)
    for before, layer in zip(network.layers, network.layers[1:], strict=False):
        assert before.activation is not None
        quadrature = rule(before.activation, kernel)
        squares = before.activation(quadrature.z) ** 2
        mean = quadrature.mean(squares)
        fresh = quadrature.mean(squares**2) - mean**2
        # <g''>/2 by moving both derivatives onto the Gaussian: it needs none of sigma's, which may jump.
        second = hermite_coefficients(quadrature, squares, 3)[:, 2]
        slope = torch.where(kernel > 0, second / (2**0.5 * kernel.clamp(min=1e-300)), 0.0)
        vertex = layer.C_W**2 * (fresh + layer.n_in / before.n_in * slope**2 * vertex)
        kernel = layer.C_b + layer.C_W * mean
    if network.depth == 1:
        return vertex
    return torch.where(kernel > 0, vertex / network.widths[-2] / kernel.clamp(min=1e-150) ** 2, 0.0)
