"""Networks for the tests of the recursion."""

from __future__ import annotations

import numpy as np
import pytest

from repflow.activation import as_activation
from repflow.network import Layer, Network


def _network(widths, activation="tanh", C_W=1.0, C_b=0.0, lambda_W=1.0, lambda_b=1.0):
    last = len(widths) - 2
    sigma = as_activation(activation)
    return Network(
        tuple(
            Layer(widths[l], widths[l + 1], C_W, C_b, lambda_W, lambda_b, sigma if l < last else None)
            for l in range(last + 1)
        )
    )


@pytest.fixture(scope="session")
def network():
    """Maker of a network: ``network(widths, activation, C_W, C_b, lambda_W, lambda_b)``."""
    return _network


@pytest.fixture(scope="session")
def inputs():
    """Five inputs of seven numbers, K about 1."""
    return np.random.default_rng(11).standard_normal((5, 7))
