"""<s^(p)_a s^(q)_b> against two-dimensional Gauss-Hermite quadrature of derivatives from Cauchy's integral."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from repflow.activation import as_activation
from repflow.expectation.pair_moments import PairMoments, pair_moments

K = torch.tensor([[0.8, 0.3, -0.2, 0.8], [0.3, 0.4, 0.1, 0.3], [-0.2, 0.1, 0.6, -0.2], [0.8, 0.3, -0.2, 0.8]]).double()
_X, _W = np.polynomial.hermite_e.hermegauss(200)
_W = _W / _W.sum()


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu"])
def test_all_orders_against_gauss_hermite(reference, name):
    moments = PairMoments(as_activation(name), K)
    derivatives = [reference.derivative(name, order) for order in range(5)]
    for a, b in ((0, 1), (1, 2), (2, 0), (1, 1), (0, 3)):
        sigma = float(K[a, a]) ** 0.5
        along, rest = float(K[a, b]) / sigma, max(float(K[b, b] - K[a, b] ** 2 / K[a, a]), 0.0) ** 0.5
        first = [f(sigma * _X) for f in derivatives]
        second = [f(along * _X[:, None] + rest * _X) for f in derivatives]
        for p in range(5):
            for q in range(5):
                expected = (_W * first[p]) @ second[q] @ _W
                scale = np.sqrt((_W @ first[p] ** 2) * (_W @ second[q] ** 2 @ _W))
                assert abs(float(moments(p, q)[a, b]) - expected) <= 1e-7 * scale, (a, b, p, q)


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_transposing_exchanges_the_orders(name):
    moments = PairMoments(as_activation(name), K)
    for p, q in ((0, 2), (1, 3), (4, 1)):
        torch.testing.assert_close(moments(p, q), moments(q, p).T, rtol=1e-10, atol=1e-12)


def test_one_pair_of_orders_by_itself():
    torch.testing.assert_close(
        pair_moments(as_activation("tanh"), K, 3, 1), PairMoments(as_activation("tanh"), K)(3, 1), rtol=0, atol=0
    )


@pytest.mark.parametrize(("p", "q", "message"), [(5, 0, "p must be"), (0, -1, "q must be"), (0, 1.0, "q must be")])
def test_orders_out_of_range_are_refused(p, q, message):
    with pytest.raises(ValueError, match=message):
        pair_moments(as_activation("tanh"), K, p, q)
