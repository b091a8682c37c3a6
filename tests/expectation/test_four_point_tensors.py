"""E[s^(i) s^(j) s^(k) s^(l)] as full tensors, against tensor-product quadrature and its own symmetries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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


K4 = torch.tensor(
    [[1.1, 0.4, -0.3, 0.2], [0.4, 0.8, 0.1, -0.2], [-0.3, 0.1, 1.4, 0.5], [0.2, -0.2, 0.5, 0.6]], dtype=torch.float64
)


def _quadruples():
    return itertools.product(range(4), repeat=4)


def test_sines_are_exponentials_of_quadratic_forms():
    found = four_point_tensors(as_activation("sin"), K4, SIX)
    signs = np.array(list(itertools.product((1, -1), repeat=4)))
    for orders in SIX:
        # sin^(k)(z) = sin(z + k pi/2), and every sine is two exponentials
        weight = (signs / 2j * np.exp(1j * signs * np.array(orders) * math.pi / 2)).prod(1)
        for abcd in _quadruples():
            k = K4.numpy()[np.ix_(abcd, abcd)]
            exact = (weight * np.exp(-0.5 * np.einsum("si,ij,sj->s", signs, k, signs))).sum().real
            assert abs(float(found.values[orders][abcd]) - exact) <= 2e-10, (orders, abcd)
    assert found.error < 1e-8


def test_slopes_of_erf_are_gaussian_integrals():
    kinds = [(1, 1, 1, 1), (1, 1, 1, 3), (1, 1, 2, 2)]
    found = four_point_tensors(as_activation("erf"), K4, kinds)
    for abcd in _quadruples():
        k = K4.numpy()[np.ix_(abcd, abcd)]
        amplitude = (4 / math.pi) ** 2 / math.sqrt(np.linalg.det(np.eye(4) + 2 * k))
        tilted = k @ np.linalg.inv(np.eye(4) + 2 * k)
        exact = {kinds[0]: 1.0, kinds[1]: 4 * tilted[3, 3] - 2, kinds[2]: 4 * tilted[2, 3]}
        for orders in kinds:
            assert float(found.values[orders][abcd]) == pytest.approx(amplitude * exact[orders], abs=2e-9), abcd
    assert found.error < 1e-8


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["tanh", "silu", "relu", "leaky_relu:0.2"]),
    order=st.lists(st.integers(0, 2), min_size=1, max_size=4),
    x=st.lists(st.floats(-1.5, 1.5, width=16), min_size=9, max_size=9),
)
def test_inputs_in_any_order_with_any_repetitions(name, order, x):
    rows = torch.tensor(x, dtype=torch.float64).reshape(3, 3)
    k = rows @ rows.T
    kinds = SIX[3:5] if name in ("tanh", "silu") else SIX[1:3]
    whole = four_point_tensors(as_activation(name), k, kinds)
    again = four_point_tensors(as_activation(name), k[order][:, order], kinds)
    limit = 1e-8 + 10 * (whole.error + again.error)
    for orders in kinds:
        expected = whole.values[orders][order][:, order][:, :, order][:, :, :, order]
        torch.testing.assert_close(again.values[orders], expected, rtol=limit, atol=limit)


def test_the_error_tells_of_a_callable_that_the_grid_does_not_resolve():
    def narrow(z):
        return torch.tanh(20 * z) / 20

    assert four_point_tensors(as_activation(narrow), K3, SIX).error > 1e-6
