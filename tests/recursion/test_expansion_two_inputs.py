"""The expansion to any order, two inputs: Wishart matrices, order 1, one input, and simulated chains."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import repflow as rf
from repflow.activation import as_activation
from repflow.recursion.expansion import expansion

X = np.array([[1.0, 0.2], [-0.3, 1.1]])


@pytest.mark.parametrize("name", ["tanh", "silu", "relu"])
def test_order_one_is_flow(name):
    net = rf.mlp([2, 8, 16, 12, 1], activation=name, C_W=1.2, C_b=0.1)
    first, series = rf.flow(net, X, order=1), expansion(net, X, 2)
    for layer, own in zip(first, series):
        torch.testing.assert_close(own.kernel, layer.kernel, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(own.coefficients(1)[1], layer.kernel_correction, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(own.coefficients(2)[1], layer.vertex, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(own.variance(1), torch.einsum("abab->ab", own.kernel_covariance(1)))


def test_one_wishart_layer_has_all_its_joint_cumulants():
    """G = (1/n) sum z z^T: kappa_m is n^(1-m) 2^(m-1) times a sum over cycles; three at a time here."""
    n = 7
    found = expansion(rf.mlp([2, n, 1], activation="identity"), X, 4)[-1]
    K = X @ X.T / 2
    second = np.einsum("ac,bd->abcd", K, K) + np.einsum("ad,bc->abcd", K, K)
    np.testing.assert_allclose(found.kernel_covariance(), second / n, rtol=1e-9, atol=1e-12)
    # Connected pairings of (a b)(c d)(e f): 8 cycles.
    third = np.zeros((2,) * 6)
    for second_order, third_order in itertools.product(("cd", "dc"), ("ef", "fe")):
        for p, q in ((second_order, third_order), (third_order, second_order)):
            third += np.einsum(f"b{p[0]},{p[1]}{q[0]},{q[1]}a->abcdef", K, K, K)
    np.testing.assert_allclose(found.cumulant(3), third / n**2, rtol=1e-9, atol=1e-12)
    assert float(found.terms(3)[3:].abs().max()) < 1e-12


def test_deep_wishart_covariance_is_exact_at_its_order():
    """M_abcd = E[G_ab G_cd] maps to M_abcd + (M_acbd + M_adbc)/n: three layers end at order 3."""
    widths = (4, 6, 9)
    K = X @ X.T / 2
    M = np.einsum("ab,cd->abcd", K, K)
    for n in widths:
        M = M + (np.einsum("acbd->abcd", M) + np.einsum("adbc->abcd", M)) / n
    found = expansion(rf.mlp([2, *widths, 1], activation="identity"), X, 4)[-1]
    np.testing.assert_allclose(found.kernel_covariance(), M - np.einsum("ab,cd->abcd", K, K), rtol=1e-8)
    np.testing.assert_allclose(found.mean(), K, rtol=1e-10)


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu"])
def test_each_input_alone(name):
    net = rf.mlp([2, 5, 9, 1], activation=name, C_W=1.1, C_b=0.2)
    both = expansion(net, X, 3)[-1]
    for a in (0, 1):
        alone = expansion(net, X[a : a + 1], 3)[-1]
        for m in (1, 2, 3, 4):
            own = both.terms(m)[(slice(None), *(a,) * (2 * m))]
            np.testing.assert_allclose(own, alone.terms(m).flatten(), rtol=1e-6, atol=1e-10)
        assert both.log_cumulant(1, entry=a) == pytest.approx(alone.log_cumulant(1), rel=1e-8)
        assert both.resummed(2, "pade", entry=a) == pytest.approx(alone.resummed(2, "pade"), rel=1e-6)


def test_exchanged_and_repeated_inputs():
    net = rf.mlp([2, 5, 9, 1], activation="tanh")
    found, exchanged = expansion(net, X, 2)[-1], expansion(net, X[::-1].copy(), 2)[-1]
    np.testing.assert_allclose(exchanged.cumulant(3), found.cumulant(3).flip(*range(6)), rtol=1e-9)
    same, one = expansion(net, np.stack([X[0], X[0]]), 2)[-1], expansion(net, X[:1], 2)[-1]
    for m in (1, 2, 3):
        np.testing.assert_allclose(same.cumulant(m), float(one.cumulant(m).flatten()[0]), rtol=1e-7)


def test_a_zero_input_beside_another():
    net = rf.mlp([2, 5, 9, 1], activation="tanh")
    found = expansion(net, np.array([[0.0, 0.0], [1.0, 0.4]]), 2)[-1]
    alone = expansion(net, [[1.0, 0.4]], 2)[-1]
    assert float(found.mean()[0, 0]) == 0.0
    assert float(found.mean()[1, 1]) == pytest.approx(float(alone.mean()), rel=1e-9)


def test_kinks_and_collinear_inputs_are_refused():
    net = rf.mlp([2, 5, 9, 1], activation="relu", C_W=2.0, C_b=0.0)
    with pytest.raises(ValueError, match="correlation of 1 between"):
        expansion(net, np.array([[1.0, 0.5], [2.0, 1.0]]), 2)


def chains(name, widths, count, seed):
    """The Gram matrices of the last layer in ``count`` simulated chains, shape (count, 2, 2)."""
    activation = as_activation(name)
    random = np.random.default_rng(seed)
    G = np.broadcast_to(X @ X.T / 2, (count, 2, 2))
    for n in widths:
        factor = np.linalg.cholesky(G)
        z = factor @ random.standard_normal((count, 2, n))
        s = activation(torch.from_numpy(z)).numpy()
        G = s @ np.swapaxes(s, 1, 2) / n
    return G


@pytest.mark.slow
def test_higher_orders_approach_simulated_chains():
    widths, count = (6, 8, 6), 1_500_000
    found = expansion(rf.mlp([2, *widths, 1], activation="tanh"), X, 4)[-1]
    G = chains("tanh", widths, count, 5)
    entries = np.stack([G[:, 0, 0], G[:, 0, 1], G[:, 1, 1]], axis=1)
    mean = entries.mean(axis=0)
    centred = entries - mean
    index = [(0, 0), (0, 1), (1, 1)]
    for i, j in itertools.combinations_with_replacement(range(3), 2):
        products = centred[:, i] * centred[:, j]
        error = products.std() / math.sqrt(count)
        by_order = [abs(float(found.kernel_covariance(k)[(*index[i], *index[j])]) - products.mean()) for k in (1, 4)]
        assert by_order[1] < 5 * error + 0.02 * by_order[0]
    for i in range(3):
        error = centred[:, i].std() / math.sqrt(count)
        by_order = [abs(float(found.mean(k)[index[i]]) - mean[i]) for k in (0, 4)]
        assert by_order[1] < 5 * error + 0.002 * by_order[0]
    third = centred[:, 0] * centred[:, 1] * centred[:, 2]
    error = third.std() / math.sqrt(count)
    by_order = [abs(float(found.cumulant(3, k)[0, 0, 0, 1, 1, 1]) - third.mean()) for k in (2, 4)]
    assert by_order[1] < 5 * error + 0.1 * by_order[0]
