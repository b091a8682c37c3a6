"""Stacks of networks on one batch: outputs, a step of gradient descent, hidden kernels, tangent kernels.

A layer of R networks is one batched product. Signals are held as (R, N, n_l), a row an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.network import Layer


@dataclass
class Stack:
    """R networks of one shape.

    Attributes
    ----------
    layers
        Layers 1..L; ``n_in`` of the first is n_0 whatever the number of columns that its weights have.
    weights, biases
        Shapes (R, n_l, n_{l-1}) and (R, n_l); a step changes them in place.
    """

    layers: Sequence[Layer]
    weights: list[Tensor]
    biases: list[Tensor]


def _signals(stack: Stack, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """(z^(1), ..., z^(L)) and (s^(0), ..., s^(L-1)), the preactivations of layers and the signals that enter them."""
    signal = x.expand(len(stack.weights[0]), *x.shape)
    preactivations, signals = [], []
    for layer, weights, biases in zip(stack.layers, stack.weights, stack.biases, strict=True):
        signals.append(signal)
        z = torch.baddbmm(biases[:, None, :], signal, weights.transpose(1, 2))
        preactivations.append(z)
        if layer.activation is not None:
            signal = layer.activation(z)
    return preactivations, signals


def _slope(layer: Layer, z: Tensor) -> Tensor:
    assert layer.activation is not None
    return layer.activation.derivative(z)


def outputs_of(stack: Stack, x: Tensor) -> Tensor:
    """f, shape (R, N, n_L)."""
    return _signals(stack, x)[0][-1]


def hidden_kernels(stack: Stack, x: Tensor) -> Tensor:
    """(1/n_l) sum_k z_k;a z_k;b of layers 1..L-1, shape (R, L - 1, N, N)."""
    hidden = _signals(stack, x)[0][:-1]
    if not hidden:
        return x.new_empty(len(stack.weights[0]), 0, len(x), len(x))
    return torch.stack([z @ z.transpose(1, 2) / z.shape[-1] for z in hidden], dim=1)


def mean_tangent_kernel(stack: Stack, x: Tensor) -> Tensor:
    """(1/n_L) sum_i H_ii;ab, the NTK averaged over outputs, shape (R, N, N).

    H_ii;ab = sum_l (lambda_b + lambda_W s_a.s_b/n_{l-1}) sum_k (df_i;a/dz_k;a)(df_i;b/dz_k;b), layer by layer from the
    output: the gradient of a weight is a product of the signal that enters it and of the slope behind it.
    """
    preactivations, signals = _signals(stack, x)
    count, n = len(stack.weights[0]), len(x)
    outputs = stack.layers[-1].n_out
    eye = torch.eye(outputs, dtype=x.dtype)
    # df_i;a/dz_k;a as (R, n_L, N, n_l)
    slopes = eye[None, :, None, :].expand(count, outputs, n, outputs)
    total = x.new_zeros(count, n, n)
    for number in range(len(stack.layers) - 1, -1, -1):
        layer, signal = stack.layers[number], signals[number]
        gram = layer.lambda_b + layer.lambda_W / layer.n_in * (signal @ signal.transpose(1, 2))
        total += gram * (slopes @ slopes.transpose(2, 3)).mean(1)
        if number:
            behind = (slopes.reshape(count, outputs * n, -1) @ stack.weights[number]).reshape(count, outputs, n, -1)
            slopes = behind * _slope(stack.layers[number - 1], preactivations[number - 1])[:, None]
    return total


def gradient_step(stack: Stack, x: Tensor, targets: Tensor, learning_rate: float) -> None:
    """One step of gradient descent on (1/2N) sum |f - y|^2, in place: weights at learning_rate lambda_W/n_{l-1}, biases
    at learning_rate lambda_b.
    """
    preactivations, signals = _signals(stack, x)
    gradient = (preactivations[-1] - targets) / len(x)
    for number in range(len(stack.layers) - 1, -1, -1):
        layer, weights = stack.layers[number], stack.weights[number]
        below = None
        if number:
            below = (gradient @ weights) * _slope(stack.layers[number - 1], preactivations[number - 1])
        rate = learning_rate * layer.lambda_W / layer.n_in
        weights.baddbmm_(gradient.transpose(1, 2), signals[number], alpha=-rate)
        stack.biases[number].sub_(learning_rate * layer.lambda_b * gradient.sum(1))
        if below is not None:
            gradient = below
