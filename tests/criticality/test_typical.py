"""The typical network: exact laws of homogeneous activations, order 1/n of the others, deep and wide networks at once."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, chi2

from repflow.criticality import double_scaling, layer_factor, typical_behaviour, typical_network
from repflow.criticality.homogeneous import ProductLaw


def simulated(sigma, C_W, C_b, K1, width, depth, networks, seed=0):
    """G^(depth) of many networks, one neuron after the other, with NumPy alone."""
    generator = np.random.default_rng(seed)
    G = np.full(networks, K1)
    for _ in range(depth - 1):
        z = np.sqrt(G)[:, None] * generator.standard_normal((networks, width))
        G = C_b + C_W * (sigma(z) ** 2).mean(axis=1)
    return G


def test_relu_factor_is_a_chi_square_of_binomial_degrees():
    n, factor = 5, layer_factor("relu", 2.0, 5)
    weights = binom.pmf(np.arange(1, n + 1), n, 0.5)
    # moments of xi = (2/n) chi^2_b from SciPy's chi-square, weighted over b
    for order in (1, 2, 3):
        expected = sum(w * chi2(b).moment(order) for b, w in zip(range(1, n + 1), weights)) * (2 / n) ** order
        assert factor.moment(order).real == pytest.approx(expected, rel=1e-12)
    assert factor.mean == pytest.approx(1.0)
    assert factor.variance == pytest.approx(5 / n)
    assert factor.alive == 1 - 2.0**-n
    logs = [chi2(b).expect(lambda q: math.log(2 * q / n), lb=1e-300) for b in range(1, n + 1)]
    assert factor.log_moments[0] == pytest.approx(float(np.dot(weights, logs)) / weights.sum(), rel=1e-6)


@pytest.mark.parametrize("slopes", ["identity", "abs"])
def test_equal_slopes_are_a_plain_chi_square(slopes):
    factor, law = layer_factor(slopes, 1.0, 4), chi2(4)
    assert factor.moment(2.5).real == pytest.approx(law.expect(lambda q: (q / 4) ** 2.5), rel=1e-8)
    one = ProductLaw(factor, 1)
    for ratio in (0.1, 0.7, 3.0):
        assert one.cdf(ratio) == pytest.approx(law.cdf(4 * ratio), abs=1e-7)
    assert one.median == pytest.approx(law.median() / 4, rel=1e-6)


def test_leaky_factor_moments_by_brute_force():
    """E[xi^m] of m = 1, 2, 3 from the moments of one neuron."""
    n, C_W, low, high = 3, 1.7, 0.3, 1.0
    factor = layer_factor("leaky_relu:0.3", C_W, n)
    single = [0.5 * (low ** (2 * m) + high ** (2 * m)) * math.prod(range(1, 2 * m, 2)) for m in range(4)]
    for order in (1, 2, 3):
        expected = 0.0
        for indices in itertools.product(range(n), repeat=order):
            counts = np.bincount(indices, minlength=n)
            expected += math.prod(single[c] for c in counts)
        assert factor.moment(order).real == pytest.approx(expected * (C_W / n) ** order, rel=1e-10)


@pytest.mark.parametrize(("name", "width", "factors"), [("relu", 4, 3), ("relu", 12, 6), ("leaky_relu:0.2", 5, 4)])
def test_product_law_against_simulation(name, width, factors):
    slope = {"relu": 0.0, "leaky_relu:0.2": 0.2}[name]
    C_W = 2 / (1 + slope**2)
    G = simulated(lambda z: np.where(z > 0, z, slope * z), C_W, 0.0, 1.0, width, factors + 1, 100_000)
    law = ProductLaw(layer_factor(name, C_W, width), factors)
    alive = G > 0
    assert law.alive == pytest.approx(alive.mean(), abs=0.005)
    assert law.mean_log == pytest.approx(np.log(G[alive]).mean(), abs=5 * np.log(G[alive]).std() / 300)
    assert law.variance_log == pytest.approx(np.log(G[alive]).var(), rel=0.05)
    assert law.median == pytest.approx(np.median(G), rel=0.05)
    for ratio in (0.05, 0.5, 2.0):
        assert law.cdf(ratio) == pytest.approx((G <= ratio).mean(), abs=0.007)
    carried = np.cumsum(np.sort(G)[::-1])
    assert law.half_of_mean == pytest.approx((carried < 0.5 * carried[-1]).mean(), rel=0.15)


def test_relu_collapse_values():
    """(1 + 5/n)^(L-1) - 1 at the sizes of one L/n."""
    for n, hidden, value in ((130, 39, 3.357), (260, 78, 3.418), (510, 153, 3.449)):
        assert typical_network("relu", 2.0, 0.0, 1.0, hidden + 1, n).ratio[-1] == pytest.approx(value, abs=6e-4)


def test_typical_relu_vanishes_exponentially_while_the_mean_stays():
    found = typical_network("relu", 2.0, 0.0, 0.7, 41, 40)
    assert found.exact
    assert found.mean == pytest.approx(np.full(41, 0.7))
    assert found.median[0] == 0.7
    rate = np.diff(found.mean_log)
    assert rate == pytest.approx(np.full(40, rate[0]))
    assert rate[0] == pytest.approx(-2.5 / 40, rel=0.05)  # -nu/(2 n) and higher orders of 1/n
    assert 0.05 < found.median[-1] / 0.7 < 0.09
    assert found.half_of_mean[-1] < 0.02


def test_median_is_zero_where_half_of_the_networks_are_dead():
    found = typical_network("relu", 2.0, 0.0, 1.0, 6, 2)
    assert found.alive[-1] == pytest.approx(0.75**5)
    assert found.median[-1] == 0.0


@pytest.mark.parametrize(("activation", "C_W", "C_b"), [("tanh", 1.0, 0.0), ("gelu", 1.9, 0.2), ("sin", 1.1, 0.1)])
def test_first_order_against_simulation(activation, C_W, C_b):
    """At n = 96 what is left is of the next order: a share of about Var log G."""
    functions = {"tanh": torch.tanh, "sin": torch.sin, "gelu": torch.nn.functional.gelu}
    n, depth = 96, 6
    G = simulated(lambda z: functions[activation](torch.from_numpy(z)).numpy(), C_W, C_b, 0.8, n, depth, 60_000, seed=1)
    found = typical_network(activation, C_W, C_b, 0.8, depth, n)
    logs = np.log(G)
    error = logs.std() / math.sqrt(len(G))
    shift = found.mean_log[-1] - math.log(found.kernel[-1])
    assert not found.exact
    assert logs.mean() - math.log(found.kernel[-1]) == pytest.approx(shift, abs=4 * error + 0.1 * abs(shift))
    assert logs.var() == pytest.approx(found.variance_log[-1], rel=0.03 + found.variance_log[-1])
    assert math.log(np.median(G)) == pytest.approx(math.log(found.median[-1]), abs=6 * error + 0.1 * abs(shift))
    # the median is not exp E[log G]: the third cumulant counts
    carried = np.cumsum(np.sort(G)[::-1])
    assert found.half_of_mean[-1] == pytest.approx((carried < 0.5 * carried[-1]).mean(), abs=0.01)


def test_first_order_of_a_homogeneous_activation_is_the_limit_of_the_exact_law():
    """With a negligible bias relu goes through order 1/n, and must agree with the exact law at a large width."""
    n, depth = 20_000, 9
    exact = typical_network("relu", 2.0, 0.0, 1.0, depth, n)
    first = typical_network("relu", 2.0, 1e-13, 1.0, depth, n)
    assert exact.exact
    assert not first.exact
    for name in ("mean_log", "variance_log"):
        assert getattr(first, name)[1:] == pytest.approx(getattr(exact, name)[1:], rel=2e-3)
    assert np.log(first.median[1:]) == pytest.approx(np.log(exact.median[1:]), rel=2e-3)


def test_six_point_vertex_of_the_tanh_class_grows_as_16_over_15():
    """X/(K^3 l^2) -> 16/15: the third cumulant of log A_tau is 4 tau^2/15, that of G/K 3 (2/3)^2 - 4/15."""
    from repflow.activation import as_activation
    from repflow.criticality.typical import _sextic

    path = typical_behaviour("tanh", 1.0, 0.0, 1.0, 500)
    ratio = _sextic(as_activation("tanh"), 1.0, path.kernel, path.vertex)[-1] / path.kernel[-1] ** 3 / 500**2
    assert ratio == pytest.approx(16 / 15, rel=0.02)


@pytest.mark.parametrize("shift", [0.0, 2 / 3])
def test_double_scaling_against_an_exact_mean_and_brownian_paths(shift):
    ratios = [0.1, 0.5, 1.5]
    laws = double_scaling(ratios, shift)
    generator = np.random.default_rng(3)
    steps, paths = 3000, 10_000
    dt = ratios[-1] / steps
    B, A = np.zeros(paths), np.zeros(paths)
    for k in range(1, steps + 1):
        before = np.exp(B)
        B += (1 - shift) * dt + math.sqrt(2 * dt) * generator.standard_normal(paths)
        A += 0.5 * dt * (before + np.exp(B))
        for law in laws:
            if abs(k * dt - law.ratio) < 0.5 * dt:
                w = np.log(law.ratio / A)
                assert law.mean_log == pytest.approx(w.mean(), abs=5 * w.std() / 100)
                assert law.variance_log == pytest.approx(w.var(), rel=0.08)
                assert law.median == pytest.approx(float(np.exp(np.median(w))), rel=0.04)
                assert law.mean == pytest.approx(np.exp(w).mean(), rel=0.04)
                carried = np.cumsum(np.sort(np.exp(w))[::-1])
                assert law.half_of_mean == pytest.approx((carried < 0.5 * carried[-1]).mean(), abs=0.015)
    for law in laws:  # E[A] = (exp[(2 - c) tau] - 1)/(2 - c)
        inverse = law.expect(np.exp(-law.log_gram)) * law.ratio
        assert inverse == pytest.approx(math.expm1((2 - shift) * law.ratio) / (2 - shift), rel=1e-4)
        assert law.probability.sum() == pytest.approx(1.0, abs=1e-10)
        assert law.probability.min() >= 0.0


def test_double_scaling_starts_as_order_one():
    law = double_scaling(0.01)[0]
    assert law.variance == pytest.approx(2 * 0.01 / 3, rel=0.02)
    assert law.mean == pytest.approx(1 - 0.01 / 3, abs=2e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layer_factor("tanh", 1.0, 8), "straight line on each side"),
        (lambda: layer_factor("relu", 0.0, 8), "C_W must be finite and above 0"),
        (lambda: layer_factor("relu", 2.0, 0), "width must be a whole number"),
        (lambda: typical_network("tanh", 1.0, 0.0, 0.0, 4, 8), "K1 must be finite and above 0"),
        (lambda: typical_network("tanh", 1.0, 0.0, 1.0, 0, 8), "depth must be a whole number"),
        (lambda: typical_network("tanh", 1.0, 0.0, 1.0, 4, 8, shift_W=-9.0), "shift_W must leave"),
        (lambda: double_scaling([0.1, 7.0]), "ratios must hold values of L/n from 0.01 to 6"),
        (lambda: double_scaling(0.1, shift=3.0), "shift must be from -2 to 2"),
        (lambda: ProductLaw(layer_factor("relu", 2.0, 8), 0), "whole number of layers"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
