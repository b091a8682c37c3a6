"""Laws as weights on panels, and sums of neurons in log space."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from repflow.activation import as_activation
from repflow.exact.neuron import neuron_law, zeros
from repflow.exact.panels import Panels, graded_edges, interpolation
from repflow.exact.sums import SumTable


def test_weights_are_exact_for_polynomials_whatever_the_law():
    panels = Panels(np.array([-1.0, 0.5, 0.7, 3.0]), 6)
    random = np.random.default_rng(0)
    t, mass = random.uniform(-1, 3, 50), random.standard_normal(50)
    w = panels.weights(t, mass)
    for degree in range(6):
        assert w @ panels.nodes**degree == pytest.approx(mass @ t**degree, abs=1e-11)
    rows = panels.weights(t, np.stack([mass, 2 * mass]))
    np.testing.assert_allclose(rows, [w, 2 * w], atol=1e-12)
    assert interpolation(np.array([0.3]), 5).sum() == pytest.approx(1.0)


def test_edges_cover_the_law():
    t = np.linspace(-20, 3, 500)
    size = np.exp(0.5 * t - 0.5 * np.exp(t))
    edges = graded_edges(t, size, size, 0.25, 1.0)
    assert edges[0] <= t[0]
    assert edges[-1] >= t[-1]
    assert np.diff(edges).min() >= 0.25 - 1e-12
    assert np.diff(edges).max() <= 1.0 + 1e-12


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tanh", [0.0]),
        ("monomial:2", [0.0]),
        ("relu", [0.0]),
        ("sin", [-np.pi, 0.0, np.pi]),
        ("sigmoid", []),
        ("hardswish", [-3.0, 0.0]),
    ],
)
def test_zeros(name, expected):
    np.testing.assert_allclose(zeros(as_activation(name), 5.0), expected, atol=1e-9)


def test_one_neuron():
    activation = as_activation("relu")
    t, mass, silent = neuron_law(activation, np.array([0.5]), zeros(activation, 10.0), 40, 14)
    assert silent[0] == pytest.approx(0.5)
    assert mass[0] @ np.exp(t) == pytest.approx(0.25)
    exact = 0.5 * (special.digamma(0.5) + np.log(2) + np.log(0.5))
    assert mass[0] @ t == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("name", ["tanh", "sin", "gelu", "elu", "softplus", "monomial:2"])
@pytest.mark.parametrize("n", [2, 7, 33])
def test_sums_have_the_cumulants_of_n_neurons(name, n):
    activation = as_activation(name)
    g = np.array([0.3])
    roots = zeros(activation, 20.0)
    law = SumTable(activation, n, roots, 0.2, 16, 6).one(float(g[0]))
    t, mass, _ = neuron_law(activation, g, roots, 50, 20)
    x = np.exp(t)
    mean = mass[0] @ x
    central = [mass[0] @ (x - mean) ** m for m in (2, 3)]
    s = np.exp(law.s + law.shift[0])
    found = law.weights[0] @ s
    assert found == pytest.approx(n * mean, rel=1e-11)
    assert law.weights[0] @ (s - found) ** 2 == pytest.approx(n * central[0], rel=1e-10)
    assert law.weights[0] @ (s - found) ** 3 == pytest.approx(n * central[1], rel=1e-7)


def test_rows_are_interpolated_in_log_g():
    activation = as_activation("tanh")
    table = SumTable(activation, 5, zeros(activation, 20.0), 0.2, 16, 6)
    log_g = np.array([-0.37])
    shift, weights, _ = table.laws(-1).at(table.place_of(-1, log_g))
    own = table.one(float(np.exp(log_g[0])))
    for power in (1, 3, -1):
        between = weights[0] @ np.exp(power * (table.laws(-1).s + shift[0]))
        assert between == pytest.approx(own.weights[0] @ np.exp(power * (own.s + own.shift[0])), rel=1e-9)
