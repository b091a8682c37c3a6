"""The expansion to any order, one input: exact series, order 1, order 2 by its formulas, and the exact oracle."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import special

import repflow as rf
from repflow.exact import gram_density
from repflow.recursion.expansion import expansion


def product(a, b):
    """Product of power series in 1/n of one length, exact."""
    return [sum(a[i] * b[k - i] for i in range(k + 1)) for k in range(len(a))]


def exact_cumulants(moments):
    """Cumulants from raw moments, each a series; index 0 unused."""
    kappa = [None]
    for m in range(1, len(moments)):
        value = list(moments[m])
        for i in range(1, m):
            lower = product(kappa[i], moments[m - i])
            value = [v - math.comb(m - 1, i - 1) * w for v, w in zip(value, lower)]
        kappa.append(value)
    return kappa


def homogeneous_moments(widths, single, order):
    """Raw moments of a product of independent factors (1/n) sum of n iid terms, as exact series in 1/n.

    ``single`` are the raw moments of one term. E[(1/n sum)^m] is the sum over set partitions: Bell polynomials in the
    cumulants kappa_j n^(1-j).
    """
    own = [None]
    for m in range(1, len(single)):
        own.append(single[m] - sum(math.comb(m - 1, i - 1) * own[i] * single[m - i] for i in range(1, m)))
    total = [[Fraction(int(k == 0)) for k in range(order + 1)] for _ in range(order + 2)]
    for n in widths:
        raw = [[Fraction(int(k == 0)) for k in range(order + 1)]]
        for m in range(1, order + 2):
            row = [Fraction(0)] * (order + 1)
            for i in range(1, m + 1):
                power = i - 1
                if power <= order:
                    term = math.comb(m - 1, i - 1) * own[i] * Fraction(1, n**power)
                    for k in range(order + 1 - power):
                        row[k + power] += term * raw[m - i][k]
            raw.append(row)
        total = [product(t, r) for t, r in zip(total, raw)]
    return total


@pytest.mark.parametrize(("name", "half"), [("identity", 1), ("relu", Fraction(1, 2))])
def test_homogeneous_activations_to_order_six(name, half):
    widths, order = (3, 5, 7, 4), 6
    C_W = 1.0 if name == "identity" else 2.0
    # E[(C_W sigma(u)^2)^m] = C_W^m half (2m - 1)!!
    single = [Fraction(1)] + [
        Fraction(int(C_W)) ** m * half * math.prod(range(1, 2 * m, 2)) for m in range(1, order + 2)
    ]
    kappa = exact_cumulants(homogeneous_moments(widths, single, order))
    found = expansion(rf.mlp([1, *widths, 1], activation=name, C_W=C_W), [[1 / math.sqrt(C_W)]], order)[-1]
    for m in range(1, order + 2):
        terms = found.terms(m).flatten().tolist()
        scale = max(abs(float(value)) for value in kappa[m])
        assert terms == pytest.approx([float(value) for value in kappa[m]], rel=1e-8, abs=1e-8 * scale)
        if m > 1:
            assert terms[: m - 1] == [0.0] * (m - 1)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "elu"])
def test_order_one_is_flow(name):
    net = rf.mlp([2, 8, 16, 12, 1], activation=name, C_W=1.3, C_b=0.1)
    x = np.array([[0.7, -1.1]])
    first, series = rf.flow(net, x, order=1), expansion(net, x, 3)
    for layer, own in zip(first, series):
        assert own.coefficients(1).flatten()[:2].tolist() == pytest.approx(
            [float(layer.kernel), float(layer.kernel_correction)], rel=1e-9, abs=1e-12
        )
        assert float(own.coefficients(2)[1]) == pytest.approx(float(layer.vertex), rel=1e-9, abs=1e-12)
        assert float(own.mean(1)) == pytest.approx(float(layer.mean_kernel(1)), rel=1e-10)
        assert float(own.variance(1)) == pytest.approx(float(layer.kernel_covariance(1)), rel=1e-9, abs=1e-12)


def polynomial(values, centre, degree):
    """Taylor coefficients times factorials (derivatives) about ``centre``, by a Chebyshev fit of an analytic function."""
    radius = 0.35 * centre
    fit = np.polynomial.Chebyshev.interpolate(values, 20, domain=[centre - radius, centre + radius])
    return [float(fit.deriv(d)(centre)) if d else float(fit(centre)) for d in range(degree + 1)]


def order_two_by_hand(sigma, kernel, widths):
    """theory.md's recursion of K, V, G1, X, V1, G2 with one width, derivatives by polynomial fits."""
    u, w = np.polynomial.hermite_e.hermegauss(160)
    w = w / math.sqrt(2 * math.pi)

    def mean(power, g):
        return (sigma(np.sqrt(np.asarray(g))[..., None] * u) ** (2 * power)) @ w

    def C2(g):
        return mean(2, g) - mean(1, g) ** 2

    def C3(g):
        return mean(3, g) - 3 * mean(2, g) * mean(1, g) + 2 * mean(1, g) ** 3

    K, V, G1, X, V1, G2 = kernel, 0.0, 0.0, 0.0, 0.0, 0.0
    for _ in widths:
        F = polynomial(lambda g: mean(1, g), K, 4)
        c2 = polynomial(C2, K, 2)
        c3 = float(C3(K))
        new_X = c3 + 3 * c2[1] * F[1] * V + F[1] ** 3 * X + 3 * F[1] ** 2 * F[2] * V**2
        new_V1 = c2[1] * G1 + 0.5 * c2[2] * V + F[1] ** 2 * V1 + F[1] * F[2] * (X + 2 * G1 * V)
        new_V1 += F[1] * F[3] * V**2 + 0.5 * F[2] ** 2 * V**2
        new_G2 = F[1] * G2 + 0.5 * F[2] * (V1 + G1**2) + F[3] / 6 * (X + 3 * G1 * V) + F[4] / 8 * V**2
        K, V, G1 = F[0], c2[0] + F[1] ** 2 * V, F[1] * G1 + 0.5 * F[2] * V
        X, V1, G2 = new_X, new_V1, new_G2
    return K, G1, G2, V, V1, X


@pytest.mark.parametrize("name", ["tanh", "sin"])
def test_order_two_by_its_formulas(name):
    sigma = {"tanh": np.tanh, "sin": np.sin}[name]
    widths = (16,) * 4
    K, G1, G2, V, V1, X = order_two_by_hand(sigma, 1.0, widths)
    found = expansion(rf.mlp([1, *widths, 1], activation=name), [[1.0]], 2)[-1]
    assert found.coefficients(1).flatten().tolist() == pytest.approx([K, G1, G2], rel=1e-6)
    assert found.coefficients(2).flatten().tolist() == pytest.approx([0.0, V, V1], rel=1e-6)
    assert found.coefficients(3).flatten().tolist() == pytest.approx([0.0, 0.0, X], rel=1e-6)


def test_tanh_at_width_eight():
    """Variance 0.003715 in 10^6 simulated chains, 0.003697 at order 2; mean 0.09374 simulated, 0.09373 at order 2."""
    found = expansion(rf.mlp([1, *[8] * 5, 1], activation="tanh"), [[1.0]], 2)[-1]
    assert [round(float(found.mean(k)), 5) for k in range(3)] == [0.10344, 0.09346, 0.09373]
    assert [round(float(found.variance(k)), 6) for k in range(3)] == [0.0, 0.004039, 0.003697]


@pytest.mark.parametrize(
    ("name", "low", "third"),
    [("tanh", 0.01, 0.15), pytest.param("sin", 0.02, 0.25, marks=pytest.mark.slow)],
)
def test_order_two_against_the_exact_law_at_width_eight(name, low, third):
    net = rf.mlp([1, *[8] * 5, 1], activation=name)
    exact, series = gram_density(net, [1.0])[-1], expansion(net, [[1.0]], 6)[-1]
    assert float(series.mean(2)) == pytest.approx(exact.mean(), rel=low)
    assert float(series.variance(2)) == pytest.approx(exact.variance(), rel=low)
    assert float(series.cumulant(3, 2)) == pytest.approx(exact.cumulant(3), rel=third)
    assert series.log_cumulant(1, 4) == pytest.approx(exact.log_moment(1), abs=1e-3)
    assert series.log_cumulant(2, 4) == pytest.approx(exact.log_variance(), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "sin"])
@pytest.mark.parametrize(("widths", "highest"), [((8, 16, 32), 2), ((128, 192, 256), 3)])
def test_errors_fall_with_the_right_power(name, widths, highest):
    """Higher orders at widths where the first term left out outweighs the second."""
    errors = {(m, k): [] for m in (1, 2, 3) for k in range(m - 1, highest + 1)}
    if highest == 3:
        errors[3, 4] = []
    for n in widths:
        net = rf.mlp([1, *[n] * 5, 1], activation=name)
        exact, series = gram_density(net, [1.0])[-1], expansion(net, [[1.0]], 4)[-1]
        for m, k in errors:
            errors[m, k].append(abs(float(series.cumulant(m, k)) - exact.cumulant(m)))
    for (_, k), values in errors.items():
        slope = np.polyfit(np.log(widths), np.log(values), 1)[0]
        assert slope == pytest.approx(-(k + 1), abs=0.2)


def test_high_orders_of_relu_are_a_binomial_sum():
    """Var G/K^2 = (1 + 5/n)^L - 1."""
    n, layers = 8, 20
    found = expansion(rf.mlp([1, *[n] * layers, 1], activation="relu", C_W=2.0), [[math.sqrt(0.5)]], 12)[-1]
    binomial = [0.0] + [math.comb(layers, j) * (5 / n) ** j for j in range(1, 13)]
    assert found.terms(2).flatten().tolist() == pytest.approx(binomial, rel=1e-9)


def test_rounding_is_estimated_and_small():
    found = expansion(rf.mlp([1, *[8] * 20, 1], activation="tanh"), [[1.0]], 12)[-1]
    share = (found.rounding(1) / found.terms(1).abs()).flatten()
    assert float(share[:8].max()) < 1e-7
    assert 0.0 < float(share.max()) < 1e-2


def test_unequal_widths_enter_by_layer():
    """The first hidden layer infinitely wide leaves the series of the second alone."""
    wide = expansion(rf.mlp([1, 10**9, 6, 1], activation="tanh"), [[1.0]], 3)[-1]
    kernel = float(rf.flow(rf.mlp([1, 8, 1], activation="tanh"), [[1.0]], order=0)[-1].kernel)
    alone = expansion(rf.mlp([1, 6, 1], activation="tanh"), [[math.sqrt(kernel)]], 3)[-1]
    for m in (1, 2, 3, 4):
        np.testing.assert_allclose(wide.terms(m).flatten(), alone.terms(m).flatten(), rtol=1e-6, atol=1e-9)


def test_logarithm_of_chi_square():
    """Cumulants of log(chi^2_n / n) are polygamma(m - 1, n/2), with log(2/n) added to the mean."""
    n = 40
    found = expansion(rf.mlp([1, n, n, 1], activation="identity"), [[1.0]], 8)[-1]
    assert found.log_cumulant(1) == pytest.approx(2 * (special.digamma(n / 2) + math.log(2 / n)), abs=1e-10)
    for m in (2, 3):
        assert found.log_cumulant(m) == pytest.approx(2 * special.polygamma(m - 1, n / 2), rel=1e-6)


def test_exponential_form_of_a_linear_network():
    """log E[G^2] = L log(1 + 2/n), cut at 1/n^k."""
    n, layers = 10, 30
    found = expansion(rf.mlp([1, *[n] * layers, 1], activation="identity"), [[1.0]], 4)[-1]
    for order in range(1, 5):
        logarithm = layers * sum(-((-2 / n) ** j) / j for j in range(1, order + 1))
        assert found.resummed(2, "exponential", order) == pytest.approx(math.exp(logarithm) - 1, rel=1e-9)
    exact = 1.2**30 - 1
    assert abs(found.resummed(2, "exponential") / exact - 1) < 0.01 < abs(float(found.variance()) / exact - 1)
    assert found.resummed(1, "exponential") == pytest.approx(1.0)


def test_pade_and_borel_of_series_with_known_sums():
    from repflow.recursion.expansion_resummation import borel, pade

    geometric = np.array([(-0.5) ** j for j in range(7)])
    assert pade(geometric[:4]) == pytest.approx(1 / 1.5)
    x = 0.3  # sum (-x)^j j! is Borel summable to exp(1/x) E1(1/x)/x
    factorial = np.array([(-x) ** j * math.factorial(j) for j in range(9)])
    exact = math.exp(1 / x) * special.exp1(1 / x) / x
    assert borel(factorial) == pytest.approx(exact, rel=1e-9)
    assert abs(pade(factorial) - exact) < 1e-3 < abs(factorial.sum() - exact)
    assert math.isnan(borel(np.abs(factorial)))  # a pole on the way
    assert pade(np.array([2.0, 0.0, 0.0])) == 2.0


@pytest.mark.slow
def test_pade_beats_the_series_where_it_diverges():
    net = rf.mlp([1, *[8] * 20, 1], activation="tanh")
    found, exact = expansion(net, [[1.0]], 12)[-1], gram_density(net, [1.0])[-1]
    assert found.best_order(1) < 12
    assert float(found.ratios(1)[-1]) > 1.0
    for m in (1, 2):
        truncated = [abs(float(found.cumulant(m, k)) / exact.cumulant(m) - 1) for k in range(m, 13)]
        assert truncated[-1] > 10.0
        assert abs(found.resummed(m, "pade", 8) / exact.cumulant(m) - 1) < 0.1 * min(truncated)


def test_best_order_stops_before_terms_grow():
    found = expansion(rf.mlp([1, *[4] * 3, 1], activation="gelu", C_W=1.98305826, C_b=0.17292239), [[1.0]], 8)[-1]
    sizes = found.terms(2).flatten().abs().tolist()
    best = found.best_order(2)
    assert 1 <= best < 8
    assert sizes[best + 2] >= sizes[best + 1] or sizes[best + 1] >= sizes[best]


def test_silent_input():
    for layer in expansion(rf.mlp([2, 4, 4, 1], activation="tanh"), np.zeros((1, 2)), 3):
        assert float(layer.mean()) == 0.0
        assert float(layer.variance()) == 0.0
    found = expansion(rf.mlp([2, 4, 4, 1], activation="sigmoid", C_W=1.0, C_b=0.0), np.zeros((1, 2)), 2)
    assert float(found[2].mean()) == 0.25
    assert float(found[2].variance()) == 0.0
    assert float(found[3].variance()) > 0.0


@pytest.mark.parametrize("suffix", [".json", ".zarr"])
def test_save_and_load(tmp_path, suffix):
    found = expansion(rf.mlp([2, 5, 6, 1], activation="tanh"), np.array([[1.0, 0.5], [0.2, -1.0]]), 2)
    found.save(tmp_path / f"expansion{suffix}")
    again = rf.load(tmp_path / f"expansion{suffix}")
    assert (again.order, again.network, len(again)) == (2, found.network, 3)
    for own, other in zip(found, again):
        assert torch.equal(own.cumulant(3), other.cumulant(3))
    assert found.to_xarray()["cumulants"].dims == ("layer", "monomial", "power")


def test_bad_input():
    net = rf.mlp([2, 4, 1], activation="tanh")
    with pytest.raises(TypeError, match="network"):
        expansion("net", np.ones((1, 2)), 2)
    for order in (0, 17, 1.5, True):
        with pytest.raises(ValueError, match="order must be"):
            expansion(net, np.ones((1, 2)), order)
    with pytest.raises(ValueError, match="at most 6 for 2 inputs"):
        expansion(net, np.eye(2), 7)
    with pytest.raises(ValueError, match="one or two rows"):
        expansion(net, np.ones((3, 2)), 2)
    layer = expansion(net, np.ones((1, 2)), 2)[-1]
    with pytest.raises(ValueError, match="m must be a whole number from 1 to 3"):
        layer.cumulant(4)
    with pytest.raises(ValueError, match="from 0 to 2"):
        layer.mean(3)
    with pytest.raises(ValueError, match="method"):
        layer.resummed(2, "hope")
    with pytest.raises(ValueError, match="entry"):
        layer.log_cumulant(1, entry=1)
    with pytest.raises(IndexError, match="layers are 1 to 2"):
        expansion(net, np.ones((1, 2)), 1)[0]


def test_algebra_of_truncated_series():
    from repflow.recursion.expansion_algebra import Monomials, Ring, exponential, logarithm

    monomials = Monomials(2, 4)
    ring = Ring(2, 2)
    random = np.random.default_rng(1)
    h = np.zeros((len(monomials), *ring.shape))
    kept = [(s, e) for s in range(len(ring.shifts)) for e in range(3) if ring.shifts.degrees[s] + 2 * e <= 4]
    for number, (s, e) in itertools.product(range(1, len(monomials)), kept):
        h[number, s, e] = random.standard_normal()
    back = logarithm(monomials, exponential(monomials, h, ring.multiply, ring.one()), ring.multiply)
    np.testing.assert_allclose(back, h, atol=1e-9)
    a, b, c = (h[number] for number in (1, 2, 3))
    np.testing.assert_allclose(ring.multiply(a, ring.multiply(b, c)), ring.multiply(ring.multiply(a, b), c), atol=1e-9)
    np.testing.assert_allclose(ring.multiply(a, ring.one()), a)
