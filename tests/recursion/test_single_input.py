"""One input: the recursion in scalar form, written once more with mpmath and SciPy, and the numbers of the
literature."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

from repflow.recursion import flow


def _gelu(z):
    return z * mpmath.ncdf(z)


ACTIVATIONS = {"tanh": mpmath.tanh, "sin": mpmath.sin, "gelu": _gelu}


def _mean(function, variance):
    """E[f(z)] by mpmath's tanh-sinh quadrature at 20 digits."""
    with mpmath.workdps(20):
        sigma = mpmath.sqrt(variance)
        density = 1 / mpmath.sqrt(2 * mpmath.pi)
        panels = [-12, -6, -3, 0, 3, 6, 12]
        return mpmath.quad(lambda u: function(sigma * u) * mpmath.exp(-u * u / 2) * density, panels)


def _scalar_flow(function, C_W, C_b, first, widths):
    """theory.md section 1 at one input: (K, V, G1) by layer; derivatives in K are central differences at 20
    digits."""
    k, v, g = mpmath.mpf(first), mpmath.mpf(0), mpmath.mpf(0)
    rows = [(k, v, g)]
    for before, width in itertools.pairwise(widths):

        def square(variance):
            return C_W * _mean(lambda z: function(z) ** 2, variance)

        with mpmath.workdps(20):
            step = k * mpmath.mpf("0.02")
            around = [square(k + shift * step) for shift in range(-4, 5)]
            w1 = [
                mpmath.mpf(n) / d
                for n, d in ((1, 280), (-4, 105), (1, 5), (-4, 5), (0, 1), (4, 5), (-1, 5), (4, 105), (-1, 280))
            ]
            w2 = [
                mpmath.mpf(n) / d
                for n, d in ((-1, 560), (8, 315), (-1, 5), (8, 5), (-205, 72), (8, 5), (-1, 5), (8, 315), (-1, 560))
            ]
            slope = sum(w * f for w, f in zip(w1, around)) / step
            curvature = sum(w * f for w, f in zip(w2, around)) / step**2
            fourth = C_W**2 * _mean(lambda z: function(z) ** 4, k)
            ratio = mpmath.mpf(width) / before
            k, v, g = (
                C_b + around[4],
                fourth - around[4] ** 2 + ratio * slope**2 * v,
                ratio * (slope * g + curvature * v / 2),
            )
        rows.append((k, v, g))
    return rows


@pytest.mark.parametrize(
    ("name", "C_W", "C_b", "first"),
    [("tanh", 1.0, 0.0, 1.0), ("sin", 1.2, 0.1, 2.0), ("gelu", 1.98305826, 0.17292239, 3.5)],
)
def test_against_the_scalar_recursion(network, name, C_W, C_b, first):
    widths = (3, 20, 35, 12, 5)
    x = np.full((1, 3), np.sqrt((first - C_b) / C_W))
    found = flow(network(widths, name, C_W, C_b), x)
    rows = _scalar_flow(ACTIVATIONS[name], C_W, C_b, first, (3, 20, 35, 12))
    assert len(rows) == len(found)
    for layer, (k, v, g) in zip(found, rows):
        assert float(layer.kernel) == pytest.approx(float(k), rel=1e-9)
        assert float(layer.vertex) == pytest.approx(float(v), rel=1e-7, abs=1e-14)
        assert float(layer.kernel_correction) == pytest.approx(float(g), rel=1e-6, abs=1e-14)


def test_five_activated_layers_of_tanh(network):
    """K^(1) = 1, C_W = 1, n = 8: simulated variance 0.003715, 0.004039 at first order; mean 0.10344, 0.09346 with
    G1."""
    found = flow(network((5, 8, 8, 8, 8, 8, 1), "tanh"), np.ones((1, 5)))[6]
    assert float(found.kernel) == pytest.approx(0.10344, abs=5e-6)
    assert float(found.mean_kernel()) == pytest.approx(0.09346, abs=5e-6)
    assert float(found.kernel_covariance()) == pytest.approx(0.004039, abs=5e-7)


@pytest.mark.parametrize(("name", "coefficient"), [("tanh", 0.5), ("sin", 1.0)])
def test_the_vertex_grows_by_two_thirds_a_layer(network, name, coefficient):
    """K* = 0 class at criticality: K l tends to 1/2 (tanh) and 1 (sin), V/K^2 to 2 l/3, each slower than the last."""
    depth = 300
    found = flow(network((4, *[50] * (depth - 1), 1), name), np.ones((1, 4)))
    ratio = [float(layer.vertex) / float(layer.kernel) ** 2 for layer in found]
    k = [float(layer.kernel) for layer in found]
    assert (ratio[-1] - ratio[-101]) / 100 == pytest.approx(2 / 3, rel=0.02)
    assert 1 / ((1 / k[-1] - 1 / k[-101]) / 100) == pytest.approx(coefficient, rel=0.03)
    early, late = abs(ratio[99] / 99 - 2 / 3), abs(ratio[-1] / (depth - 1) - 2 / 3)
    assert late < 0.7 * early


@pytest.mark.parametrize(("name", "C_W", "nu"), [("relu", 2.0, 5.0), ("identity", 1.0, 2.0)])
def test_scale_invariant_growth_is_exactly_linear(network, name, C_W, nu):
    found = flow(network((4, *[50] * 29, 1), name, C_W), np.ones((1, 4)))
    for layer in found:
        assert float(layer.vertex) / float(layer.kernel) ** 2 == pytest.approx(
            nu * (layer.index - 1), rel=1e-9, abs=1e-12
        )


def test_hardtanh_against_integrals_by_scipy(network):
    """A kinked activation: K, V and G1 of layer 3 with every expectation from scipy.integrate.quad."""

    def mean(function, k):
        s = np.sqrt(k)
        density = lambda z: np.exp(-z * z / (2 * k)) / (s * np.sqrt(2 * np.pi))  # noqa: E731
        inside = quad(lambda z: function(z) * density(z), -1, 1, epsabs=1e-13)[0]
        return inside + 2 * quad(lambda z: function(1.0) * density(z), 1, 1 + 12 * s, epsabs=1e-13)[0]

    k1 = 1.3
    squares = lambda k: mean(lambda z: z * z, k)  # noqa: E731
    h = 0.02
    slope = (8 * (squares(k1 + h) - squares(k1 - h)) - (squares(k1 + 2 * h) - squares(k1 - 2 * h))) / (12 * h)
    found = flow(network((4, 10, 30, 6, 2), "hardtanh"), np.full((1, 4), np.sqrt(k1)))
    k2 = squares(k1)
    v2 = mean(lambda z: z**4, k1) - k2**2
    assert float(found[2].kernel) == pytest.approx(k2, rel=1e-9)
    assert float(found[2].vertex) == pytest.approx(v2, rel=1e-7)
    assert slope > 0
    steps = np.arange(-3, 4)
    values = [squares(k2 + s * h) for s in steps]
    first = np.dot([-1 / 60, 3 / 20, -3 / 4, 0, 3 / 4, -3 / 20, 1 / 60], values) / h
    second = np.dot([1 / 90, -3 / 20, 3 / 2, -49 / 18, 3 / 2, -3 / 20, 1 / 90], values) / h**2
    k3 = squares(k2)
    v3 = mean(lambda z: z**4, k2) - k3**2 + 30 / 10 * first**2 * v2
    assert float(found[3].vertex) == pytest.approx(v3, rel=1e-6)
    assert float(found[3].kernel_correction) == pytest.approx(30 / 10 * 0.5 * second * v2, rel=1e-5)
