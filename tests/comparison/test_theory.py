"""Theory against ensembles by the agreement rule: a named subset for every run, and the wide one marked slow."""

from __future__ import annotations

import numpy as np
import pytest

from repflow.activation import as_activation
from repflow.comparison import compare
from repflow.ensemble import sample
from repflow.network import Layer, Network
from repflow.recursion import flow

# Couplings near or at criticality (theory notes, section 3).
_COUPLINGS = {
    "tanh": (1.0, 0.0),
    "sin": (1.0, 0.0),
    "relu": (2.0, 0.0),
    "gelu": (1.98305826, 0.17292239),
    "silu": (1.98800468, 0.55514319),
}


def _network(widths, activation):
    sigma = as_activation(activation)
    C_W, C_b = _COUPLINGS[activation]
    last = len(widths) - 2
    return Network(
        tuple(
            Layer(widths[l], widths[l + 1], C_W, C_b, activation=sigma if l < last else None) for l in range(last + 1)
        )
    )


def _inputs(count):
    """Digits stand-ins: n_0 = 64, x.x/n_0 about 1, pairwise correlated."""
    rng = np.random.default_rng(8)
    return 0.6 * rng.standard_normal(64) + 0.8 * rng.standard_normal((count, 64))


def _pair(widths, activation, inputs, networks, seed=0):
    net = _network(widths, activation)
    x = _inputs(inputs)
    return flow(net, x, order=1), sample(net, x, networks, seed, "gram")


@pytest.mark.parametrize("activation", list(_COUPLINGS))
def test_two_widths(activation):
    small = _pair([64, 32, 32, 64, 5], activation, 2, 8_000)
    large = _pair([64, 64, 64, 128, 5], activation, 2, 8_000)
    result = compare(*small, other=large)
    assert result.agrees, repr(result)
    assert result.chi_square_acceptable, repr(result)


@pytest.mark.parametrize("method", ["weights", "gram"])
def test_one_width(method):
    net = _network([64, 96, 48, 6], "tanh")
    x = _inputs(3)
    result = compare(flow(net, x, order=1), sample(net, x, 8_000, 1, method))
    assert result.agrees, repr(result)


def test_deep_and_narrow_is_not_trusted():
    result = compare(*_pair([64, *[16] * 9, 5], "relu", 1, 500))
    assert result.r > 2
    assert not result.trusted
    assert "order 1 is not to be trusted" in result.verdict


@pytest.mark.slow
@pytest.mark.parametrize("activation", list(_COUPLINGS))
@pytest.mark.parametrize(("depth", "width"), [(2, 16), (4, 32), (6, 64), (10, 128)])
def test_two_widths_in_full(activation, depth, width):
    small = _pair([64, *[width] * (depth - 1), 10], activation, 4, 100_000, 3)
    large = _pair([64, *[2 * width] * (depth - 1), 10], activation, 4, 100_000, 3)
    result = compare(*small, other=large)
    if result.trusted:
        assert result.agrees, repr(result)
        assert result.chi_square_acceptable, repr(result)
    else:
        assert "order 1 is not to be trusted" in result.verdict
