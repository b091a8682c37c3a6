"""The distribution of a flow's layer against the networks themselves: densities, and one step of the flow."""

import numpy as np
import pytest
import torch
from scipy import stats

import repflow as rf
from repflow.ensemble import gram_draws

X = np.random.default_rng(5).standard_normal((2, 6))


def network(width, activation="tanh", depth=4):
    return rf.mlp([6, *[width] * (depth - 1), 2], activation=activation, C_W=1.3, C_b=0.1)


def density_of(gram, z):
    """The mean over networks of the Gaussian density at points z (M, N): shape (M,), and its standard error."""
    inverse = np.linalg.inv(gram)
    norm = 1 / (2 * np.pi * np.sqrt(np.linalg.det(gram)))
    each = np.stack([norm * np.exp(-0.5 * np.einsum("gij,i,j->g", inverse, p, p)) for p in z])
    return each.mean(axis=1), each.std(axis=1) / np.sqrt(len(gram))


def test_orders_of_the_density_improve():
    # Points of a standard deviation and a half at most: each order leaves less, and less by its power of 1/n.
    z = 0.7 * np.random.default_rng(0).standard_normal((12, 2))
    left = {}
    for width in (16, 32):
        net = network(width)
        flow = rf.flow(net, X, order=2)
        found = flow[-1].distribution()
        points = z @ np.linalg.cholesky(found.cumulants.kernel.numpy()).T
        exact, error = density_of(gram_draws(net, X, networks=100_000, seed=3, progress=False)[0], points)
        for order in (0, 1, 2):
            relative = found.density(points[:, None, :], order).numpy() / exact - 1
            left[width, order] = np.abs(relative).max()
        assert left[width, 1] < 0.5 * left[width, 0]
        assert left[width, 2] < 0.5 * left[width, 1] + 5 * (error / exact).max()
    assert left[16, 0] / left[32, 0] == pytest.approx(2, rel=0.25)
    assert left[16, 1] / left[32, 1] == pytest.approx(4, rel=0.5)


@pytest.mark.slow
def test_integrating_a_layer_out_gives_the_next():
    """The RG step: z^(l+1) given z^(l) is Gaussian, and its mean over layer l's own draws is the next layer's density.

    Point by point within errors at order 2, beyond them at orders 0 and 1.
    """
    width, networks, block = 48, 200_000, 20_000
    net = network(width)
    flow = rf.flow(net, X, order=2)
    rng = np.random.default_rng(1)
    joint = gram_draws(net, X, networks=networks, seed=7, layers=[3], progress=False)[
        0
    ]  # layer 3 of 4, all its neurons
    following = np.empty_like(joint)
    for first in range(0, networks, block):
        rows = slice(first, first + block)
        z = np.einsum("gij,gnj->gni", np.linalg.cholesky(joint[rows]), rng.standard_normal((block, width, 2)))
        s = np.tanh(z)
        following[rows] = 0.1 + 1.3 / width * np.einsum("gni,gnj->gij", s, s)
    found = flow[4].distribution()
    points = rng.standard_normal((10, 2)) @ np.linalg.cholesky(found.cumulants.kernel.numpy()).T
    exact, error = density_of(following, points)
    apart = [np.abs((found.density(points[:, None, :], k).numpy() - exact) / error).max() for k in (0, 1, 2)]
    assert apart[2] < 5
    assert apart[1] > 8
    assert apart[0] > 50
    # Skipping the step, with layer 3's own density, misses it.
    assert np.abs((flow[3].distribution().density(points[:, None, :]).numpy() - exact) / error).max() > 20


@pytest.mark.slow
def test_histogram_of_outputs_tells_the_orders_apart():
    """Chi-square of 40 bins: order 0 is rejected, order 2 is not."""
    width, networks = 6, 2_000_000
    net = network(width, depth=6)
    gram = gram_draws(net, X[:1], networks=networks, seed=11, progress=False)[0][:, 0, 0]
    z = np.sqrt(gram) * np.random.default_rng(2).standard_normal(networks)
    found = rf.flow(net, X[:1], order=2)[-1].distribution()
    edges = np.concatenate([[-np.inf], np.linspace(-3, 3, 39) * z.std(), [np.inf]])
    counts = np.histogram(z, edges)[0]
    fine = np.linspace(-12, 12, 48_001) * z.std()
    p_values = []
    for order in (0, 1, 2):
        p = found.density(fine[:, None, None], order).numpy()
        cdf = np.concatenate([[0.0], np.cumsum(0.5 * (p[1:] + p[:-1]) * np.diff(fine))])
        share = np.diff(np.interp(edges, fine, cdf / cdf[-1], left=0.0, right=1.0))
        p_values.append(stats.chisquare(counts, networks * share).pvalue)
    assert p_values[0] < 1e-10
    assert p_values[1] < 1e-3
    assert p_values[2] > 1e-3


def test_first_layer_is_gaussian_and_orders_follow_the_flow():
    net = network(8)
    flow = rf.flow(net, X, order=1)
    first = flow[1].distribution(neurons=3)
    z = torch.tensor(np.random.default_rng(0).standard_normal((4, 3, 2)))
    torch.testing.assert_close(first.log_density(z, 1), first.log_density(z, 0))
    assert [rf.flow(net, X, order=k)[-1].distribution().order for k in (0, 1)] == [0, 1]
    second = flow[3].distribution(2).moment([0, 0], [0, 1])
    assert second == pytest.approx(float(flow[3].mean_kernel()[0, 1]))


@pytest.mark.parametrize("neurons", [0, 3, True, 1.0])
def test_refusals(neurons):
    with pytest.raises(ValueError, match="neurons must be a whole number from 1 to 2"):
        rf.flow(network(8), X, order=1)[-1].distribution(neurons)
