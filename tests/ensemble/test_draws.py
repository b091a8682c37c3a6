"""The matrices of each network, against the averages of the same networks."""

import numpy as np
import pytest
import torch

import repflow as rf
from repflow.ensemble import gram_draws

X = np.random.default_rng(0).standard_normal((3, 5))
NET = rf.mlp([5, 6, 7, 2], activation="tanh", C_W=1.5, C_b=0.1)


def test_the_networks_are_those_of_sample():
    drawn = gram_draws(NET, X, networks=2500, seed=4, layers=[1, 2, -1])
    measured = rf.sample(NET, X, networks=2500, seed=4, method="gram")
    assert drawn.shape == (3, 2500, 3, 3)
    for place, layer in enumerate((1, 2, 3)):
        np.testing.assert_allclose(drawn[place].mean(axis=0), measured[layer].mean_kernel(), rtol=1e-12, atol=1e-14)
    pairs = drawn[-1][:, *np.triu_indices(3)]
    covariance = measured[3].kernel_covariance()[*np.triu_indices(3)][:, *np.triu_indices(3)]
    np.testing.assert_allclose(np.cov(pairs.T), covariance, rtol=1e-9, atol=1e-12)


def test_bits_do_not_depend_on_threads():
    one, two = (gram_draws(NET, torch.tensor(X), networks=3000, seed=1, threads=k) for k in (1, 2))
    assert np.array_equal(one, two)
    assert one.shape == (1, 3000, 3, 3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"networks": 0}, ValueError, "networks"),
        ({"layers": [0]}, ValueError, "layers must be 1 to 3"),
        ({"layers": [4]}, ValueError, "layers must be 1 to 3"),
        ({"layers": []}, ValueError, "one number or more"),
        ({"layers": [1.0]}, TypeError, "whole numbers"),
        ({"seed": -1}, ValueError, "seed"),
        ({"x": X[:, :4]}, ValueError, "shape"),
        ({"network": "net"}, TypeError, "network"),
    ],
)
def test_refusals(change, error, message):
    with pytest.raises(error, match=message):
        gram_draws(**{"network": NET, "x": X, "networks": 10, **change})


def test_what_does_not_fit_is_refused():
    with pytest.raises(MemoryError, match="fewer networks"):
        gram_draws(NET, X, networks=10**13)
