"""<s_a s_b s_c s_d> against nested quadrature shown converged, orthant moments and randomised quasi-Monte Carlo."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from repflow.activation import as_activation
from repflow.expectation import four_point

SMOOTH = (
    "tanh",
    "sin",
    "erf",
    "arctan",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "softplus",
    "sigmoid",
    "monomial:2",
    "identity",
)
KINKED = ("relu", "leaky_relu:0.2", "abs", "elu", "elu:0.5", "selu", "softsign", "hardtanh", "hardswish", "perceptron")
ALL = torch.tensor([[0, 1, 2, 3]])


def _value(name, covariance, quadruples=ALL):
    activation = as_activation(name) if isinstance(name, str) else name
    return four_point(activation, torch.as_tensor(covariance, dtype=torch.float64), quadruples)


def _kinked_limit(covariance):
    """1e-5 where every |rho| is at most 0.99 or exactly 1 or 0, 1e-4 between."""
    size = np.sqrt(np.diag(covariance))
    rho = np.abs(covariance / np.maximum(np.outer(size, size), 1e-300))[np.triu_indices(4, 1)]
    return 1e-4 if ((rho > 0.99) & (rho < 1 - 1e-12)).any() else 1e-5


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu"])
def test_smooth(reference, covariance, name):
    expected, bound = reference.four(name, covariance, check=1e-7)
    found = _value(name, covariance)
    assert abs(float(found.values[0]) - expected) <= 1e-6 * bound
    assert float(found.error[0]) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SMOOTH if name not in ("tanh", "gelu", "silu")])
def test_smooth_slow(reference, covariance, name):
    expected, bound = reference.four(name, covariance, check=1e-7)
    assert abs(float(_value(name, covariance).values[0]) - expected) <= 1e-6 * bound


@pytest.mark.parametrize("name", ["relu", "hardtanh"])
def test_kinked(reference, covariance, name):
    limit = _kinked_limit(covariance)
    expected, bound = reference.four(name, covariance, check=limit / 10)
    assert abs(float(_value(name, covariance).values[0]) - expected) <= limit * bound


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KINKED if name not in ("relu", "hardtanh")])
def test_kinked_slow(reference, covariance, name):
    limit = _kinked_limit(covariance)
    expected, bound = reference.four(name, covariance, check=limit / 10)
    assert abs(float(_value(name, covariance).values[0]) - expected) <= limit * bound


def _quasi_monte_carlo(f, covariance, runs=12, power=14):
    """Mean and standard error of E[f f f f] over independently scrambled Sobol points."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(min=0))
    means = []
    for run in range(runs):
        points = qmc.Sobol(4, seed=run).random_base2(power)
        z = ndtri(np.clip(points, 1e-15, 1 - 1e-15)) @ root.T
        means.append(np.prod(f(z), axis=1).mean())
    return np.mean(means), np.std(means, ddof=1) / math.sqrt(runs)


@pytest.mark.parametrize("name", ["tanh", "gelu", "arctan", "sigmoid"])
def test_smooth_to_the_error_that_is_stated(reference, name):
    """Three inputs, one of them twice, against the trapezoid rule in three dimensions, converged to rounding."""
    f, kinks = reference.ACTIVATIONS[name]
    assert kinks == ()
    K = np.array([[1.239, -0.184, -0.291], [-0.184, 0.470, -0.101], [-0.291, -0.101, 0.688]])
    u = np.linspace(-9.0, 9.0, 101)
    w = np.exp(-0.5 * u * u) / math.sqrt(2 * math.pi) * (u[1] - u[0])
    z = f(np.tensordot(np.linalg.cholesky(K), np.stack(np.meshgrid(u, u, u, indexing="ij")), 1))
    exact = np.einsum("ijk,i,j,k->", z[0] ** 2 * z[1] * z[2], w, w, w)
    found = _value(name, K, torch.tensor([[0, 0, 1, 2]]))
    bound = reference.bound4(f, kinks, np.diag(K)[[0, 0, 1, 2]])
    assert abs(float(found.values[0]) - exact) <= float(found.error[0]) * bound
    assert float(found.error[0]) < 1e-8


@pytest.mark.parametrize("name", ["hardtanh", "elu:0.5", "selu", "hardswish", "perceptron"])
@pytest.mark.parametrize("case", ["isotropic", "unequal", "negative", "two repeated", "0.999"])
def test_kinked_against_quasi_monte_carlo(reference, covariances, name, case):
    f, kinks = reference.ACTIVATIONS[name]
    mean, error = _quasi_monte_carlo(f, covariances[case])
    bound = reference.bound4(f, kinks, np.diag(covariances[case]))
    assert error < 1e-3 * bound
    limit = _kinked_limit(covariances[case])
    assert abs(float(_value(name, covariances[case]).values[0]) - mean) <= 5 * error + limit * bound


@pytest.mark.parametrize(
    ("function", "numpy", "kinks"),
    [
        (lambda z: torch.relu(z - 0.3), lambda z: np.maximum(z - 0.3, 0), (0.3,)),
        (lambda z: torch.where(z > 0, torch.tanh(z), 0.2 * z), lambda z: np.where(z > 0, np.tanh(z), 0.2 * z), (0.0,)),
        (lambda z: torch.relu(z + 1) - torch.relu(z - 2.5), lambda z: np.clip(z + 1, 0, 3.5), (-1.0, 2.5)),
        (lambda z: torch.cos(z) + 0.3 * z, lambda z: np.cos(z) + 0.3 * z, ()),
    ],
)
@pytest.mark.parametrize("case", ["isotropic", "unequal", "large, correlated", "repeated", "two repeated"])
def test_callables_of_the_user(reference, covariances, function, numpy, kinks, case):
    covariance = covariances[case]
    limit = _kinked_limit(covariance) if kinks else 1e-6
    expected, bound = reference.four((numpy, kinks), covariance, check=limit / 10)
    found = four_point(as_activation(function), torch.tensor(covariance), ALL)
    assert abs(float(found.values[0]) - expected) <= limit * bound


def _relu_orthant(k, points):
    """<relu relu relu relu> as a moment over the positive orthant: three nested integrals, the last variable in
    closed form.

    E[relu(m + s v)] = m Phi(m/s) + s phi(m/s). Nothing of this is shared with the other reference.
    """
    root = np.linalg.cholesky(k)
    x, weights = np.polynomial.legendre.leggauss(points)

    def axis(edges):
        edges = np.asarray(edges, dtype=float)
        half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
        return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * weights).ravel()

    def density(u):
        return np.exp(-u * u / 2) / math.sqrt(2 * math.pi)

    start = [0, 0.05, 0.2, 0.5, 1, 1.5, 2, 3]
    first, w1 = axis([*start, 4, 5.5, 8])
    ahead, w = axis([*start, *range(4, 18)])
    total = 0.0
    for u1, weight in zip(first, w1):
        u2 = max(-root[1, 0] * u1 / root[1, 1], -8.5) + ahead
        m3 = root[2, 0] * u1 + root[2, 1] * u2
        u3 = np.maximum(-m3 / root[2, 2], -8.5)[:, None] + ahead
        m4 = (root[3, 0] * u1 + root[3, 1] * u2)[:, None] + root[3, 2] * u3
        last = m4 * ndtr(m4 / root[3, 3]) + root[3, 3] * density(m4 / root[3, 3])
        inner = (w * density(u3) * (m3[:, None] + root[2, 2] * u3) * last).sum(1)
        z2 = root[1, 0] * u1 + root[1, 1] * u2
        total += weight * density(u1) * root[0, 0] * u1 * (w * density(u2) * z2 * inner).sum()
    return total


@pytest.mark.parametrize("case", ["isotropic", "large", "unequal", "large, correlated", "negative", "0.99", "0.999"])
def test_relu_against_orthant_moments(reference, covariances, case):
    k = covariances[case]
    bound = 1.5 * np.prod(np.diag(k)) ** 0.5
    expected, coarse = _relu_orthant(k, 12), _relu_orthant(k, 8)
    limit = _kinked_limit(k)
    assert abs(expected - coarse) <= 0.1 * limit * bound
    assert abs(float(_value("relu", k).values[0]) - expected) <= limit * bound


def test_relu_moments_known_in_closed_form():
    """Independent: <relu>^4 = (2 pi)^-2. Two independent pairs: the square of the arc-cosine kernel."""
    independent = _value("relu", np.eye(4))
    assert float(independent.values[0]) == pytest.approx((2 * math.pi) ** -2, abs=1e-5 * 1.5)
    rho = 0.6
    angle = math.acos(rho)
    kernel = (math.sin(angle) + (math.pi - angle) * rho) / (2 * math.pi)
    pairs = np.eye(4)
    pairs[0, 1] = pairs[1, 0] = pairs[2, 3] = pairs[3, 2] = rho
    assert float(_value("relu", pairs).values[0]) == pytest.approx(kernel**2, abs=1e-5 * 1.5)


def test_perceptron_is_the_orthant_probability():
    """Equicorrelated at 1/2: P(all positive) = 1/(n + 1) = 1/5 (Gupta 1963). Exactly repeated inputs reduce to
    Sheppard's law."""
    half = 0.5 * np.ones((4, 4)) + 0.5 * np.eye(4)
    assert float(_value("perceptron", half).values[0]) == pytest.approx(0.2, abs=1e-5)
    rho = 0.3
    repeated = np.kron(np.array([[1, rho], [rho, 1]]), np.ones((2, 2)))
    assert float(_value("perceptron", repeated).values[0]) == pytest.approx(
        0.25 + math.asin(rho) / (2 * math.pi), abs=1e-5
    )


@pytest.mark.parametrize("case", ["isotropic", "unequal, correlated", "negative"])
def test_identity_is_wick_and_monomials_are_moments(covariances, case):
    k = covariances[case]
    wick = k[0, 1] * k[2, 3] + k[0, 2] * k[1, 3] + k[0, 3] * k[1, 2]
    assert float(_value("identity", k).values[0]) == pytest.approx(wick, rel=1e-9)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "hardtanh", "selu"])
def test_repeated_indices_are_the_same_as_repeated_inputs(reference, covariances, name):
    """Patterns aabc, aabb, aaab, aaaa by index and as four inputs that coincide."""
    f, kinks = reference.ACTIVATIONS[name]
    base = covariances["unequal"]
    limit = 1e-5 if kinks else 1e-6
    for pattern in ([0, 0, 1, 2], [1, 0, 2, 0], [2, 3, 3, 2], [3, 1, 1, 1], [0, 0, 0, 2], [2, 2, 2, 2]):
        by_index = float(_value(name, base, torch.tensor([pattern])).values[0])
        copied = base[np.ix_(pattern, pattern)]
        bound = reference.bound4(f, kinks, np.diag(copied))
        expected, _ = reference.four(name, copied, check=limit / 10)
        assert abs(by_index - expected) <= limit * bound, pattern
        assert abs(float(_value(name, copied).values[0]) - expected) <= limit * bound, pattern


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "selu", "hardtanh"])
def test_the_value_does_not_depend_on_the_order(covariances, name):
    orders = torch.tensor(list(itertools.permutations(range(4))))
    assert len(set(_value(name, covariances["unequal"], orders).values.tolist())) == 1
    # Inputs in another order meet the pairing at another place.
    values = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]):
        values.append(float(_value(name, covariances["unequal"][np.ix_(order, order)]).values[0]))
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


@pytest.mark.parametrize("name", ["tanh", "sin", "erf", "hardtanh", "abs"])
def test_flipping_a_sign_flips_odd_activations(covariances, name):
    k = covariances["unequal, correlated"]
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    value, flipped = (float(_value(name, c).values[0]) for c in (k, flip @ k @ flip))
    sign = 1 if name == "abs" else -1
    assert flipped == pytest.approx(sign * value, rel=1e-6)


def test_the_error_estimate_covers_the_error(reference, covariances):
    for name, case in itertools.product(("tanh", "selu", "hardtanh"), ("isotropic", "0.999", "negative")):
        kinked = bool(reference.ACTIVATIONS[name][1])
        expected, bound = reference.four(name, covariances[case], check=1e-5 if kinked else 1e-7)
        found = _value(name, covariances[case])
        error = abs(float(found.values[0]) - expected) / bound
        assert error <= 10 * float(found.error[0]) + (1e-5 if kinked else 1e-8), (name, case)
