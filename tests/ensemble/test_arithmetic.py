"""Products, activations and factors: right, and the same bits however the work is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from repflow.activation import activation_names, as_activation
from repflow.ensemble.arithmetic import activate, factor, product

_SPECS = [{"monomial": "monomial:3", "leaky_relu": "leaky_relu:0.1"}.get(name, name) for name in activation_names()]


@pytest.mark.parametrize(
    ("rows", "columns", "inner"),
    [(1, 1, 1), (1, 1, 3000), (1, 300, 500), (300, 1, 500), (4, 1024, 1024), (100, 100, 1500), (3, 5, 7)],
)
def test_product_is_a_b_transposed(rows, columns, inner):
    rng = np.random.default_rng(rows + columns)
    a, b = rng.standard_normal((3, rows, inner)), rng.standard_normal((3, columns, inner))
    expected = np.einsum("bik,bjk->bij", a, b)
    assert np.allclose(product(a, b), expected, rtol=1e-12, atol=1e-12 * inner)
    alone = np.concatenate([product(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    assert np.array_equal(alone, product(a, b))
    square = product(a, a)
    assert np.allclose(square, np.einsum("bik,bjk->bij", a, a), rtol=1e-12, atol=1e-12 * inner)


def test_product_on_a_device_is_the_same_up_to_rounding():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 6, 5))
    assert np.allclose(product(a, b, torch.device("cpu")), product(a, b), rtol=1e-14, atol=1e-14)
    sigma = as_activation("gelu")
    assert np.allclose(activate(sigma, a, torch.device("cpu")), activate(sigma, a), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("spec", _SPECS)
def test_activation_of_an_element_does_not_depend_on_its_neighbours(spec):
    sigma = as_activation(spec)
    z = np.random.default_rng(0).standard_normal(40_001) * 2
    whole = activate(sigma, z)
    assert np.allclose(whole, sigma(torch.from_numpy(z)).numpy(), rtol=1e-12, atol=1e-14)
    for start, stop in ((0, 1), (3, 10), (17, 150), (40, 20_000), (39_990, 40_001)):
        assert np.array_equal(activate(sigma, z[start:stop]), whole[start:stop])
    assert np.array_equal(activate(sigma, z[:2000:2]), whole[:2000:2])


def _random_gram(rank: int, n: int) -> np.ndarray:
    rows = np.random.default_rng(rank).standard_normal((50, n, rank))
    return rows @ rows.transpose(0, 2, 1)


@pytest.mark.parametrize(("rank", "n"), [(6, 6), (1, 1), (2, 6), (0, 3), (30, 30), (3, 12)])
def test_factor_squares_to_the_matrix(rank, n):
    gram = _random_gram(rank, n)
    root = factor(gram)
    size = max(np.abs(gram).max(), 1e-300)
    assert np.abs(root @ root.transpose(0, 2, 1) - gram).max() <= 1e-13 * size
    assert (np.abs(root).max(axis=1) > 0).sum(axis=1).max() <= max(rank, 0) + (rank == n) * 0
    assert np.array_equal(factor(gram[7:9]), root[7:9])


def test_factor_keeps_repeated_opposite_and_zero_inputs():
    x = np.array([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [0.0, 0.0], [1e-9, 0.0]])
    gram = (x @ x.T)[None]
    root = factor(gram)[0]
    assert np.array_equal(root[0], root[1])
    assert np.array_equal(root[0], -root[2])
    assert not root[3].any()
    assert np.allclose(root @ root.T, gram[0], rtol=1e-13, atol=1e-15)


def test_factor_of_mixed_ranks_leaves_no_nan():
    gram = np.stack([np.zeros((3, 3)), np.eye(3), np.ones((3, 3)), np.diag([1.0, 0.0, 1e-30])])
    root = factor(gram)
    assert np.allclose(root @ root.transpose(0, 2, 1), gram, atol=1e-15)
