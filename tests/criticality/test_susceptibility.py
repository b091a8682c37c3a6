import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from repflow.criticality import chi_parallel, chi_perpendicular, correlation_length, kernel_map

SMOOTH = {
    "tanh": (np.tanh, lambda z: 1 / np.cosh(np.clip(z, -300, 300)) ** 2),
    "sin": (np.sin, np.cos),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "elu": (lambda z: z if z > 0 else np.expm1(z), lambda z: 1.0 if z > 0 else np.exp(z)),
    "hardtanh": (lambda z: np.clip(z, -1, 1), lambda z: 1.0 if abs(z) < 1 else 0.0),
}


def gaussian(function, K):
    """Adaptive integration, independent of the library's rules."""

    def integrand(z):
        return function(z) * math.exp(-z * z / (2 * K)) / math.sqrt(2 * math.pi * K)

    edges = sorted({-1.0, 0.0, 1.0, *(k * math.sqrt(K) for k in (-12, -6, -3, -1, 1, 3, 6, 12))})
    return sum(quad(integrand, a, b, epsabs=1e-14, epsrel=1e-12)[0] for a, b in pairwise(edges))


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("K", [0.05, 0.7, 3.6, 20.0])
def test_against_adaptive_integration(name, K):
    sigma, slope = SMOOTH[name]
    assert kernel_map(name, K, 1.7, 0.3) == pytest.approx(0.3 + 1.7 * gaussian(lambda z: sigma(z) ** 2, K), rel=1e-10)
    assert chi_perpendicular(name, K, 1.7) == pytest.approx(1.7 * gaussian(lambda z: slope(z) ** 2, K), rel=1e-9)
    # d<s s>/dK = <s s' u> / sqrt(K), by parts: another formula than the one in use
    parallel = 1.7 * gaussian(lambda z: sigma(z) * slope(z) * z / K, K)
    assert chi_parallel(name, K, 1.7) == pytest.approx(parallel, rel=1e-9)


@pytest.mark.parametrize("name", ["tanh", "gelu", "softsign", "hardtanh", "selu", "softplus", "monomial:3"])
def test_chi_parallel_is_the_slope_of_the_kernel_map(name):
    K = np.array([0.02, 0.5, 4.0])
    step = 1e-4 * K
    difference = (kernel_map(name, K + step, 1.3, 0.2) - kernel_map(name, K - step, 1.3, 0.2)) / (2 * step)
    np.testing.assert_allclose(chi_parallel(name, K, 1.3), difference, rtol=2e-7)


def test_closed_forms():
    K = np.array([[0.3, 1.0], [2.5, 9.0]])
    np.testing.assert_allclose(kernel_map("relu", K, 2.0, 0.1), 0.1 + K, rtol=1e-12)
    np.testing.assert_allclose(kernel_map("sin", K, 1.0, 0.0), (1 - np.exp(-2 * K)) / 2, rtol=1e-12)
    np.testing.assert_allclose(chi_parallel("sin", K, 1.0), np.exp(-2 * K), rtol=1e-11, atol=1e-16)
    np.testing.assert_allclose(chi_perpendicular("sin", K, 1.0), (1 + np.exp(-2 * K)) / 2, rtol=1e-12)
    np.testing.assert_allclose(chi_parallel("monomial:3", K, 1.0), 45 * K**2, rtol=1e-11)


@pytest.mark.parametrize(
    ("name", "parallel", "perpendicular", "value"),
    [
        ("tanh", 2.0, 2.0, 0.0),
        ("selu", None, None, 0.0),
        ("gelu", 0.5, 0.5, 0.0),
        ("sigmoid", 2 / 16, 2 / 16, 0.5),
        ("monomial:2", 0.0, 0.0, 0.0),
        ("softplus", 2 * (0.25 + math.log(2) * 0.25), 0.5, 2 * math.log(2) ** 2),
    ],
)
def test_limits_at_zero(name, parallel, perpendicular, value):
    assert kernel_map(name, 0.0, 2.0, 0.0) == pytest.approx(value, abs=1e-12)
    for chi, limit in ((chi_parallel, parallel), (chi_perpendicular, perpendicular)):
        at_zero = chi(name, 0.0, 2.0)
        if limit is not None:
            assert at_zero == pytest.approx(limit, abs=1e-12)
        assert chi(name, 1e-8, 2.0) == pytest.approx(at_zero, rel=2e-3, abs=1e-6)


def test_a_jump_makes_chi_perpendicular_infinite():
    assert math.isinf(chi_perpendicular("perceptron", 1.0, 2.0))
    assert math.isinf(chi_perpendicular("perceptron", 0.0, 2.0))
    assert chi_parallel("perceptron", 1.0, 2.0) == pytest.approx(0.0, abs=1e-14)
    assert kernel_map("perceptron", np.array([0.0, 1.0]), 2.0, 0.5) == pytest.approx([1.5, 1.5])


def test_a_kink_away_from_the_axis_diverges_at_zero():
    def lifted(z):
        return torch.relu(z) + 1.0

    assert chi_parallel(lifted, 0.0, 1.0) == math.inf
    assert chi_parallel(lifted, 1e-6, 1.0) == pytest.approx(1 / math.sqrt(2 * math.pi * 1e-6), rel=2e-3)


@settings(max_examples=25, deadline=None)
@given(C=st.floats(0.0, 10.0), K=st.floats(1e-6, 1e3))
def test_proportional_to_C_W(C, K):
    for chi in (chi_parallel, chi_perpendicular):
        assert chi("tanh", K, C) == pytest.approx(C * chi("tanh", K, 1.0), rel=1e-12)
    assert kernel_map("tanh", K, C, 0.5) <= 0.5 + C


def test_correlation_length():
    values = correlation_length([1.0, math.exp(-0.1), math.exp(0.1), -math.exp(-0.5), 0.0, math.inf])
    np.testing.assert_allclose(values, [math.inf, 10.0, 10.0, 2.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0, 0.0), "K must be finite"),
        ((math.nan, 1.0, 0.0), "K must be finite"),
        ((1.0, -1.0, 0.0), "C_W must be a finite number of 0 or more, got -1.0"),
        ((1.0, 1.0, math.inf), "C_b must be a finite number of 0 or more, got inf"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        kernel_map("tanh", *arguments)
