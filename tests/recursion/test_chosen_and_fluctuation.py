"""``vertex_at`` and ``kernel_fluctuation`` against the full vertex."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from repflow.recursion import flow, kernel_fluctuation, vertex_at

WIDTHS = (7, 12, 9, 10, 4)


@pytest.fixture(scope="module")
def sixteen():
    x = np.random.default_rng(5).standard_normal((16, 7))
    x[3] = x[2]
    x[4] = 0
    return x


@pytest.fixture(scope="module")
def forms():
    generator = np.random.default_rng(6)
    a, b = generator.standard_normal((2, 16, 16))
    return a + a.T, b @ b.T / 16


@pytest.fixture(scope="module")
def full(network, sixteen):
    return flow(network(WIDTHS, "tanh", 1.3, 0.05), sixteen)


def _contracted(full, a, b):
    return [float(torch.einsum("ab,cd,abcd->", torch.tensor(a), torch.tensor(b), f.kernel_covariance())) for f in full]


def test_exact_is_the_contracted_vertex(network, sixteen, forms, full):
    a, b = forms
    net = network(WIDTHS, "tanh", 1.3, 0.05)
    for first, second in ((a, b), (a, None), (np.eye(16) / 16, None)):
        found = kernel_fluctuation(net, sixteen, first, second, samples=None)
        expected = _contracted(full, first, first if second is None else second)
        np.testing.assert_allclose(found.covariance.numpy(), expected, rtol=1e-8, atol=1e-9 * max(map(abs, expected)))
        assert not found.stderr.any()
    np.testing.assert_allclose(found.mean_A.numpy(), [float(f.kernel.trace()) / 16 for f in full], rtol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_scatter_by_their_error(network, sixteen, forms, full, seed):
    a, b = forms
    found = kernel_fluctuation(network(WIDTHS, "tanh", 1.3, 0.05), sixteen, a, b, samples=20_000, seed=seed)
    expected = torch.tensor(_contracted(full, a, b))
    assert float(found.covariance[0]) == float(found.stderr[0]) == 0
    z = (found.covariance - expected)[1:] / found.stderr[1:]
    assert float(z.abs().max()) < 5
    more = kernel_fluctuation(network(WIDTHS, "tanh", 1.3, 0.05), sixteen, a, b, samples=80_000, seed=seed)
    np.testing.assert_allclose(found.stderr[1:] / more.stderr[1:], 2, rtol=0.15)


def test_standard_errors_are_honest(network, sixteen, forms, full):
    """Over 60 seeds the z-scores have the spread of a normal variable."""
    a, _ = forms
    expected = torch.tensor(_contracted(full, a, a))[1:]
    net = network(WIDTHS, "tanh", 1.3, 0.05)
    z = []
    for seed in range(60):
        found = kernel_fluctuation(net, sixteen, a, samples=1000, seed=seed)
        z.append(((found.covariance[1:] - expected) / found.stderr[1:]).numpy())
    spread = np.std(z, axis=0)
    assert (spread > 0.65).all()
    assert (spread < 1.4).all()
    assert (np.abs(np.mean(z, axis=0)) < 0.6).all()


def test_seeds(network, sixteen):
    net = network(WIDTHS)
    one, two = (kernel_fluctuation(net, sixteen, np.eye(16), samples=64, seed=s).covariance for s in (1, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, kernel_fluctuation(net, sixteen, np.eye(16), samples=64, seed=2).covariance)


@pytest.mark.slow
def test_a_thousand_inputs(network):
    """No N^4 anywhere: N = 1000 against the exact answer on the diagonal entry of one input."""
    x = np.random.default_rng(7).standard_normal((1000, 7))
    net = network(WIDTHS, "tanh", 1.3, 0.05)
    pick = np.zeros((1000, 1000))
    pick[17, 17] = 1
    found = kernel_fluctuation(net, x, pick, samples=20_000)
    expected = vertex_at(net, x, [[17, 17, 17, 17]])[:, 0] / torch.tensor([7, 12, 9, 10])
    assert float(((found.covariance - expected)[1:] / found.stderr[1:]).abs().max()) < 5


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
def test_chosen_components(network, sixteen, name):
    net = network(WIDTHS, name, 1.3, 0.05)
    whole = flow(net, sixteen[:6])
    index = np.random.default_rng(8).integers(0, 6, (40, 4))
    index = np.vstack([index, [[0, 0, 0, 0], [2, 3, 2, 3], [2, 2, 3, 3], [4, 1, 4, 4]]])
    found = vertex_at(net, sixteen[:6], index)
    assert found.shape == (4, 44)
    for row, layer in zip(found, whole):
        v = layer.vertex[tuple(index.T)]
        np.testing.assert_allclose(row.numpy(), v.numpy(), atol=2e-5 * float(layer.vertex.abs().max()) + 1e-15)


def test_bad_quadruples(network, sixteen):
    net = network(WIDTHS)
    for bad, error in (
        ([[0, 1, 2]], ValueError), ([0, 1, 2, 3], ValueError), ([[0, 1, 2, 16]], ValueError),
        ([[-1, 1, 2, 3]], ValueError), ([[0.5, 1, 2, 3]], TypeError),
    ):  # fmt: skip
        with pytest.raises(error, match="quadruples"):
            vertex_at(net, sixteen, bad)


def test_bad_forms(network, sixteen):
    net = network(WIDTHS)
    with pytest.raises(ValueError, match="A must be symmetric"):
        kernel_fluctuation(net, sixteen, np.triu(np.ones((16, 16))))
    with pytest.raises(ValueError, match="A must have shape"):
        kernel_fluctuation(net, sixteen, np.ones((3, 16)))
    with pytest.raises(ValueError, match="B must be"):
        kernel_fluctuation(net, sixteen, np.eye(16), np.full((16, 16), np.nan))
    for samples in (1, 0, 2.5):
        with pytest.raises(ValueError, match="samples must be"):
            kernel_fluctuation(net, sixteen, np.eye(16), samples=samples)
    with pytest.raises(ValueError, match="up to 64"):
        kernel_fluctuation(net, np.ones((65, 7)), np.eye(65), samples=None)
