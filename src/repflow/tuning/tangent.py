"""The infinite-width tangent kernel of a chain, split by parameter group, and the size of the features' first step.

Group g, the weights or the biases of layer l, adds lambda_g Theta_g to the neural tangent kernel at the output:

    weights  S^(l-1) * Pi^(l),    biases  Pi^(l),    Pi^(l)_ab = prod_{m=l}^{L-1} C_W^(m+1) <s'_a s'_b>_{K^(m)}

entrywise, S^(0) = x x^T/n_0 and S^(l) = <s s>_{K^(l)} (PDLT section 9.1, unrolled).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.expectation.pair_map import pair_map
from repflow.network import Network


@dataclass(frozen=True)
class LayerKernels:
    """What layer l = 1..L contributes, all (N, N) and without learning-rate factors.

    Attributes
    ----------
    signal
        S^(l-1), the kernel of what the layer's weights multiply.
    kernel
        K^(l).
    backward
        Pi^(l), from the layer's preactivations to the output.
    """

    signal: Tensor
    kernel: Tensor
    backward: Tensor

    @property
    def weights(self) -> Tensor:
        """Theta of the weights at lambda_W = 1."""
        return self.signal * self.backward

    @property
    def biases(self) -> Tensor:
        """Theta of the biases at lambda_b = 1."""
        return self.backward


def layer_kernels(network: Network, x: Tensor) -> list[LayerKernels]:
    """The kernels of every layer of a network on inputs (N, n_0)."""
    signal = x @ x.T / network.widths[0]
    signals, kernels, slopes = [], [], []
    for layer in network.layers:
        kernel = layer.C_b + layer.C_W * signal
        signals.append(signal)
        kernels.append(kernel)
        if layer.activation is not None:
            maps = pair_map(layer.activation, kernel, slope=True)
            assert maps.slope is not None
            signal = maps.mean
            slopes.append(maps.slope)
    backward = [torch.ones_like(signal)]
    for layer, slope in zip(network.layers[:0:-1], slopes[::-1], strict=True):
        backward.append(backward[-1] * layer.C_W * slope)
    return [LayerKernels(*parts) for parts in zip(signals, kernels, backward[::-1], strict=True)]


def largest_eigenvalue(matrix: Tensor) -> float:
    """Of a symmetric matrix."""
    return float(torch.linalg.eigvalsh(matrix)[-1])


def hidden_changes(
    kernels: list[LayerKernels], lambda_W: list[float], lambda_b: list[float], errors: Tensor, widths: tuple[int, ...]
) -> list[float]:
    """rms(dz^(l))/rms(z^(l)) of each hidden layer in the first step of gradient descent at lr = 1 and s = 1.

        E (dz_a)^2 = B^-2 sum_bc M_ab M_ac Pi_bc (e_b . e_c) n_{L-1}/n_l,      M = lambda_W S^(l-1) + lambda_b,

    with dz the change by the layer's own parameters, its inputs held, on the loss (1/2B) sum |f - y|^2. At another s it
    is n_{L-1}^((s-1)/2) times this: the head's variance carries n^-s, and every factor before the head n^s.

    Parameters
    ----------
    kernels
        From :func:`layer_kernels`, layers 1..L.
    lambda_W, lambda_b
        Learning-rate tensor of each layer.
    errors
        e_b . e_c with e = f - y, shape (N, N).
    widths
        (n_0, ..., n_L).
    """
    changes = []
    for number, layer in enumerate(kernels[:-1]):
        response = lambda_W[number] * layer.signal + lambda_b[number]
        square = ((response @ (layer.backward * errors)) * response).sum(1) / len(errors) ** 2
        square = square * widths[-2] / widths[number + 1]
        size = layer.kernel.diagonal().mean()
        changes.append(float((square.clamp(min=0.0).mean() / size.clamp(min=1e-300)).sqrt()))
    return changes


def gradient_sizes(
    kernels: list[LayerKernels], errors: Tensor, widths: tuple[int, ...], scaling: float
) -> list[tuple[float, float]]:
    """Root mean square of the gradient of a single weight and of a single bias, for each layer 1..L.

        E (dL/dW_ij)^2 = B^-2 sum_bc S_bc Pi_bc (e_b . e_c)/(n_l n_{L-1}^s),      biases: S = 1,

    for hidden layers; the head has Pi = 1 and n_L in place of n_l n_{L-1}^s.
    """
    sizes = []
    for number, layer in enumerate(kernels):
        last = number == len(kernels) - 1
        divisor = widths[-1] if last else widths[number + 1] * widths[-2] ** scaling
        force = layer.backward * errors / len(errors) ** 2 / divisor
        pair = [float((part * force).sum().clamp(min=0.0).sqrt()) for part in (layer.signal, torch.ones_like(force))]
        sizes.append((pair[0], pair[1]))
    return sizes
