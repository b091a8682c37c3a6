"""An exact theory of small size: deep linear networks, whose 1/n expansion is known in closed form for any inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from repflow.activation import as_activation
from repflow.network import Layer, Network


@dataclass(frozen=True)
class _LinearLayer:
    """K, and V and G1 = 0 over n_{l-1}, of a linear network by G' = C_W S S^T / n: V' sums one Wishart covariance a
    layer.
    """

    index: int
    n_in: int
    kernel: np.ndarray
    covariance: np.ndarray
    factor: float
    statistics = ("mean_kernel", "kernel_covariance")

    def statistic(self, name, order=None):
        return getattr(self, name)(order)

    def mean_kernel(self, order=None):
        return self.kernel * (1.0 if order == 0 else self.factor)

    def kernel_covariance(self, order=None):
        return np.zeros_like(self.covariance) if order == 0 else self.covariance * self.factor


class LinearFlow:
    """What ``compare`` asks of a flow. ``factor`` falsifies the theory: 1 is right."""

    def __init__(self, network, x, order=1, factor=1.0):
        self.network, self.x, self.order = network, x, order
        self.layers = []
        kernel = x @ x.T * (network.layers[0].C_W / network.widths[0])
        covariance = np.zeros((len(x),) * 4)
        for number, layer in enumerate(network.layers):
            if number:
                n, weight = layer.n_in, layer.C_W
                wick = np.einsum("ac,bd->abcd", kernel, kernel) + np.einsum("ad,bc->abcd", kernel, kernel)
                covariance = weight**2 * (covariance + wick / n)
                kernel = weight * kernel
            self.layers.append(_LinearLayer(number + 1, layer.n_in, kernel, covariance, factor if number else 1.0))

    def __len__(self):
        return len(self.layers)

    def __getitem__(self, index):
        return self.layers[index - 1 if index > 0 else index]


def _linear(widths, C_W=1.0):
    last = len(widths) - 2
    sigma = as_activation("identity")
    return Network(
        tuple(Layer(widths[l], widths[l + 1], C_W, activation=sigma if l < last else None) for l in range(last + 1))
    )


@pytest.fixture(scope="session")
def linear():
    """Maker of a deep linear network without biases: ``linear(widths, C_W)``."""
    return _linear


@pytest.fixture(scope="session")
def linear_flow():
    """Maker of its exact first-order theory: ``linear_flow(network, x, order, factor)``."""
    return LinearFlow
