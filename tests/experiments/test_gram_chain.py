"""Simulated chains of one input: exact control variates, relu by its law, bits that do not depend on threads."""

import math

import numpy as np
import pytest

from repflow.build import mlp
from repflow.ensemble import gram_draws
from repflow.experiments.gram_chain import relu_products, simulate


def test_control_variates_change_the_error_and_not_the_mean():
    """Whatever the response: estimates agree within their errors with plain averages, and a good response beats them."""
    n, layers = 24, [2, 5, 9]
    errors = {}
    for name, response in (("good", np.full(8, 0.9)), ("none", np.zeros(8)), ("wrong sign", np.full(8, -0.9))):
        chains = simulate("tanh", 1.0, 0.0, 1.0, n, layers, 20_000, (0, 1), response)
        for row in range(len(layers)):
            G = chains.gram[row]
            mean, error = chains.mean(row, lambda g: g)
            assert mean == pytest.approx(G.mean(), abs=4 * G.std() / math.sqrt(len(G)))
            spread, of_spread = chains.mean(row, lambda g, m=mean: (g - m) ** 2)
            plain = ((G - G.mean()) ** 2).std() / math.sqrt(len(G))
            assert spread == pytest.approx(G.var(), abs=4 * plain)
            assert error <= 1.01 * G.std() / math.sqrt(len(G))
            errors[name, row] = of_spread / plain
    assert errors["good", 2] < 0.6 < errors["wrong sign", 2]


@pytest.mark.parametrize("response", [np.full(8, 0.8), np.linspace(0.2, 1.4, 8)])
def test_moments_of_the_response_are_exact(response):
    chains = simulate("tanh", 1.0, 0.0, 1.0, 6, [2, 9], 40_000, (3, 1), response)
    for row in range(2):
        delta = chains.response[row]
        for m in range(1, 5):
            error = (delta**m).std() / math.sqrt(len(delta))
            assert (delta**m).mean() == pytest.approx(chains.response_moments[row, m - 1], abs=5 * error)


def test_estimates_of_errors_are_right():
    """Over repeated runs the estimates scatter as their errors say."""
    found = np.array(
        [
            simulate("sin", 1.0, 0.0, 1.0, 16, [6], 2000, (seed, 2), np.full(5, 0.8)).mean(0, lambda g: g)
            for seed in range(40)
        ]
    )
    assert found[:, 0].std(ddof=1) == pytest.approx(found[:, 1].mean(), rel=0.35)


def test_chains_are_those_of_the_library():
    """The same law as ``gram_draws``, whose code is another."""
    network = mlp([1, *[12] * 7, 1], activation="tanh", C_W=1.1, C_b=0.05)
    theirs = gram_draws(network, np.ones((1, 1)), 20_000, seed=5, progress=False)[0, :, 0, 0]
    ours = simulate("tanh", 1.1, 0.05, 1.15, 12, [8], 20_000, (4,), np.zeros(7)).gram[0]
    for function in (np.mean, np.std, np.median):
        assert function(ours) == pytest.approx(function(theirs), rel=0.03)
    grid = np.linspace(np.quantile(theirs, 0.02), np.quantile(theirs, 0.98), 30)
    gap = np.abs((ours[:, None] < grid).mean(0) - (theirs[:, None] < grid).mean(0))
    assert gap.max() < 1.95 * math.sqrt(2 / 20_000)  # Kolmogorov-Smirnov, p = 0.001


def test_bits_do_not_depend_on_threads():
    runs = [simulate("tanh", 1.0, 0.0, 1.0, 10, [3, 5], 3500, (7,), np.ones(4), threads=k) for k in (1, 2)]
    assert (runs[0].gram == runs[1].gram).all()
    assert (runs[0].response == runs[1].response).all()
    assert runs[0].gram.shape == (2, 3500)


def test_relu_products_and_draws_by_size():
    n, layers = 20, [2, 8]
    plain = relu_products(n, layers, 200_000, (1,))
    by_size = relu_products(n, layers, 200_000, (2,), by_size=True)
    network = mlp([1, *[n] * 7, 1], activation="relu", C_W=[1.0, *[2.0] * 7], C_b=0.0)
    real = gram_draws(network, np.ones((1, 1)), 30_000, seed=2, progress=False)[0, :, 0, 0]
    for level in (0.1, 0.5, 0.9):
        assert (plain[1] < np.quantile(real, level)).mean() == pytest.approx(level, abs=0.012)
    for row, hidden in enumerate((1, 7)):
        exact = (1 + 5 / n) ** hidden  # E[G^2]
        error = by_size[row].std() / math.sqrt(200_000)
        assert by_size[row].mean() == pytest.approx(exact, abs=4 * error)
        assert error < (plain[row] ** 2).std() / math.sqrt(200_000)
        assert plain[row].mean() == pytest.approx(1.0, abs=4 * plain[row].std() / math.sqrt(200_000))
