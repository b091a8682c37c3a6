"""The predicted change of each layer in the first step, by its own parameters with its inputs held.

Gradient descent. With rates eta_W and eta_b of layer l, z_a changes by -(1/B) sum_b (eta_W s_a.s_b + eta_b) delta_b,
delta the gradient of the loss in layer l's preactivations, so that for wide layers

    E (dz_a)^2 = sum_bc M_ab M_ac P_bc,    M = eta_W n_{l-1} S^(l-1) + eta_b,    P_bc = Pi^(l)_bc E(g_b . g_c)/n_l,

with g the gradient of the loss in the outputs, Pi = 1 and n_L in place of n_l for the head. E(g.g) is a mean over
outputs drawn from the Gaussian process of the network, so that any loss has one.

Adam. The first step of a weight is its rate times -sign(sum_b delta_b s_b): no closed form, but delta is Gaussian with
covariance P over the batch, and s is drawn from its kernel (in the first layer it is the data), neuron by neuron at
the layer's own width.

Decoupled decay, and decay of gradient descent, shrink the weights by eta_W times the decay beside this; Adam's own
decay is added to the gradient before its sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from repflow.network import Network
from repflow.tuning.tangent import LayerKernels, layer_kernels

#: Draws of outputs, of a layer under Adam, and of neurons in each of them.
_OUTPUT_DRAWS, _LAYER_DRAWS, _NEURONS = 32, 4, 256


@dataclass(frozen=True)
class LayerStep:
    """How the first step treats one layer.

    Attributes
    ----------
    weights, biases
        Learning rates; 0 for what does not learn.
    decay
        Share by which the step shrinks the weights, beside the gradient.
    coupled
        Decay that is added to the gradients, of weights and of biases.
    """

    weights: float
    biases: float
    decay: float = 0.0
    coupled: tuple[float, float] = (0.0, 0.0)


def predicted_changes(
    network: Network,
    x: Tensor,
    steps: Sequence[LayerStep],
    loss: Callable[[Any], Tensor],
    shape: Sequence[int],
    adaptive: bool,
) -> tuple[list[float], list[float]]:
    """rms(z) and rms(dz) of every layer, 1..L, in the first step.

    Parameters
    ----------
    network
        The advised network; its head's couplings include n^-s.
    x
        The batch, shape (N, n_0), float64.
    steps
        One for each layer.
    loss
        Of an output alone, its targets put in.
    shape
        Of the model's output on the batch; N rows of n_L in all.
    adaptive
        Whether a step is a sign.
    """
    generator = torch.Generator().manual_seed(0)
    kernels = layer_kernels(network, x)
    gradients = _output_gradients(kernels[-1].kernel, loss, shape, generator)
    products = gradients @ gradients.T / _OUTPUT_DRAWS
    sizes, changes = [], []
    for number, (layer, kernel, step) in enumerate(zip(network.layers, kernels, steps, strict=True)):
        force = products * kernel.backward / layer.n_out
        if adaptive:
            # The outputs' own gradients are known: their targets are no Gaussian draws.
            factor = None if number == network.depth - 1 else _factor(force)
            delta = gradients if factor is None else factor @ _normal(generator, len(force), _NEURONS)
            square = _sign_steps(network, kernels, number, x, delta, step, generator)
        else:
            response = step.weights * layer.n_in * kernel.signal + step.biases
            square = float(((response @ force) * response).sum(1).mean())
        # Decay acts on the weights' part of z, uncorrelated with the gradient over initialisations.
        weights = layer.C_W * float(kernel.signal.diagonal().mean())
        sizes.append(float(kernel.kernel.diagonal().mean()) ** 0.5)
        changes.append((max(square, 0.0) + step.decay**2 * weights) ** 0.5)
    return sizes, changes


def _factor(kernel: Tensor) -> Tensor:
    """A with A A^T = kernel; the kernel may be singular."""
    values, vectors = torch.linalg.eigh(kernel)
    return vectors * values.clamp(min=0.0).sqrt()


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _output_gradients(
    kernel: Tensor, loss: Callable[[Any], Tensor], shape: Sequence[int], generator: torch.Generator
) -> Tensor:
    """Gradients of the loss in outputs with this kernel, shape (N, draws x n_L)."""
    factor = _factor(kernel)
    found = []
    for _ in range(_OUTPUT_DRAWS):
        outputs = (factor @ _normal(generator, len(kernel), shape[-1])).reshape(tuple(shape)).requires_grad_()
        (gradient,) = torch.autograd.grad(loss(outputs), outputs)
        found.append(gradient.reshape(len(kernel), -1))
    return torch.cat(found, dim=1)


def _sign_steps(
    network: Network,
    kernels: list[LayerKernels],
    number: int,
    x: Tensor,
    delta: Tensor,
    step: LayerStep,
    generator: torch.Generator,
) -> float:
    """Mean square of dz over the batch, over draws of what the layer takes, and over neurons with gradients ``delta``,
    shape (N, neurons).
    """
    layer = network.layers[number]
    before = network.layers[number - 1]
    factor = None if number == 0 else _factor(kernels[number - 1].kernel)
    total = 0.0
    for _ in range(_LAYER_DRAWS):
        if factor is None:
            signal = x
        else:
            assert before.activation is not None
            signal = before.activation(factor @ _normal(generator, len(x), before.n_out))
        weights, biases = signal.T @ delta, delta.sum(0)
        if step.coupled[0]:
            weights = weights + step.coupled[0] * (layer.C_W / layer.n_in) ** 0.5 * _normal(generator, *weights.shape)
        if step.coupled[1]:
            biases = biases + step.coupled[1] * layer.C_b**0.5 * _normal(generator, *biases.shape)
        change = step.weights * signal @ torch.sign(weights) + step.biases * torch.sign(biases)
        total += float((change**2).mean()) / _LAYER_DRAWS
    return total
