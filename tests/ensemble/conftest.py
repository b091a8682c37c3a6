"""Small networks, and all the bits of an ensemble."""

from __future__ import annotations

import pytest

from repflow.activation import as_activation
from repflow.network import Layer, Network


def _network(widths, activation="tanh", C_W=1.0, C_b=0.0):
    last = len(widths) - 2
    sigma = as_activation(activation)
    return Network(
        tuple(
            Layer(widths[l], widths[l + 1], C_W, C_b, activation=sigma if l < last else None) for l in range(last + 1)
        )
    )


def _bits(ensemble):
    state = ensemble.state
    return (
        ensemble.networks,
        state.counts,
        state.level,
        b"".join(group.tobytes() for group in state.groups),
        state.histogram.tobytes(),
        ensemble.centre.tobytes(),
        ensemble.scale.tobytes(),
    )


@pytest.fixture
def network():
    """Maker of a network: ``network(widths, activation, C_W, C_b)``."""
    return _network


@pytest.fixture
def bits():
    """Everything that an ensemble measured, to be compared bit for bit."""
    return _bits
