"""The tangent kernel at order 1/n: exact cases, symmetries, invariances and what the result says of itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import repflow as rf
from repflow.recursion import flow
from repflow.recursion.layer import DIFFERENTIAL_NAMES, FLUCTUATION_NAMES

NAMES = FLUCTUATION_NAMES + DIFFERENTIAL_NAMES
# Permutations of axes that leave a tensor as it is, by its definition (see FlowLayer).
SYMMETRIES = {
    "A": [(1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)],
    "B": [(2, 3, 0, 1), (1, 0, 3, 2)],
    "D": [(1, 0, 2, 3), (0, 1, 3, 2)],
    "F": [(2, 3, 0, 1)],
    "P": [(0, 2, 1, 3)],
    "Q": [],
    "R": [(0, 1, 3, 2)],
    "S": [(1, 0, 3, 2)],
    "T": [(2, 3, 0, 1)],
    "U": [(2, 3, 0, 1)],
}
WIDTHS = (4, 8, 5, 7, 2)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(5).standard_normal((3, 4))


@pytest.fixture(scope="module")
def layers(network, x):
    return flow(network(WIDTHS, "tanh", 1.4, 0.1, 1.2, 0.6), x, order=1, tangent=True)


def _largest(tensor):
    return float(tensor.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_symmetries(layers, name):
    for layer in list(layers)[1:]:
        tensor = getattr(layer, name)
        for axes in SYMMETRIES[name]:
            assert _largest(tensor - tensor.permute(axes)) < 1e-8 * _largest(tensor)


@pytest.mark.parametrize("name", NAMES)
def test_layer_one_is_linear_in_its_parameters(layers, name):
    assert not getattr(layers[1], name).any()
    assert not layers[1].ntk_correction.any()
    # H of layer 2 is a sum over neurons of layer 1, each with its own weights: no term reaches its mean
    assert not layers[2].ntk_correction.any()
    assert _largest(getattr(layers[2], name)) > 0.0


def test_two_layers_of_a_linear_network(network):
    """z = W2 W1 x: H_ij = d_ij lambda |h|^2/n + (W2 W2^T)_ij lambda |x|^2/n_0, of which every tensor is a moment."""
    C_W, lambda_W = 1.3, 0.8
    x = np.array([[1.0, -2.0, 0.5]])
    K = C_W * float((x * x).sum()) / 3
    theta = lambda_W * float((x * x).sum()) / 3
    out = flow(network((3, 6, 4), "identity", C_W, 0.0, lambda_W, 0.0), x, tangent=True)[-1]
    expected = {
        "A": 2 * lambda_W**2 * K**2,
        "B": C_W**2 * theta**2,
        "D": 2 * C_W * lambda_W * K**2,
        "F": C_W**2 * K * theta,
        "P": 0.0,
        "Q": C_W * lambda_W * K * theta,
        "R": 0.0,
        "S": C_W * lambda_W * theta**2,
        "T": lambda_W**2 * K * theta,
        "U": 0.0,
    }
    for name, value in expected.items():
        assert float(getattr(out, name)) == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_order_zero_of_the_tangent_kernel_is_the_same(network, x, layers):
    for one, other in zip(layers, flow(network(WIDTHS, "tanh", 1.4, 0.1, 1.2, 0.6), x, order=0, tangent=True)):
        np.testing.assert_allclose(one.ntk, other.ntk, rtol=1e-10)
        np.testing.assert_allclose(one.kernel, other.kernel, rtol=1e-10)


def test_forward_statistics_do_not_depend_on_the_tangent_kernel(network, x, layers):
    for one, other in zip(layers, flow(network(WIDTHS, "tanh", 1.4, 0.1, 1.2, 0.6), x, order=1)):
        np.testing.assert_allclose(one.vertex, other.vertex, atol=1e-7)
        np.testing.assert_allclose(one.kernel_correction, other.kernel_correction, atol=1e-7)


@settings(max_examples=6)
@given(st.integers(0, 1000), st.sampled_from(["tanh", "gelu", "relu"]), st.permutations(range(3)))
def test_permuted_and_repeated_inputs(network, seed, name, order):
    x = np.random.default_rng(seed).standard_normal((3, 3))
    net = network((3, 6, 9, 2), name, 1.4, 0.1)
    reference = flow(net, x, tangent=True)[-1]
    index = [*order, 0]
    found = flow(net, x[index], tangent=True)[-1]
    for statistic in found.statistics[2:]:
        expected = reference.statistic(statistic)
        expected = expected[np.ix_(*[index] * expected.ndim)]
        np.testing.assert_allclose(
            found.statistic(statistic), expected, atol=1e-6 * _largest(expected) + 1e-12, err_msg=statistic
        )


def test_rotated_inputs_and_scaled_rates(network, x):
    """Every derivative brings one factor of the rates: A, B scale as lambda^2, D, F as lambda, P, Q as lambda^2, R..U as
    lambda^3.
    """
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    one = flow(network(WIDTHS, "gelu", 1.9, 0.1, 1.0, 0.5), x, tangent=True)[-1]
    other = flow(network(WIDTHS, "gelu", 1.9, 0.1, 3.0, 1.5), x @ rotation, tangent=True)[-1]
    power = dict(zip(NAMES, (2, 2, 1, 1, 2, 2, 3, 3, 3, 3), strict=True))
    for name in NAMES:
        expected = 3.0 ** power[name] * getattr(one, name)
        np.testing.assert_allclose(getattr(other, name), expected, atol=1e-7 * _largest(expected))
    np.testing.assert_allclose(other.ntk_correction, 3.0 * one.ntk_correction, atol=1e-7)


def test_widths_enter_by_their_ratios(network, x):
    one = flow(network((4, 8, 5, 7, 2), "tanh", 1.4), x, tangent=True)[-1]
    other = flow(network((4, 80, 50, 70, 2), "tanh", 1.4), x, tangent=True)[-1]
    for name in NAMES:
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-12)
        np.testing.assert_allclose(other.statistic(name) * 70, one.statistic(name) * 7, rtol=1e-12)


def test_inputs_may_be_zero_or_collinear(network):
    x = np.array([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0], [-1.0, -2.0]])
    for name in ("tanh", "gelu", "relu"):
        for layer in flow(network((2, 6, 6, 2), name, 1.4, 0.0, 1.0, 0.3), x, tangent=True):
            for statistic in layer.statistics:
                assert bool(torch.isfinite(layer.statistic(statistic)).all())


def test_statistics_by_name(layers):
    out = layers[-1]
    assert out.statistics == ("mean_kernel", "kernel_covariance", "mean_ntk", *NAMES)
    np.testing.assert_array_equal(out.statistic("mean_ntk"), out.ntk + out.ntk_correction / 7)
    np.testing.assert_array_equal(out.statistic("mean_ntk", order=0), out.ntk)
    np.testing.assert_array_equal(out.statistic("B"), out.B / 7)
    assert not out.statistic("T", order=0).any()
    with pytest.raises(ValueError, match="name must be one of mean_kernel"):
        out.statistic("G")


def test_a_kink_leaves_the_differentials_out(network, x):
    net = network(WIDTHS, "relu", 2.0)
    found = flow(net, x, tangent=True)
    assert not found.differentials
    assert found[-1].statistics[-1] == "F"
    with pytest.raises(AttributeError, match="P was not computed.*differentials=True.*smooth"):
        _ = found[-1].P
    with pytest.raises(ValueError, match="differentials must be False or None for 'relu'"):
        flow(net, x, tangent=True, differentials=True)


def test_an_activation_that_jumps_has_no_fluctuations(network, x):
    net = network(WIDTHS, "perceptron", 2.0)
    with pytest.raises(ValueError, match="tangent=True needs order=0 for 'perceptron'"):
        flow(net, x, tangent=True)
    assert flow(net, x, order=0, tangent=True).tangent


def test_what_is_asked_for(network, x):
    net = network(WIDTHS)
    found = flow(net, x, tangent=True, differentials=False)
    assert found[-1].statistics[-1] == "F"
    with pytest.raises(ValueError, match="differentials=True needs order=1 or 2 and tangent=True"):
        flow(net, x, differentials=True)
    with pytest.raises(TypeError, match="differentials must be True, False or None"):
        flow(net, x, tangent=True, differentials=1)
    with pytest.raises(AttributeError, match=r"A was not computed; call flow\(network, x, order=1, tangent=True\)"):
        _ = flow(net, x, order=0, tangent=True)[-1].A
    with pytest.raises(AttributeError, match="ntk_correction was not computed"):
        _ = flow(net, x)[-1].ntk_correction
    with pytest.raises(MemoryError, match="tangent=True for 900 inputs"):
        flow(net, np.zeros((900, 4)), tangent=True, differentials=False)


def test_saved_and_loaded(layers, tmp_path):
    for path in (tmp_path / "flow.zarr", tmp_path / "flow.json"):
        layers.save(path)
        again = rf.load(path)
        for one, other in itertools.product(layers, again):
            if one.index == other.index:
                for name in one.statistics:
                    assert torch.equal(one.statistic(name), other.statistic(name))
    data = layers.to_xarray()
    assert data["T"].dims == ("layer", "a", "b", "c", "d")
    np.testing.assert_array_equal(data["P"][-1], layers[-1].P)
