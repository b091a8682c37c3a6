"""``sample``: arguments, shapes, saving, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from repflow import blocks
from repflow.activation import as_activation
from repflow.ensemble import Ensemble, sample
from repflow.network import Layer, Network
from repflow.results import load


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).standard_normal((3, 6))


@pytest.fixture(scope="module")
def net():
    sigma = as_activation("tanh")
    return Network(
        (Layer(6, 9, 1.2, 0.1, activation=sigma), Layer(9, 7, 1.2, 0.1, activation=sigma), Layer(7, 2, 1.2, 0.1))
    )


@pytest.fixture(scope="module")
def ensemble(net, x):
    return sample(net, x, 2000, 3)


def test_layers_are_counted_from_one(ensemble):
    assert len(ensemble) == 3
    assert [layer.index for layer in ensemble] == [1, 2, 3]
    assert [(layer.n_in, layer.n_out) for layer in ensemble] == [(6, 9), (9, 7), (7, 2)]
    assert ensemble[3] is ensemble[-1]
    assert ensemble[1] is ensemble[-3]
    for bad in (0, 4, -4):
        with pytest.raises(IndexError, match="layers are 1 to 3"):
            ensemble[bad]
    for bad in ("1", 1.0, True):
        with pytest.raises(TypeError, match="layer"):
            ensemble[bad]


@pytest.mark.parametrize("method", ["weights", "gram"])
def test_first_layer_is_exact(net, x, method):
    layer = sample(net, x, 50, 0, method)[1]
    assert np.allclose(layer.mean_kernel(), 0.1 + 1.2 * x @ x.T / 6, rtol=1e-14, atol=1e-15)
    assert np.array_equal(layer.mean_kernel(), layer.mean_kernel().T)
    assert not layer.kernel_covariance().any()
    assert not layer.stderr("mean_kernel").any()
    assert not layer.stderr("kernel_covariance").any()
    assert not layer.kernel_third_cumulant().any()


def test_shapes_and_symmetry(ensemble):
    layer = ensemble[2]
    shapes = {
        "mean_kernel": (3, 3),
        "kernel_covariance": (3, 3, 3, 3),
        "kernel_third_cumulant": (56,),
        "second_moment": (3, 3),
        "fourth_moment": (3, 3, 3, 3),
        "excess_kurtosis": (3,),
    }
    for name, shape in shapes.items():
        value, stderr = getattr(layer, name)(), layer.stderr(name)
        assert value.shape == stderr.shape == shape, name
        assert value.dtype == stderr.dtype == np.float64
        assert np.isfinite(value).all()
        assert (stderr > 0).all(), name
    covariance, fourth = layer.kernel_covariance(), layer.fourth_moment()
    assert np.array_equal(covariance, covariance.transpose(2, 3, 0, 1))
    assert np.array_equal(covariance, covariance.transpose(1, 0, 2, 3))
    assert np.array_equal(fourth, fourth.transpose(3, 1, 0, 2))
    assert layer.sextuples.shape == (56, 6)
    with pytest.raises(ValueError, match="name must be one of mean_kernel.*got 'kernel'"):
        layer.stderr("kernel")


def test_six_point_statistics_are_chosen(net, x):
    every = sample(net, x, 300, 1)
    some = sample(net, x, 300, 1, six_point=[(2, 1, 0, 0, 2, 2), (0, 0, 0, 0, 0, 0)])
    first = every[3].sextuples.tolist()
    at = first.index([0, 0, 0, 0, 0, 0])
    alike = {"rel_tol": 1e-10, "abs_tol": 1e-18}
    assert math.isclose(some[3].kernel_third_cumulant()[1], every[3].kernel_third_cumulant()[at], **alike)
    other = first.index([0, 0, 1, 2, 2, 2])
    assert math.isclose(some[3].kernel_third_cumulant()[0], every[3].kernel_third_cumulant()[other], **alike)
    none = sample(net, np.random.default_rng(0).standard_normal((5, 6)), 50)
    with pytest.raises(AttributeError, match=r"six_point=\[\(a, b, c, d, e, f\)"):
        none[2].kernel_third_cumulant()
    assert none[2].sextuples.shape == (0, 6)


def test_single_network_has_no_errors(net, x):
    alone = sample(net, x, 1, 2)
    assert alone.networks == 1
    assert np.isfinite(alone[3].mean_kernel()).all()
    assert np.isnan(alone[3].stderr("mean_kernel")).all()
    assert np.isnan(alone[3].kernel_covariance()).all()
    assert np.isnan(alone[3].stderr("second_moment")).all()


def test_inputs_may_be_torch_or_lists(net, x, bits):
    reference = bits(sample(net, x, 40))
    assert bits(sample(net, torch.from_numpy(x), 40)) == reference
    assert bits(sample(net, x.tolist(), 40)) == reference
    assert bits(sample(net, np.asfortranarray(x), 40)) == reference
    assert bits(sample(net, torch.from_numpy(x).requires_grad_(True), 40)) == reference
    assert bits(sample(net, x, 40, device="cpu")) == reference


@pytest.mark.parametrize("method", ["weights", "gram"])
def test_repeated_opposite_and_zero_inputs(network, method):
    x = np.array([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])
    layer = sample(network([2, 8, 8, 3], "tanh"), x, 400, 0, method)[-1]
    mean, covariance = layer.mean_kernel(), layer.kernel_covariance()
    assert np.allclose(mean[0], mean[1], rtol=1e-10, atol=1e-14)
    assert np.allclose(mean[0], -mean[2], rtol=1e-10, atol=1e-14)
    assert not mean[3].any()
    assert np.allclose(covariance[0, 0], covariance[1, 1], rtol=1e-8, atol=1e-14)
    assert np.isnan(layer.excess_kurtosis()[3])
    assert np.isfinite(layer.excess_kurtosis()[:3]).all()


def test_more_inputs_than_features(network):
    x = np.random.default_rng(0).standard_normal((9, 2))
    weights, gram = (sample(network([2, 6, 3], "relu", 2.0), x, 3000, 1, method)[2] for method in ("weights", "gram"))
    error = np.hypot(weights.stderr("mean_kernel"), gram.stderr("mean_kernel"))
    assert np.all(np.abs(weights.mean_kernel() - gram.mean_kernel()) <= 5 * error)


def test_constant_gram_has_no_fluctuation(network):
    layer = sample(network([2, 7, 3], torch.sign, 1.7, 0.3), np.ones((1, 2)), 300, 0)[2]
    assert math.isclose(layer.mean_kernel().item(), 2.0, rel_tol=1e-15)
    assert layer.stderr("mean_kernel").item() == 0.0
    assert layer.kernel_covariance().item() == 0.0
    assert layer.stderr("kernel_covariance").item() == 0.0


def test_histogram_is_the_distribution_of_a_neuron(ensemble):
    first = ensemble[1].histogram()
    assert first.edges.shape == (3, 129)
    assert first.density.shape == (3, 128)
    total = first.counts.sum(axis=1) + first.outside.sum(axis=1)
    assert np.array_equal(total, np.full(3, 2000 * 8))
    mass = (first.density * np.diff(first.edges, axis=1)).sum(axis=1)
    assert np.allclose(mass, 1 - first.outside.sum(axis=1) / total, rtol=1e-12)
    centre = (first.edges[:, 1:] + first.edges[:, :-1]) / 2
    variance = np.diagonal(ensemble[1].mean_kernel())[:, None]
    normal = np.exp(-(centre**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    filled = first.counts > 30
    deviation = (first.density - normal)[filled] / ensemble[1].stderr("histogram")[filled]
    assert np.abs(deviation).max() < 5
    assert np.allclose(first.edges, -first.edges[:, ::-1])


def test_saved_and_loaded_it_is_the_same(ensemble, bits, tmp_path: Path):
    for name in ("run.json", "run.zarr"):
        ensemble.save(tmp_path / name)
        back = load(tmp_path / name)
        assert isinstance(back, Ensemble)
        assert bits(back) == bits(ensemble)
        assert (back.network, back.seed, back.method, back.interrupted) == (ensemble.network, 3, "weights", False)
        assert np.array_equal(back[2].stderr("kernel_covariance"), ensemble[2].stderr("kernel_covariance"))
        assert np.array_equal(back[2].kernel_third_cumulant(), ensemble[2].kernel_third_cumulant())


def test_xarray_and_repr(ensemble):
    dataset = ensemble.to_xarray()
    assert dataset["mean_kernel"].dims == ("layer", "input", "input'")
    assert np.array_equal(dataset["kernel_covariance"].sel(layer=3).values, ensemble[3].kernel_covariance())
    assert np.array_equal(dataset["fourth_moment_stderr"].sel(layer=2).values, ensemble[2].stderr("fourth_moment"))
    assert dataset.attrs["networks"] == 2000
    assert repr(ensemble).startswith("Ensemble(networks=2000, method='weights', seed=3, inputs=3, network=Network(")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"networks": 0}, ValueError, "networks must be 1 or more, got 0"),
        ({"networks": 2.5}, TypeError, "networks must be a whole number"),
        ({"networks": True}, TypeError, "networks"),
        ({"seed": -1}, ValueError, "seed must be 0 or more"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number"),
        ({"method": "grams"}, ValueError, "method must be one of 'weights', 'gram', got 'grams'"),
        ({"method": ["gram"]}, ValueError, "method must be one of"),
        ({"batch_size": 0}, ValueError, "batch_size must be 1 or more"),
        ({"threads": 0}, ValueError, "threads must be 1 or more"),
        ({"device": "abacus"}, ValueError, "device: 'abacus' is not available"),
        ({"x": np.zeros((2, 5))}, ValueError, r"x must have shape \(N, 6\).*got \(2, 5\)"),
        ({"x": np.zeros(6)}, ValueError, r"x must have shape \(N, 6\)"),
        ({"x": np.zeros((0, 6))}, ValueError, "N of 1 or more"),
        ({"x": np.full((1, 6), np.nan)}, ValueError, "x must be finite"),
        ({"x": np.full((1, 6), np.inf)}, ValueError, "x must be finite"),
        ({"x": np.ones((1, 6)) * 1j}, TypeError, "x must be an array of real numbers"),
        ({"x": [["a"] * 6]}, TypeError, "x must be an array of real numbers"),
        ({"x": [[1.0], [1.0, 2.0]]}, TypeError, "x must be an array of real numbers"),
        ({"network": "net"}, TypeError, "network must be a repflow Network, got str"),
        ({"six_point": [(0, 0, 0, 0, 0, 3)]}, ValueError, "six_point must hold sextuples of input numbers 0 to 2"),
        ({"six_point": [(0, 0, 0)]}, ValueError, "six_point"),
        ({"six_point": [0]}, ValueError, "six_point"),
    ],
)
def test_bad_arguments_are_named(net, x, change, error, message):
    arguments = {"network": net, "x": x, "networks": 10, **change}
    with pytest.raises(error, match=message):
        sample(**arguments)


def test_overflow_is_named(network):
    net = network([2, 4, 4, 4, 4, 4, 4, 4, 2], "monomial:3", 1e9)
    for method in ("weights", "gram"):
        with pytest.raises(ValueError, match="preactivations of layer [0-9] overflow float64"):
            sample(net, np.ones((1, 2)) * 1e9, 20, 0, method)


def test_what_does_not_fit_is_refused_before_work(net, monkeypatch):
    monkeypatch.setattr(blocks, "available_memory", lambda: 10**7)
    x = np.random.default_rng(0).standard_normal((40, 6))
    with pytest.raises(
        MemoryError, match=r"sample: the statistics of 40 inputs in 3 layers needs [0-9]+ bytes.*fewer inputs"
    ):
        sample(net, x, 10)


@given(
    x=arrays(
        np.float64, st.tuples(st.integers(1, 5), st.just(6)), elements=st.floats(-1e3, 1e3, allow_subnormal=False)
    ),
    networks=st.integers(2, 40),
    method=st.sampled_from(["weights", "gram"]),
)
def test_any_finite_inputs_give_finite_positive_statistics(net, x, networks, method):
    layer = sample(net, x, networks, 0, method, six_point=[])[-1]
    mean = layer.mean_kernel()
    n = len(x)
    assert np.linalg.eigvalsh(mean).min() >= -1e-12 * max(1.0, np.abs(mean).max())
    flat = layer.kernel_covariance().reshape(n * n, n * n)
    assert np.linalg.eigvalsh(flat).min() >= -1e-10 * max(1e-12, np.abs(flat).max(), np.abs(mean).max() ** 2)
    assert np.isfinite(layer.stderr("kernel_covariance")).all()


@pytest.mark.parametrize("method", ["weights", "gram"])
def test_permuting_the_inputs_permutes_the_ensemble_of_real_networks(net, x, method):
    order = [2, 0, 1]
    straight, permuted = sample(net, x, 500, 1, method)[-1], sample(net, x[order], 500, 1, method)[-1]
    expected = straight.mean_kernel()[np.ix_(order, order)]
    if method == "weights":  # the same weights see the same inputs
        assert np.allclose(permuted.mean_kernel(), expected, rtol=1e-12)
    else:
        error = np.hypot(permuted.stderr("mean_kernel"), straight.stderr("mean_kernel")[np.ix_(order, order)])
        assert np.all(np.abs(permuted.mean_kernel() - expected) <= 5 * error)
