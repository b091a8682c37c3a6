"""Samplers against exact results at every width: deep linear networks and ReLU with a single input."""

from __future__ import annotations

import numpy as np
import pytest

from repflow.ensemble import sample

_METHODS = ["weights", "gram"]


def _agree(measured, expected, stderr, scale=1.0):
    """Within five standard errors; where there is none, equal up to rounding."""
    assert np.all(np.abs(measured - expected) <= 5 * stderr + 1e-12 * scale)


def _linear_moments(net, x):
    """E[G] and E[G_ab G_cd] of every layer of a linear network, by Wick's theorem for the neurons given G."""
    layers = net.layers
    mean = layers[0].C_b + layers[0].C_W * x @ x.T / layers[0].n_in
    square = np.multiply.outer(mean, mean)
    found = [(mean, square)]
    for layer in layers[1:]:
        bias, weight, n = layer.C_b, layer.C_W, layer.n_in
        crossed = np.einsum("acbd->abcd", square) + np.einsum("adbc->abcd", square)
        linear = np.multiply.outer(mean, np.ones_like(mean)) + np.multiply.outer(np.ones_like(mean), mean)
        square = bias**2 + bias * weight * linear + weight**2 * (square + crossed / n)
        mean = bias + weight * mean
        found.append((mean, square))
    return found


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("width", [2, 8, 64])
@pytest.mark.parametrize("C_b", [0.0, 0.3])
def test_linear_network_with_three_inputs(network, method, width, C_b):
    x = np.random.default_rng(2).standard_normal((3, 6))
    net = network([6, width, width, 2 * width, 5], "identity", 0.9, C_b)
    ensemble = sample(net, x, 12_000, 7, method)
    for layer, (mean, square) in zip(ensemble, _linear_moments(net, x), strict=True):
        covariance = square - np.multiply.outer(mean, mean)
        crossed = square + np.einsum("acbd->abcd", square) + np.einsum("adbc->abcd", square)
        scale = np.abs(square).max()
        _agree(layer.mean_kernel(), mean, layer.stderr("mean_kernel"))
        _agree(layer.kernel_covariance(), covariance, layer.stderr("kernel_covariance"), scale)
        _agree(layer.second_moment(), mean, layer.stderr("second_moment"))
        _agree(layer.fourth_moment(), crossed, layer.stderr("fourth_moment"))
        inputs = np.arange(3)
        own = (inputs, inputs, inputs, inputs)
        kurtosis = 3 * square[own] / mean[inputs, inputs] ** 2 - 3
        _agree(layer.excess_kurtosis(), kurtosis, layer.stderr("excess_kurtosis"))


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("width", [2, 8, 64])
def test_linear_single_input_is_a_product_of_chi_squares(network, method, width):
    x = np.array([[1.0, -2.0, 0.5]])
    kernel = (x**2).sum() / 3
    ensemble = sample(network([3, width, width, 4], "identity"), x, 20_000, 3, method)
    for layer in ensemble:
        passed = layer.index - 1
        second = (1 + 2 / width) ** passed
        third = ((1 + 2 / width) * (1 + 4 / width)) ** passed
        variance = kernel**2 * (second - 1)
        _agree(layer.kernel_covariance()[0, 0, 0, 0], variance, layer.stderr("kernel_covariance").item())
        cumulant = kernel**3 * (third - 3 * second + 2)
        _agree(layer.kernel_third_cumulant(), cumulant, layer.stderr("kernel_third_cumulant"))


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("width", [2, 8, 64])
def test_relu_single_input_is_a_product_of_independent_factors(network, method, width):
    x = np.array([[1.0, -2.0, 0.5]])
    kernel = 2 * (x**2).sum() / 3
    ensemble = sample(network([3, width, width, 4], "relu", C_W=2.0), x, 20_000, 11, method)
    n = width
    # one factor is the mean of n copies of 2 relu(u)^2, whose moments are 1, 6 and 60
    second = 1 + 5 / n
    third = ((n - 1) * (n - 2) + 18 * (n - 1) + 60) / n**2
    for layer in ensemble:
        passed = layer.index - 1
        _agree(layer.mean_kernel(), kernel, layer.stderr("mean_kernel"))
        variance = kernel**2 * (second**passed - 1)
        _agree(layer.kernel_covariance(), variance, layer.stderr("kernel_covariance"))
        cumulant = kernel**3 * (third**passed - 3 * second**passed + 2)
        _agree(layer.kernel_third_cumulant(), cumulant, layer.stderr("kernel_third_cumulant"))
        _agree(layer.excess_kurtosis(), 3 * second**passed - 3, layer.stderr("excess_kurtosis"))


def test_standard_errors_are_of_the_right_size(network):
    """z-scores of many exact results are standard normal, so a standard error that is off by a quarter would show."""
    x = np.array([[1.0, 0.5]])
    net = network([2, 16, 16, 3], "identity")
    kernel = 1.25 / 2
    second = (1 + 2 / 16) ** 2
    expected = {
        "mean_kernel": kernel,
        "kernel_covariance": kernel**2 * (second - 1),
        "second_moment": kernel,
        "fourth_moment": 3 * kernel**2 * second,
    }
    scores: dict[str, list[float]] = {name: [] for name in expected}
    for seed in range(200):
        layer = sample(net, x, 512, seed, "gram")[-1]
        for name, value in expected.items():
            scores[name].append((getattr(layer, name)().item() - value) / layer.stderr(name).item())
    for name, values in scores.items():
        assert 0.8 < np.std(values) < 1.3, name
