"""Products of powers of one activation, and their derivatives in the kernel: what order 2 is made of."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import repflow as rf
from repflow.expectation import monomials
from repflow.expectation.axes import LADDER, axis, product
from repflow.expectation.factors import factorise
from repflow.expectation.four_point import four_point
from repflow.expectation.monomials import monomial_moments
from repflow.expectation.products import Product, Products, Table


def _powers(name, kernel, degree):
    functions = [[Product((1.0,) * m) for m in range(degree + 1)] for _ in kernel]
    wanted = [c for c in itertools.product(range(degree + 1), repeat=len(kernel)) if sum(c) == degree]
    found = monomial_moments(rf.as_activation(name), kernel, functions, torch.tensor(wanted))
    return dict(zip(wanted, found.values.tolist(), strict=True)), found.error


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "hardtanh", "elu"])
@pytest.mark.parametrize("case", ["isotropic", "unequal", "negative", "0.99"])
def test_three_variables_against_nested_integration(reference, covariances, name, case):
    """Six factors on three inputs, one Gaussian direction inside the other."""
    covariance = covariances[case][:3, :3]
    found, error = _powers(name, torch.tensor(covariance), 6)
    f, kinks = reference.ACTIVATIONS[name]
    for powers in ((2, 2, 2), (3, 1, 2)):
        functions = [lambda z, m=m: f(z) ** m for m in powers]
        bound = np.prod(
            [
                reference.one(lambda z: np.abs(f(z)) ** 6, kinks, v) ** (m / 6)
                for v, m in zip(np.diag(covariance), powers, strict=True)
            ]
        )
        size = 14 if kinks else 0
        expected = reference.Nested(functions, kinks, covariance, size, None if kinks else 0.25).value()
        assert abs(found[powers] - expected) < (2e-8 + 3 * error) * bound, (powers, error)
    assert error < (1e-4 if case == "0.99" else 1e-8)


@pytest.mark.parametrize("name", ["silu", "sin", "leaky_relu:0.2", "hardswish"])
def test_four_variables_against_the_series(covariances, name):
    """The series for quadruples is another method altogether."""
    kernel = torch.tensor(covariances["isotropic"] + np.diag([0.0, 0.5, 0.2, 0.1]))
    found, _ = _powers(name, kernel, 4)
    quadruples = [[i for i, m in enumerate(powers) for _ in range(m)] for powers in found]
    expected = four_point(rf.as_activation(name), kernel, torch.tensor(quadruples))
    np.testing.assert_allclose(list(found.values()), expected.values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gelu", "relu", "hardtanh", "elu"])
def test_derivatives_are_those_of_the_values(name):
    """d/dK_12 of <s_1^2 s_2 s_3> is <(s^2)'_1 s'_2 s_3>, d/dK_11 is <(s^2)''_1 s_2 s_3>/2, by central differences."""
    kernel = torch.tensor([[1.1, 0.5, 0.2], [0.5, 0.8, -0.3], [0.2, -0.3, 1.4]], dtype=torch.float64)
    functions = [[Product((1.0, 1.0), p) for p in range(5)], *[[Product((1.0,), p) for p in range(5)]] * 2]
    wanted = [orders for orders in itertools.product(range(5), repeat=3) if sum(orders) <= 4]
    sigma = rf.as_activation(name)

    def moments(k):
        values = monomial_moments(sigma, k, functions, torch.tensor(wanted)).values
        return dict(zip(wanted, values.tolist(), strict=True))

    step, middle = 1e-4, moments(kernel)
    for i, j in ((0, 1), (0, 0), (1, 2)):
        shift = torch.zeros(3, 3, dtype=torch.float64)
        shift[i, j] = shift[j, i] = step
        above, below = moments(kernel + shift), moments(kernel - shift)
        for lower in ((0, 0, 0), (1, 1, 0), (0, 1, 1)):
            slope = (above[lower] - below[lower]) / (2 * step)
            raised = tuple(order + (k == i) + (k == j) for k, order in enumerate(lower))
            expected = middle[raised] * (0.5 if i == j else 1.0)
            assert slope == pytest.approx(expected, rel=1e-5, abs=1e-6), (lower, i, j)


def test_a_derivative_that_does_not_exist_is_refused():
    plane = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    functions = [[Product((1.0,), p) for p in range(3)]] * 3
    with pytest.raises(ValueError, match="'relu' has kinks"):
        monomial_moments(rf.as_activation("relu"), plane @ plane.T, functions, torch.tensor([[2, 0, 0]]))
    smooth = monomial_moments(rf.as_activation("tanh"), plane @ plane.T, functions, torch.tensor([[2, 0, 0]]))
    assert torch.isfinite(smooth.values).all()


def test_sampling_knows_its_error(covariances, monkeypatch):
    kernel = torch.tensor(covariances["unequal, correlated"] / 10)
    exact, _ = _powers("gelu", kernel, 6)
    monkeypatch.setattr(monomials, "_MOST_NODES", 100)
    monkeypatch.setattr(monomials, "_SOBOL", 13)
    rough, error = _powers("gelu", kernel, 6)
    assert 1e-5 < error < 0.03
    for powers, value in exact.items():
        assert abs(rough[powers] - value) < 3 * error * exact[6, 0, 0, 0], powers
    again, _ = _powers("gelu", kernel, 6)
    assert again == rough


@pytest.mark.parametrize("case", ["isotropic", "unequal, correlated", "0.999999", "two repeated", "one zero", "plane"])
def test_common_and_private_variance_add_up(covariances, case):
    kernel = torch.tensor(covariances[case])
    for private in (False, True):
        found = factorise(kernel, private, smooth=False)
        assert bool((found.private >= 0).all())
        assert private or not found.private.any()
        total = found.loading @ found.loading.T + torch.diag(found.private)
        scale = kernel.diagonal().sqrt()
        assert float((total - kernel).abs().max()) < 1e-12 * float(scale.max()) ** 2
        if case == "isotropic":
            assert found.loading.shape[1] == (1 if private else 4)


@pytest.mark.parametrize("name", ["relu", "hardtanh", "elu", "softsign", "tanh"])
@pytest.mark.parametrize("spread", [0.03, 0.7])
def test_averages_over_private_variance(reference, name, spread):
    """Values by adaptive integration, derivatives by central differences, the table by what it interpolates."""
    orders = range(9)
    functions = Products(rf.as_activation(name), [Product((1.0, 1.0), p) for p in orders])
    mean = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64) + 0.013
    found = functions.averaged(mean, spread)
    f, kinks = reference.ACTIVATIONS[name]
    for m, value in zip(mean.tolist()[::8], found[0].tolist()[::8], strict=True):
        expected = reference.one(lambda e, m=m: f(m + e) ** 2, np.subtract(kinks, m), spread**2)
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-11)
    step = 1e-4 * spread
    slope = (functions.averaged(mean + step, spread) - functions.averaged(mean - step, spread)) / (2 * step)
    for p in orders[:-1]:
        size = float(found[p + 1].abs().max())
        assert float((slope[p] - found[p + 1]).abs().max()) < 1e-5 * size, p
    table = Table(functions, 3.0, spread, mean.device)(mean)
    for p in orders[:5]:
        assert float((table[p] - found[p]).abs().max()) < 1e-8 * max(float(found[p].abs().max()), 1e-3), p


def test_ratios_are_collinear_inputs():
    """One variable y, inputs y and -2 y: relu(y) relu(-2 y) vanishes, and tanh(y) tanh(-2 y) is even."""
    y = torch.linspace(-2, 2, 9, dtype=torch.float64)
    relu = Products(rf.as_activation("relu"), [Product((-2.0, 1.0)), Product((1.0, 1.0), 1), Product((), 0)])
    values = relu.at(y)
    assert not values[0].any()
    torch.testing.assert_close(values[1], 2 * y.clamp(min=0))
    assert bool((values[2] == 1).all())
    tanh = Products(rf.as_activation("tanh"), [Product((-2.0, 1.0), 1)]).at(y)[0]
    expected = -2 / torch.cosh(2 * y) ** 2 * torch.tanh(y) - torch.tanh(2 * y) / torch.cosh(y) ** 2
    torch.testing.assert_close(tanh, expected)


def test_rules_integrate_polynomials():
    for step in range(3, len(LADDER), 5):
        u, w = axis(step)
        assert float((w * u**4).sum()) == pytest.approx(3, rel=1e-9)
    nodes, weights = product([6, 20, 4], 10**6)
    assert float(weights.sum()) == pytest.approx(1, rel=1e-9)
    assert float((weights * (nodes**2).prod(1)).sum()) == pytest.approx(1, rel=1e-8)
    assert product([25, 25, 25], 1000) is None
