"""Expectations over one variable."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from repflow.activation import activation_names, as_activation
from repflow.expectation import expect, nodes
from repflow.expectation.single import hermite_coefficients, hermite_values, quadrature_error, rule

SMOOTH = (
    "identity", "tanh", "sin", "erf", "arctan", "gelu", "gelu_tanh", "silu", "mish", "softplus", "sigmoid",
    "monomial:2", "monomial:3",
)  # fmt: skip
KINKED = (
    "relu", "leaky_relu:0.2", "abs", "elu", "elu:0.5", "selu", "softsign", "hardtanh", "hardswish", "perceptron",
)  # fmt: skip
VARIANCES = (0.05, 0.3, 1.0, 3.6, 20.0)


def test_every_registered_activation_is_tested():
    assert {name.split(":")[0] for name in SMOOTH + KINKED} == set(activation_names())


@pytest.mark.parametrize("name", SMOOTH + KINKED)
@pytest.mark.parametrize("power", [1, 2, 4])
def test_powers_agree_with_adaptive_integration(reference, name, power):
    f, kinks = reference.ACTIVATIONS[name]
    activation = as_activation(name)
    found = expect(activation, lambda z: activation(z) ** power, torch.tensor(VARIANCES, dtype=torch.float64))
    limit = 1e-6 if kinks else 1e-8
    for value, variance in zip(found.tolist(), VARIANCES):
        expected = reference.one(lambda z: f(z) ** power, kinks, variance)
        bound = math.sqrt(reference.one(lambda z: f(z) ** (2 * power), kinks, variance))
        assert abs(value - expected) <= limit * bound


@pytest.mark.parametrize("name", [name for name in SMOOTH + KINKED if name != "perceptron"])
def test_slopes_agree_with_adaptive_integration(reference, name):
    slope, (_, kinks) = reference.derivative(name, 1), reference.ACTIVATIONS[name]
    activation = as_activation(name)
    found = expect(activation, lambda z: activation.derivative(z) ** 2, torch.tensor(VARIANCES, dtype=torch.float64))
    for value, variance in zip(found.tolist(), VARIANCES):
        assert value == pytest.approx(reference.one(lambda z: slope(z) ** 2, kinks, variance), rel=1e-8)


@pytest.mark.parametrize("name", ["tanh", "hardtanh", "relu"])
def test_moments_of_the_gaussian_are_exact(name):
    z, w = nodes(as_activation(name), torch.tensor([0.05, 1.0, 20.0], dtype=torch.float64))
    for order in range(0, 13):
        moment = 0.0 if order % 2 else math.prod(range(1, order, 2))
        scaled = (w * (z / torch.tensor([[0.05], [1.0], [20.0]], dtype=torch.float64).sqrt()) ** order).sum(-1)
        np.testing.assert_allclose(scaled.numpy(), moment, rtol=1e-12, atol=1e-10)


def test_variances_of_many_sizes_at_once_do_not_disturb_each_other():
    activation = as_activation("tanh")
    together = expect(
        activation, lambda z: activation(z) ** 2, torch.tensor([1e-8, 0.0, 1.0, 1e4], dtype=torch.float64)
    )
    for value, variance in zip(together.tolist(), (1e-8, 0.0, 1.0, 1e4)):
        alone = expect(activation, lambda z: activation(z) ** 2, torch.tensor([variance], dtype=torch.float64))
        assert value == pytest.approx(float(alone[0]), rel=1e-10, abs=1e-14)
    assert float(together[0]) == pytest.approx(1e-8, rel=1e-7)
    assert float(together[3]) == pytest.approx(1 - math.sqrt(2 / math.pi) / 100, rel=1e-4)


def test_zero_variance_is_the_value_at_zero():
    activation = as_activation("sigmoid")
    assert float(expect(activation, activation, torch.zeros(1, dtype=torch.float64))[0]) == pytest.approx(
        0.5, rel=1e-13
    )


def test_hermite_functions_are_orthonormal():
    # Up to the degree whose square still fits into the rule's range.
    quadrature = rule(as_activation("identity"), torch.ones(1, dtype=torch.float64), terms=12)
    h = hermite_values(quadrature.u[0], 12)
    gram = (h * quadrature.w[0]) @ h.T
    np.testing.assert_allclose(gram.numpy(), np.eye(12), atol=1e-10)


@pytest.mark.parametrize("name", ["gelu", "hardtanh"])
def test_hermite_coefficients_hold_the_norm(name):
    activation = as_activation(name)
    variance = torch.tensor([0.3, 3.0], dtype=torch.float64)
    quadrature = rule(activation, variance, terms=512)
    values = activation(quadrature.z)
    coefficients = hermite_coefficients(quadrature, values, 512)
    lost = (quadrature.mean(values**2) - (coefficients**2).sum(1)) / quadrature.mean(values**2)
    assert bool((lost > -1e-12).all())
    assert float(lost.max()) < (1e-12 if activation.smooth else 1e-3)


@pytest.mark.parametrize("function", [torch.tanh, lambda z: torch.relu(z - 0.3), lambda z: z.clamp(-0.5, 2.0)])
def test_a_good_callable_is_certain(function):
    assert quadrature_error(as_activation(function), torch.tensor([0.1, 1.0, 9.0], dtype=torch.float64)) < 1e-7


def test_a_callable_that_oscillates_too_fast_is_uncertain():
    activation = as_activation(lambda z: torch.sin(500 * z) + z)
    assert quadrature_error(activation, torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)) > 1e-4
