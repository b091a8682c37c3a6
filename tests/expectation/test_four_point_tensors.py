"""E[s^(i) s^(j) s^(k) s^(l)] as full tensors, against tensor-product quadrature and its own symmetries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from repflow.activation import as_activation
from repflow.expectation.four_point_tensors import four_point_tensors
from repflow.expectation.pair_moments import PairMoments
from repflow.expectation.slope_map import slope_map

SIX = [(0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1), (0, 1, 1, 2), (1, 1, 1, 3), (1, 1, 2, 2)]
K3 = torch.tensor([[2.0, 0.9, -0.4], [0.9, 0.7, 0.1], [-0.4, 0.1, 1.2]], dtype=torch.float64)


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "sin", "erf"])
def test_smooth_against_the_trapezoid_rule(name):
    loading = np.array([[1.3, 0.0], [0.6, 0.5], [-0.3, 1.0]])  # three inputs in a plane: K is singular
    u = np.linspace(-8, 8, 161)
    grid = np.stack(np.meshgrid(u, u, indexing="ij")).reshape(2, -1)
    weights = np.exp(-0.5 * (grid**2).sum(0)) * (0.1 / np.sqrt(2 * np.pi)) ** 2
    z = loading @ grid
    exact = [torch.as_tensor(z[i]) for i in range(3)]
    values = [[as_activation(name).derivative(x, k).numpy() for k in range(4)] for x in exact]
    found = four_point_tensors(as_activation(name), torch.as_tensor(loading @ loading.T), SIX).values
    for orders in SIX:
        for abcd in [(0, 1, 2, 0), (2, 1, 1, 0), (1, 0, 1, 0), (2, 2, 2, 1), (0, 0, 0, 0)]:
            product = np.prod([values[a][k] for a, k in zip(abcd, orders)], axis=0)
            scale = np.prod([(values[a][k] ** 4 @ weights) ** 0.25 for a, k in zip(abcd, orders)])
            assert abs(float(found[orders][abcd]) - product @ weights) <= 1e-8 * scale, (orders, abcd)


@pytest.mark.parametrize("name", ["gelu", "leaky_relu:0.2", "hardtanh"])
def test_permuting_inputs_and_repeating_them(name):
    activation = as_activation(name)
    kinds = SIX if activation.smooth else SIX[:3]
    whole = four_point_tensors(activation, K3, kinds).values
    order = [2, 0, 1, 0]
    again = four_point_tensors(activation, K3[order][:, order], kinds).values
    limit = 1e-9 if activation.smooth else 1e-5
    for orders in kinds:
        expected = whole[orders][order][:, order][:, :, order][:, :, :, order]
        torch.testing.assert_close(again[orders], expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("name", ["relu", "abs", "elu:0.5", "hardtanh"])
def test_kinked_pairs_are_products_where_independent(name):
    activation = as_activation(name)
    k = torch.zeros(4, 4, dtype=torch.float64)
    k[:2, :2], k[2:, 2:] = K3[:2, :2], K3[1:, 1:]
    found = four_point_tensors(activation, k, [(1, 1, 1, 1)]).values[1, 1, 1, 1]
    slopes = slope_map(activation, k).mean
    assert float(found[0, 1, 2, 3]) == pytest.approx(float(slopes[0, 1] * slopes[2, 3]), abs=1e-5)


def test_orders_in_any_arrangement_are_one_tensor_with_its_axes_moved():
    found = four_point_tensors(as_activation("tanh"), K3, list(itertools.permutations((0, 1, 1, 2)))).values
    torch.testing.assert_close(found[2, 1, 0, 1], found[0, 1, 1, 2].permute(3, 1, 0, 2), rtol=1e-12, atol=1e-15)


def test_derivatives_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="twice differentiable"):
        four_point_tensors(as_activation("relu"), K3, [(0, 1, 1, 2)])
    with pytest.raises(ValueError, match="jumps"):
        four_point_tensors(as_activation("perceptron"), K3, [(1, 1, 1, 1)])
    with pytest.raises(ValueError, match="jumps"):
        slope_map(as_activation("perceptron"), K3)
    with pytest.raises(ValueError, match="not smooth"):
        PairMoments(as_activation("relu"), K3)


@pytest.mark.parametrize("name", ["tanh", "relu", "hardtanh", "elu:0.5", "softsign"])
def test_slope_map_derivatives_against_differences(name):
    activation, h = as_activation(name), 1e-4

    def change(i, j, size):
        k = K3.clone()
        k[i, j] += size
        if i != j:
            k[j, i] += size
        return slope_map(activation, k, 1)

    maps = slope_map(activation, K3, 2)
    for i, j, first, second, of in ((0, 1, "d_cross", "h_cross", "d_cross"), (0, 0, "d_self", "h_self", "d_self")):
        ahead, behind = change(i, j, h), change(i, j, -h)
        for part, moving in ((first, "mean"), (second, of)):
            slope = (getattr(ahead, moving)[0, 1] - getattr(behind, moving)[0, 1]) / (2 * h)
            assert float(getattr(maps, part)[0, 1]) == pytest.approx(float(slope), abs=1e-6)
