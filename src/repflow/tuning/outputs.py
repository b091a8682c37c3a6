"""How much several outputs raise the sharpness over that of one, at finite width.

A group below the head adds to the tangent kernel of outputs i and j

    Theta_g,ij = M_ij Theta_g,        M = J J^T/(its mean),        J_ik = dz^(L)_i/dz^(l)_k,

with J a product of random matrices: M has mean one, and its entries spread by 1/n_eff, where

    1/n_eff = sum_{m=l}^{L-1} (1/n_m) <s'^4>_{K^(m)}/<s'^2>_{K^(m)}^2 .

To that order M is a Wishart matrix of n = n_eff samples in p = n_L dimensions, whose largest eigenvalue has mean

    [ (sqrt(n - 1) + sqrt(p))^2 - 1.2065 (sqrt(n - 1) + sqrt(p)) (1/sqrt(n - 1) + 1/sqrt(p))^(1/3) ]/n

(Johnstone, Annals of Statistics 29, 2001, with the mean of the Tracy-Widom law): 1 + 2 sqrt(n_L/n_eff) at large n_eff.
The head itself adds the same to every output. One output has M = 1 in the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from repflow.expectation.single import expect
from repflow.network import Network
from repflow.tuning.tangent import LayerKernels, largest_eigenvalue

#: Mean of the Tracy-Widom law of real symmetric matrices.
_TRACY_WIDOM = -1.2065335745820


def sharpness_factor(
    network: Network, kernels: Sequence[LayerKernels], lambda_W: Sequence[float], lambda_b: Sequence[float]
) -> float:
    """The largest eigenvalue of the tangent kernel over all outputs and inputs, over that of one output; at least 1."""
    outputs = network.widths[-1]
    if outputs == 1 or network.depth == 1:
        return 1.0
    parts = [w * layer.weights + b * layer.biases for layer, w, b in zip(kernels, lambda_W, lambda_b, strict=True)]
    one = largest_eigenvalue(torch.stack(parts).sum(0))
    spread, raised = 0.0, parts[-1].clone()
    for number in range(network.depth - 2, -1, -1):
        spread += _fourth_moment(network, kernels, number) / network.widths[number + 1]
        raised += wishart_edge(1.0 / spread, outputs) * parts[number]
    return largest_eigenvalue(raised) / one if one > 0 else 1.0


def wishart_edge(samples: float, dimension: int) -> float:
    """Mean of the largest eigenvalue of a Wishart matrix over its number of samples; at least 1."""
    if samples <= 1.0:  # all samples alike: one direction holds the whole trace
        return float(dimension)
    n, p = math.sqrt(samples - 1.0), math.sqrt(dimension)
    mean = ((n + p) ** 2 + _TRACY_WIDOM * (n + p) * (1.0 / n + 1.0 / p) ** (1.0 / 3.0)) / samples
    return min(float(dimension), max(1.0, mean))


def _fourth_moment(network: Network, kernels: Sequence[LayerKernels], number: int) -> float:
    """<s'^4>/<s'^2>^2 of a layer's activation, averaged over the inputs."""
    activation = network.layers[number].activation
    assert activation is not None
    variance = kernels[number].kernel.diagonal()
    second = expect(activation, lambda z: activation.derivative(z, 1) ** 2, variance)
    fourth = expect(activation, lambda z: activation.derivative(z, 1) ** 4, variance)
    return float((fourth / second**2).mean())
