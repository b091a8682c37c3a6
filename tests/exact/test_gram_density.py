"""The exact law of one Gram entry against closed forms, direct integration and simulated chains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special

import repflow as rf
from repflow.activation import as_activation
from repflow.exact import gram_density


def cumulants_of(moments):
    """Cumulants 1..len from raw moments 1..len."""
    m = [1.0, *moments]
    kappa = [0.0]
    for j in range(1, len(m)):
        kappa.append(m[j] - sum(math.comb(j - 1, i - 1) * kappa[i] * m[j - i] for i in range(1, j)))
    return kappa[1:]


@pytest.mark.parametrize("widths", [(3, 5, 2), (8, 16, 8, 8), (200, 100), pytest.param((1, 3), marks=pytest.mark.slow)])
def test_deep_linear_networks_are_products_of_chi_square(widths):
    d = gram_density(rf.mlp([2, *widths, 1], activation="identity", C_W=1.3), [0.8, -0.5])
    start = 1.3 * (0.8**2 + 0.5**2) / 2
    scale = start * 1.3 ** len(widths)
    moments = [scale**m * math.prod(1 + 2 * j / n for n in widths for j in range(m)) for m in range(1, 5)]
    for m, expected in enumerate(cumulants_of(moments), start=1):
        assert d[-1].cumulant(m) == pytest.approx(expected, rel=1e-9)
    logs = math.log(scale) + sum(special.digamma(n / 2) + math.log(2 / n) for n in widths)
    assert d[-1].log_moment(1) == pytest.approx(logs, abs=1e-10)
    assert d[-1].log_variance() == pytest.approx(sum(special.polygamma(1, n / 2) for n in widths), rel=1e-9)
    assert d[-1].silent == 0.0


def test_density_and_median_of_one_linear_layer():
    n = 6
    law = gram_density(rf.mlp([1, n, 1], activation="identity"), [1.0])[-1]
    g = np.array([0.05, 0.4, 1.0, 2.5])
    from scipy.stats import chi2

    np.testing.assert_allclose(law.density(g), n * chi2.pdf(n * g, n), rtol=1e-6, atol=5e-8)
    np.testing.assert_allclose(law.cdf(g), chi2.cdf(n * g, n), atol=1e-8)
    assert law.median() == pytest.approx(chi2.ppf(0.5, n) / n, rel=1e-8)
    assert law.quantile(0.99) == pytest.approx(chi2.ppf(0.99, n) / n, rel=1e-7)


@pytest.mark.parametrize(
    "widths",
    [(2,), (3, 2), pytest.param((1, 2), marks=pytest.mark.slow), pytest.param((4, 8, 3), marks=pytest.mark.slow)],
)
def test_relu_is_a_binomial_mixture(widths):
    d = gram_density(rf.mlp([1, *widths, 1], activation="relu", C_W=2.0), [1.0])
    moments, alive, logs = [2.0, 4.0, 8.0], 1.0, math.log(2.0)
    for n in widths:
        k = np.arange(n + 1)
        p = special.comb(n, k) / 2.0**n
        factors = [np.prod([k + 2 * j for j in range(m)], axis=0) * (2.0 / n) ** m for m in (1, 2, 3)]
        moments = [value * float(p @ factor) for value, factor in zip(moments, factors)]
        alive *= 1 - p[0]
        speaking = p[1:] / (1 - p[0])
        logs += float(speaking @ (special.digamma(k[1:] / 2) + math.log(2))) + math.log(2 / n)
    for m, expected in enumerate(cumulants_of(moments), start=1):
        assert d[-1].cumulant(m) == pytest.approx(expected, rel=1e-11)
    assert d[-1].silent == pytest.approx(1 - alive, abs=1e-13)
    assert d[-1].log_moment(1) == pytest.approx(logs, rel=1e-11)


@pytest.mark.slow
def test_relu_at_large_width_and_depth():
    d = gram_density(rf.mlp([1, *[130] * 39, 1], activation="relu", C_W=2.0), [1.0])
    assert d[-1].variance() == pytest.approx(4 * ((1 + 5 / 130) ** 39 - 1), rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "sin"])
def test_width_one_by_direct_integration(name):
    sigma = {"tanh": math.tanh, "sin": math.sin}[name]
    d = gram_density(rf.mlp([1, 1, 1, 1], activation=name), [1.0])

    def normal(u):
        return math.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)

    def inner(u, power):
        g = sigma(u) ** 2
        return integrate.quad(
            lambda v: 2 * normal(v) * sigma(math.sqrt(g) * v) ** (2 * power), 0, 12, epsabs=1e-13, limit=200
        )[0]

    for power in (1, 2):
        direct = integrate.quad(lambda u, power=power: 2 * normal(u) * inner(u, power), 0, 12, epsabs=1e-12, limit=200)[
            0
        ]
        assert d[-1].moment(power) == pytest.approx(direct, rel=1e-9)


def test_the_law_of_one_tanh_neuron():
    law = gram_density(rf.mlp([1, 1, 1], activation="tanh"), [0.7])[-1]
    g = np.array([0.01, 0.1, 0.5])
    z = np.arctanh(np.sqrt(g))
    np.testing.assert_allclose(law.cdf(g), special.erf(z / 0.7 / math.sqrt(2)), atol=2e-4)
    assert abs(law.cdf(g) - special.erf(z / 0.7 / math.sqrt(2))).max() < max(law.error("cdf", g), 1e-6) * 20
    exact = integrate.quad(lambda u: math.log(math.tanh(0.7 * u) ** 2) * math.exp(-0.5 * u * u), 0, 12)[0]
    assert law.log_moment(1) == pytest.approx(exact * 2 / math.sqrt(2 * math.pi), rel=1e-7)


def chains(name, widths, C_W, C_b, start, count, seed):
    """G of the last layer in ``count`` simulated chains."""
    activation = as_activation(name)
    random = np.random.default_rng(seed)
    g = np.full(count, start)
    for n in widths:
        z = random.standard_normal((count, n)) * np.sqrt(g)[:, None]
        g = C_b + C_W * (activation(torch.from_numpy(z)).numpy() ** 2).mean(axis=1)
    return g


@pytest.mark.parametrize(
    ("name", "widths", "C_W", "C_b"),
    [
        pytest.param("gelu", (3, 5), 1.8, 0.2, marks=pytest.mark.slow),
        pytest.param("hardtanh", (2, 4), 1.5, 0.0, marks=pytest.mark.slow),
        ("softplus", (2, 3), 0.5, 0.1),
        ("abs", (1, 4), 1.0, 0.3),
    ],
)
def test_a_million_simulated_chains(name, widths, C_W, C_b):
    count = 1_000_000
    law = gram_density(rf.mlp([1, *widths, 1], activation=name, C_W=C_W, C_b=C_b), [1.2])[-1]
    g = chains(name, widths, C_W, C_b, C_b + C_W * 1.44, count, seed=3)
    assert abs(law.mean() - g.mean()) < 5 * g.std() / math.sqrt(count)
    square = (g - g.mean()) ** 2
    assert abs(law.variance() - square.mean()) < 5 * square.std() / math.sqrt(count)
    logs = np.log(g[g > 0])
    assert abs(law.log_moment(1) - logs.mean()) < 5 * logs.std() / math.sqrt(len(logs))
    places = np.quantile(g, [0.1, 0.3, 0.5, 0.7, 0.9])
    places = places[(places > C_b * (1 + 1e-9)) & (places < g.max() * (1 - 1e-9))]
    found = np.array([(g <= place).mean() for place in places])
    assert abs(law.cdf(places) - found).max() < 5 * 0.5 / math.sqrt(count) + law.error("cdf", places)


def test_error_estimates_cover_the_errors():
    widths = (8, 4, 8)
    d = gram_density(rf.mlp([1, *widths, 1], activation="identity"), [1.0])
    moments = [math.prod(1 + 2 * j / n for n in widths for j in range(m)) for m in range(1, 5)]
    for m, exact in enumerate(cumulants_of(moments), start=1):
        assert abs(d[-1].cumulant(m) - exact) < d[-1].error("cumulant", m) + 1e-12 * exact
    assert 0.0 < d.error < 1e-8


@pytest.mark.slow
def test_a_heavy_tail():
    """sigma(z) = z^2: E[G'^m] is a multiple of E[G^(2m)], by the moments of u^4."""
    n, C_W = 4, 0.2
    law = gram_density(rf.mlp([1, n, 1], activation="monomial:2", C_W=C_W), [1.0], moments=2)[-1]

    def factor(m):
        own = [n * value for value in cumulants_of([float(math.prod(range(1, 4 * j, 2))) for j in range(1, m + 1)])]
        raw = [1.0]
        for j in range(1, m + 1):
            raw.append(sum(math.comb(j - 1, i - 1) * own[i - 1] * raw[j - i] for i in range(1, j + 1)))
        return (C_W / n) ** m * raw[m]

    mean = factor(1) * C_W**2
    assert abs(law.mean() - mean) < 20 * law.error("mean") + 1e-8 * mean
    assert law.moment(2) == pytest.approx(factor(2) * C_W**4, rel=1e-8)
    assert law.moment(4) == pytest.approx(factor(4) * C_W**8, rel=1e-3)  # beyond the moments that were asked for


def test_perceptron_counts_firing_neurons():
    law = gram_density(rf.mlp([1, 5, 1], activation="perceptron", C_W=2.0, C_b=0.5), [1.0])[-1]
    assert law.mean() == pytest.approx(1.5)
    assert law.variance() == pytest.approx(4 / 25 * 5 / 4)
    assert law.atoms[0] == (0.5, pytest.approx(2.0**-5))
    assert law.silent == 0.0


def test_no_input_and_no_weights():
    silent = gram_density(rf.mlp([2, 4, 4, 1], activation="tanh"), [0.0, 0.0])
    assert [silent[l].mean() for l in (1, 2, 3)] == [0.0] * 3
    assert silent[-1].silent == pytest.approx(1.0)
    constant = gram_density(rf.mlp([2, 4, 1], activation="sigmoid", C_W=1.0, C_b=0.0), [0.0, 0.0])
    assert constant[-1].mean() == pytest.approx(0.25)
    assert constant[-1].variance() == 0.0
    fixed = gram_density(rf.mlp([2, 4, 1], activation="relu", C_W=0.0, C_b=0.3), [1.0, 0.0])
    assert fixed[-1].mean() == 0.3
    assert fixed[-1].quantile(0.5) == 0.3


def test_first_layer_is_one_value_and_indices():
    d = gram_density(rf.mlp([1, 3, 1], activation="tanh"), np.array([[2.0]]))
    assert d[1].atoms == ((4.0, 1.0),)
    assert d[1].variance() == 0.0
    assert len(d) == 2
    assert [layer.index for layer in d] == [1, 2]
    assert d[-1] is d[2]
    with pytest.raises(IndexError, match="layers are 1 to 2"):
        d[0]
    with pytest.raises(TypeError, match="layer must be"):
        d["output"]


def test_grid_and_density_integrate_to_one():
    law = gram_density(rf.mlp([1, 24, 24, 1], activation="sin"), [1.0])[-1]
    g = law.grid
    assert len(g) == 401
    assert integrate.trapezoid(law.log_density(np.log(g)), np.log(g)) == pytest.approx(1.0, abs=1e-4)
    assert integrate.trapezoid(law.density(g) * g, g) == pytest.approx(law.mean(), rel=1e-3)
    assert law.expect(lambda values: values**2) == pytest.approx(law.moment(2))


@pytest.mark.parametrize("suffix", [".json", ".zarr"])
def test_save_and_load(tmp_path, suffix):
    d = gram_density(rf.mlp([1, 3, 4, 1], activation="relu", C_W=1.5, C_b=0.2), [1.0])
    d.save(tmp_path / f"density{suffix}")
    again = rf.load(tmp_path / f"density{suffix}")
    assert again.network == d.network
    for l in (1, 2, 3):
        assert again[l].cumulant(3) == d[l].cumulant(3)
        assert again[l].atoms == d[l].atoms
        assert again[l].error("variance") == d[l].error("variance")
    assert again[-1].median() == d[-1].median()
    assert "layer_3.law.weight" in d.to_xarray()


def test_bad_input():
    net = rf.mlp([2, 3, 1], activation="tanh")
    with pytest.raises(TypeError, match="network"):
        gram_density("net", [1.0, 1.0])
    with pytest.raises(ValueError, match="one input"):
        gram_density(net, np.ones((2, 2)))
    with pytest.raises(ValueError, match="finite"):
        gram_density(net, [1.0, math.nan])
    with pytest.raises(TypeError, match="real numbers"):
        gram_density(net, ["a", "b"])
    with pytest.raises(ValueError, match="moments"):
        gram_density(net, [1.0, 1.0], moments=0)
    law = gram_density(net, [1.0, 1.0])[-1]
    with pytest.raises(ValueError, match="m must be"):
        law.cumulant(0)
    with pytest.raises(ValueError, match="probability"):
        law.quantile(1.0)
    with pytest.raises(ValueError, match="positive"):
        law.density([0.0])
    with pytest.raises(ValueError, match="statistic"):
        law.error("sharpness")
