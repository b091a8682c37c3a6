"""The recursion against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from repflow.recursion import flow

WIDTHS = (7, 5, 9, 4, 6, 3)


def _relative(inputs):
    return inputs @ inputs.T / inputs.shape[1]


@pytest.mark.parametrize("widths", [WIDTHS, (7, 2, 2, 2), (7, 64, 8, 2, 10)])
def test_deep_linear_network(network, inputs, widths):
    """C_b = 0: E[G] = K exactly, and Cov(G_ab, G_cd) = (K_ac K_bd + K_ad K_bc) sum_l 1/n_l at order 1/n."""
    found = flow(network(widths, "identity", 1.3), inputs)
    for l in range(1, len(widths)):
        layer = found[l]
        k = 1.3**l * _relative(inputs)
        wick = np.einsum("ac,bd->abcd", k, k) + np.einsum("ad,bc->abcd", k, k)
        expected = wick * sum(1 / widths[m] for m in range(1, l))
        np.testing.assert_allclose(layer.kernel, k, rtol=1e-12)
        np.testing.assert_allclose(layer.kernel_covariance(), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.kernel_correction, 0, atol=1e-12)
        np.testing.assert_allclose(layer.mean_kernel(), layer.mean_kernel(order=0), atol=1e-12)


@pytest.mark.parametrize("width", [2, 8, 64])
@pytest.mark.parametrize(("name", "C_W", "share"), [("identity", 1.0, 2), ("relu", 2.0, 5), ("abs", 1.0, 2)])
def test_one_input_and_a_homogeneous_activation(network, name, C_W, share, width):
    """G^(L)/G^(1) is a product of L - 1 independent means of n squares, each of relative variance share/n."""
    depth = 9
    found = flow(network((5, *[width] * (depth - 1), 3), name, C_W), np.full((1, 5), 1.2))
    for layer in found:
        assert float(layer.kernel) == pytest.approx(1.44 * C_W, rel=1e-12)
        ratio = float(layer.vertex) / float(layer.kernel) ** 2 / layer.n_in
        assert ratio == pytest.approx(share * (layer.index - 1) / width, rel=1e-10, abs=1e-13)
        exact = (1 + share / width) ** (layer.index - 1) - 1
        assert ratio <= exact + 1e-12
        assert float(layer.kernel_correction) == pytest.approx(0, abs=1e-10)
        assert layer.excess_kurtosis().tolist() == pytest.approx([3 * ratio], rel=1e-9, abs=1e-12)


def test_first_order_is_the_first_term_of_the_exact_relu_variance(network):
    """Var G/K^2 = (1 + 5/n)^(L-1) - 1 exactly: what order 1 leaves falls as 1/n^2."""
    depth, left = 6, []
    for width in (64, 128):
        found = flow(network((5, *[width] * (depth - 1), 3), "relu", 2.0), np.ones((1, 5)))[-1]
        left.append((1 + 5 / width) ** (depth - 1) - 1 - float(found.kernel_covariance()) / float(found.kernel) ** 2)
    assert 3.3 < left[0] / left[1] < 4.7


def _arc_cosine(k):
    size = np.sqrt(np.diag(k))
    rho = np.clip(k / np.outer(size, size), -1, 1)
    angle = np.arccos(rho)
    mean = np.outer(size, size) * (np.sin(angle) + (np.pi - angle) * rho) / (2 * np.pi)
    return mean, (np.pi - angle) / (2 * np.pi)


def _arc_sine(k):
    scale = np.sqrt(1 + 2 * np.diag(k))
    mean = 2 / np.pi * np.arcsin(2 * k / np.outer(scale, scale))
    return mean, 4 / np.pi / np.sqrt(np.outer(1 + 2 * np.diag(k), 1 + 2 * np.diag(k)) - 4 * k**2)


def _linear(k):
    return k, np.ones_like(k)


@pytest.mark.parametrize(("name", "map_"), [("relu", _arc_cosine), ("erf", _arc_sine), ("identity", _linear)])
@pytest.mark.parametrize(("C_b", "lambda_b"), [(0.0, 1.0), (0.3, 0.7)])
def test_kernel_and_tangent_kernel_in_closed_form(network, inputs, name, map_, C_b, lambda_b):
    """K' = C_b + C_W <s s>, Theta' = lambda_b + lambda_W <s s> + C_W <s' s'> Theta (Jacot et al. 2018)."""
    C_W, lambda_W = 1.7, 0.6
    found = flow(network(WIDTHS, name, C_W, C_b, lambda_W, lambda_b), inputs, order=0, tangent=True)
    k = C_b + C_W * _relative(inputs)
    theta = lambda_b + lambda_W * _relative(inputs)
    for layer in found:
        np.testing.assert_allclose(layer.kernel, k, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(layer.ntk, theta, rtol=1e-6, atol=1e-7)
        mean, slope = map_(k)
        k, theta = C_b + C_W * mean, lambda_b + lambda_W * mean + C_W * slope * theta


def test_infinite_width_is_the_limit_of_order_1(network, inputs):
    wide = flow(network((7, 10**7, 10**7, 3), "tanh"), inputs)[-1]
    np.testing.assert_allclose(wide.mean_kernel(), wide.kernel, rtol=1e-5)
    assert float(wide.kernel_covariance().abs().max()) < 1e-6
    narrow = flow(network((7, 10, 10, 3), "tanh"), inputs)[-1]
    assert torch.equal(narrow.kernel, wide.kernel)


def test_layer_one_does_not_fluctuate(network, inputs):
    first = flow(network(WIDTHS, "gelu", 2.0, 0.1), inputs, tangent=True)[1]
    np.testing.assert_allclose(first.kernel, 0.1 + 2.0 * _relative(inputs), rtol=1e-13)
    np.testing.assert_allclose(first.ntk, 1 + _relative(inputs), rtol=1e-13)
    assert not first.vertex.any()
    assert not first.kernel_correction.any()


def test_one_layer_of_tanh_at_any_width(network):
    """Layer 2 of one input: V = C_W^2 Var(tanh^2) and G1 = 0, for every width of layer 1, exactly."""
    z = np.linspace(-12, 12, 20001)
    weight = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    second, fourth = (weight * np.tanh(z) ** 2).sum(), (weight * np.tanh(z) ** 4).sum()
    for width in (1, 30):
        layer = flow(network((5, width, 3), "tanh", 1.0), np.ones((1, 5)))[2]
        assert float(layer.vertex) == pytest.approx(fourth - second**2, rel=1e-9)
        assert float(layer.kernel_correction) == 0.0


@pytest.mark.parametrize(("name", "map_"), [("relu", _arc_cosine), ("erf", _arc_sine), ("identity", _linear)])
def test_closed_forms_of_two_hundred_inputs_at_depth_ten(network, name, map_):
    """To 1e-10 of the largest entry, on inputs in all directions: the closed forms lose digits near rho = 1 alone."""
    C_W = {"relu": 2.0, "erf": 1.2, "identity": 1.0}[name]
    x = np.random.default_rng(2).standard_normal((200, 30))
    found = flow(network((30, *[50] * 9, 10), name, C_W, 0.0, 0.9, 0.2), x, order=0, tangent=True)
    k, theta = C_W * _relative(x), 0.2 + 0.9 * _relative(x)
    for layer in found:
        np.testing.assert_allclose(layer.kernel, k, atol=1e-10 * k.max())
        np.testing.assert_allclose(layer.ntk, theta, atol=1e-10 * theta.max())
        mean, slope = map_(k)
        if name == "relu":
            np.fill_diagonal(slope, 0.5)  # arccos of 1 - 1e-16 is 1e-8
        k, theta = C_W * mean, 0.2 + 0.9 * mean + C_W * slope * theta
    assert layer.index == 10
