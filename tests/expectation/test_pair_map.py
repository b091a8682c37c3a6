"""<s_a s_b> and <s'_a s'_b> for pairs of inputs against adaptive integration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from repflow.activation import as_activation
from repflow.expectation import pair_map

SMOOTH = (
    "identity", "tanh", "sin", "erf", "arctan", "gelu", "gelu_tanh", "silu", "mish", "softplus", "sigmoid",
    "monomial:2", "monomial:3",
)  # fmt: skip
KINKED = (
    "relu", "leaky_relu:0.2", "abs", "elu", "elu:0.5", "selu", "softsign", "hardtanh", "hardswish", "perceptron",
)  # fmt: skip
#: K_aa, K_bb, rho
PAIRS = (
    (1, 1, 0.5), (20, 0.05, 0.9), (20, 20, 0.2), (0.05, 0.05, -0.3), (5, 1, -0.95), (20, 20, 0.999), (20, 20, -0.999),
    (1, 1, 1 - 1e-5), (2, 3, -1 + 1e-7), (1, 1, 1 - 1e-9), (1, 1, 1), (3, 0.7, 1), (3, 0.7, -1), (2, 3, 0), (0, 1, 0),
)  # fmt: skip


def _kernel(first, second, rho):
    cross = rho * math.sqrt(first * second)
    return torch.tensor([[first, cross], [cross, second]], dtype=torch.float64)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in ("mish", "sigmoid", "softplus") else n for n in SMOOTH + KINKED],
)
def test_means_and_slopes_agree_with_adaptive_integration(reference, name):
    kinks = reference.ACTIVATIONS[name][1]
    limit = 1e-6 if kinks else 1e-8
    functions = reference.derivative(name, 0), reference.derivative(name, 1)
    for pair in PAIRS:
        kernel = _kernel(*pair)
        maps = pair_map(as_activation(name), kernel, slope=True)
        for found, f in zip((maps.mean, maps.slope), functions):
            expected = reference.two(f, f, kinks, pair[0], pair[1], float(kernel[0, 1]))
            bound = reference.bound2(f, f, kinks, pair[0], pair[1])
            assert abs(float(found[0, 1]) - expected) <= limit * max(bound, 1e-7), (pair, float(found[0, 1]), expected)
            assert float(found[1, 0]) == pytest.approx(float(found[0, 1]), rel=1e-13)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "hardtanh", "elu:0.5", "perceptron"])
def test_a_whole_data_set_gives_what_its_pairs_give(name):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(12, 5, dtype=torch.float64, generator=generator)
    x[3] = x[1]
    x[4] = -2 * x[1]
    x[5] = 0
    x[6] = x[2] + 1e-6 * x[0]
    x[7] *= 4
    kernel = x @ x.T / 5
    whole = pair_map(as_activation(name), kernel, derivatives=1, slope=True)
    for a in range(12):
        for b in range(a + 1, 12):
            index = torch.tensor([a, b])
            one = pair_map(as_activation(name), kernel[index][:, index], derivatives=1, slope=True)
            for field in ("mean", "slope", "d_self", "d_cross"):
                value, alone = getattr(whole, field)[index][:, index], getattr(one, field)
                np.testing.assert_allclose(
                    value.numpy(), alone.numpy(), atol=3e-7, rtol=3e-7, err_msg=f"{field} {a} {b}"
                )


def test_relu_is_the_arc_cosine_kernel():
    """Cho and Saul 2009, degree 1 and 0."""
    for first, second, rho in ((1, 1, 0.3), (4, 0.5, -0.8), (2, 2, 1 - 1e-10), (3, 1, -1)):
        maps = pair_map(as_activation("relu"), _kernel(first, second, rho), slope=True)
        angle = math.acos(rho)
        degree_one = math.sqrt(first * second) * (math.sin(angle) + (math.pi - angle) * rho) / (2 * math.pi)
        assert float(maps.mean[0, 1]) == pytest.approx(degree_one, rel=1e-9, abs=1e-12)
        assert float(maps.slope[0, 1]) == pytest.approx((math.pi - angle) / (2 * math.pi), rel=1e-9, abs=1e-12)


def test_erf_is_the_arc_sine_kernel():
    """Williams 1996: <erf erf> = (2/pi) asin(2 K_12 / sqrt((1 + 2 K_11)(1 + 2 K_22)))."""
    for derivatives in (0, 1):
        for first, second, rho in ((1, 1, 0.3), (4, 0.5, -0.8), (20, 20, 1)):
            maps = pair_map(as_activation("erf"), _kernel(first, second, rho), derivatives=derivatives)
            ratio = 2 * rho * math.sqrt(first * second) / math.sqrt((1 + 2 * first) * (1 + 2 * second))
            assert float(maps.mean[0, 1]) == pytest.approx(2 / math.pi * math.asin(ratio), rel=1e-9)


@pytest.mark.parametrize(
    ("function", "numpy", "kinks"),
    [
        (lambda z: torch.where(z > 0.7, z, 0.3 * z), lambda z: np.where(z > 0.7, z, 0.3 * z), (0.7,)),
        (lambda z: torch.relu(z + 1) - torch.relu(z - 2.5), lambda z: np.clip(z + 1, 0, 3.5), (-1.0, 2.5)),
        (lambda z: torch.sin(3 * z) + z**2 / 4, lambda z: np.sin(3 * z) + z**2 / 4, ()),
        (lambda z: torch.exp(-z * z), lambda z: np.exp(-z * z), ()),
        (lambda z: torch.tanh(z.abs() ** 1.5), lambda z: np.tanh(np.abs(z) ** 1.5), (0.0,)),
    ],
)
def test_callables_of_the_user(reference, function, numpy, kinks):
    """The first one jumps, the last one has a slope but no curvature at 0."""
    activation = as_activation(function)
    for pair in ((1, 1, 0.5), (6, 0.3, 0.9), (2, 2, -0.99), (1, 1, 1), (3, 0.7, -1), (0, 1, 0)):
        kernel = _kernel(*pair)
        found = float(pair_map(activation, kernel).mean[0, 1])
        expected = reference.two(numpy, numpy, kinks, pair[0], pair[1], float(kernel[0, 1]))
        limit = 1e-6 if kinks else 1e-8
        assert abs(found - expected) <= limit * reference.bound2(numpy, numpy, kinks, pair[0], pair[1])


def test_kernels_far_outside_the_usual_range(reference):
    for name, variances in (("tanh", (1e-6, 300.0)), ("hardtanh", (1e-6, 300.0)), ("softplus", (1e-4, 400.0))):
        f, kinks = reference.ACTIVATIONS[name]
        for pair in ((*variances, 0.7), (variances[1], variances[1], 0.95), (variances[0], variances[0], -0.5)):
            kernel = _kernel(*pair)
            found = float(pair_map(as_activation(name), kernel).mean[0, 1])
            expected = reference.two(f, f, kinks, pair[0], pair[1], float(kernel[0, 1]))
            assert abs(found - expected) <= 1e-6 * reference.bound2(f, f, kinks, pair[0], pair[1])
