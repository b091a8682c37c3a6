"""What must hold for every network and data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from repflow.recursion import flow, vertex_at

NAMES = ("tanh", "gelu", "relu", "sin", "hardtanh")
problems = st.tuples(st.integers(0, 10_000), st.integers(1, 3), st.integers(2, 5), st.sampled_from(NAMES))


def _draw(seed, n, n_0, scale=1.0):
    return scale * np.random.default_rng(seed).standard_normal((n, n_0))


def _close(found, expected, rtol=1e-6):
    """Near, on the scale of the tensor's largest entry; 1e-10 is the rounding of a tensor that vanishes."""
    scale = float(expected.abs().max()) + 1e-10 / rtol
    np.testing.assert_allclose((found / scale).numpy(), (expected / scale).numpy(), atol=rtol)


def _compare(found, expected, index=slice(None), rtol=1e-6):
    """Layer by layer, the second flow's inputs relabelled by ``index``."""
    for a, b in zip(found, expected):
        square = np.ix_(index, index) if not isinstance(index, slice) else (index, index)
        fourth = np.ix_(index, index, index, index) if not isinstance(index, slice) else (index,) * 4
        _close(a.kernel, b.kernel[square], rtol)
        _close(a.kernel_correction, b.kernel_correction[square], rtol)
        _close(a.vertex, b.vertex[fourth], rtol)
        if a._ntk is not None:
            _close(a.ntk, b.ntk[square], rtol)


@settings(max_examples=12)
@given(problems, st.randoms(use_true_random=False))
def test_permuting_inputs_permutes_results(network, problem, random):
    seed, n, n_0, name = problem
    x = _draw(seed, n + 1, n_0)
    order = list(range(n + 1))
    random.shuffle(order)
    net = network((n_0, 6, 9, 4), name, 1.4, 0.1)
    _compare(flow(net, x[order], tangent=True), flow(net, x, tangent=True), order, 1e-4 if name == "hardtanh" else 1e-5)


@settings(max_examples=12)
@given(problems)
def test_repeated_inputs_give_repeated_rows(network, problem):
    seed, n, n_0, name = problem
    x = _draw(seed, n, n_0)
    index = [*range(n), 0]
    net = network((n_0, 6, 9, 4), name, 1.4, 0.1)
    _compare(flow(net, x[index], tangent=True), flow(net, x, tangent=True), index, 1e-4 if name == "hardtanh" else 1e-5)


@settings(max_examples=12)
@given(problems)
def test_rotating_inputs_changes_nothing(network, problem):
    seed, n, n_0, name = problem
    x = _draw(seed, n, n_0)
    rotation, _ = np.linalg.qr(_draw(seed + 1, n_0, n_0))
    net = network((n_0, 6, 9, 4), name, 1.4, 0.1)
    _compare(flow(net, x @ rotation, tangent=True), flow(net, x, tangent=True), rtol=1e-7)


@settings(max_examples=12)
@given(problems, st.floats(0.2, 5.0))
def test_scaling_C_W_of_homogeneous_activations(network, problem, factor):
    """K and G1 scale as factor^l, V as factor^(2l); so do all but the widths' powers."""
    seed, n, n_0, _ = problem
    x = _draw(seed, n, n_0)
    for name in ("relu", "identity", "leaky_relu:0.3"):
        found = flow(network((n_0, 6, 9, 4), name, 1.1 * factor), x)
        base = flow(network((n_0, 6, 9, 4), name, 1.1), x)
        for a, b in zip(found, base):
            _close(a.kernel, factor**a.index * b.kernel)
            _close(a.vertex, factor ** (2 * a.index) * b.vertex)
            _close(a.kernel_correction, factor**a.index * b.kernel_correction, 1e-5)


@settings(max_examples=12)
@given(problems, st.floats(0.3, 3.0))
def test_scaling_inputs_of_homogeneous_activations(network, problem, factor):
    seed, n, n_0, _ = problem
    x = _draw(seed, n, n_0)
    net = network((n_0, 6, 9, 4), "relu", 2.0)
    for a, b in zip(flow(net, factor * x), flow(net, x)):
        _close(a.kernel, factor**2 * b.kernel)
        _close(a.vertex, factor**4 * b.vertex)


@settings(max_examples=10)
@given(problems, st.integers(2, 7))
def test_multiplying_all_hidden_widths(network, problem, factor):
    """V and G1 depend on ratios of hidden widths only: n' multiplies both fluctuation and its normalisation."""
    seed, n, n_0, name = problem
    x = _draw(seed, n, n_0)
    found = flow(network((n_0, 6 * factor, 9 * factor, 5 * factor, 4), name, 1.4, 0.1), x)
    base = flow(network((n_0, 6, 9, 5, 4), name, 1.4, 0.1), x)
    _compare(found, base, rtol=1e-10)
    for a, b in zip(list(found)[1:], list(base)[1:]):
        _close(factor * a.kernel_covariance(), b.kernel_covariance(), 1e-10)


@settings(max_examples=10)
@given(problems)
def test_the_vertex_is_symmetric_and_a_covariance(network, problem):
    seed, n, n_0, name = problem
    x = _draw(seed, n, n_0)
    for layer in flow(network((n_0, 6, 9, 4), name, 1.4, 0.1), x):
        v = layer.vertex
        assert torch.equal(v, v.permute(1, 0, 2, 3))
        assert torch.equal(v, v.permute(0, 1, 3, 2))
        _close(v, v.permute(2, 3, 0, 1), 1e-12)
        a, b = np.triu_indices(n)
        matrix = v.numpy()[a, b][:, a, b]
        lowest = np.linalg.eigvalsh(0.5 * (matrix + matrix.T)).min()
        assert lowest >= -1e-5 * np.abs(matrix).max()


@settings(max_examples=8)
@given(problems)
def test_vertex_at_is_the_full_vertex(network, problem):
    seed, n, n_0, name = problem
    x = _draw(seed, n, n_0)
    net = network((n_0, 6, 9, 4), name, 1.4, 0.1)
    index = np.stack(np.meshgrid(*[np.arange(n)] * 4, indexing="ij"), -1).reshape(-1, 4)
    chosen = vertex_at(net, x, index)
    for row, layer in zip(chosen, flow(net, x)):
        _close(row.reshape(n, n, n, n), layer.vertex, 1e-4 if name == "hardtanh" else 1e-6)


@settings(max_examples=10)
@given(problems)
def test_order_0_is_the_kernel_of_order_1(network, problem):
    seed, n, n_0, name = problem
    x = _draw(seed, n, n_0)
    net = network((n_0, 6, 9, 4), name, 1.4, 0.1)
    for a, b in zip(flow(net, x, order=0, tangent=True), flow(net, x)):
        _close(a.kernel, b.kernel, 1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_awkward_inputs_together(network, name):
    """Zero, repeated, anti-parallel, nearly repeated and more inputs than dimensions: finite, and symmetric where
    inputs are."""
    x = np.array([[1.0, 0.5], [1.0, 0.5], [-1.0, -0.5], [0, 0], [1.0 + 1e-7, 0.5], [0.3, -2.0]])
    found = flow(network((2, 6, 9, 4), name, 1.4), x, tangent=True)
    for layer in found:
        for tensor in (layer.kernel, layer.vertex, layer.kernel_correction, layer.ntk):
            assert bool(torch.isfinite(tensor).all())
    last = found[-1]
    _close(last.vertex[0, 5, 1, 5], last.vertex[0, 5, 0, 5], 1e-5)
    _close(last.vertex[0, 5, 4, 5], last.vertex[0, 5, 0, 5], 1e-4)
    _close(last.kernel_correction[0, 5], last.kernel_correction[1, 5], 1e-6)
    assert float(last.vertex[3, 3].abs().max()) < 1e-14
    sign = 1.0 if name in ("tanh", "sin", "hardtanh") else None
    if sign is not None:
        _close(last.kernel[2], -last.kernel[0], 1e-9)
        _close(last.vertex[2, 5, 0, 5], -last.vertex[0, 5, 0, 5], 1e-5)


def test_nearby_inputs_are_continuous(network):
    """A nearly repeated input moves nothing by more than its distance: no jump at the thresholds between methods."""
    base = np.array([[1.0, 0.4, -0.2], [0.3, -1.1, 0.8]])
    for name in ("hardtanh", "elu:0.5", "gelu"):
        net = network((3, 6, 9, 4), name, 1.4, 0.05)
        exact = flow(net, np.vstack([base, base[0]]))[-1]
        for distance in (1e-3, 1e-6, 1e-9):
            near = flow(net, np.vstack([base, base[0] + distance * base[1]]))[-1]
            _close(near.kernel, exact.kernel, 5 * distance + 1e-8)
            _close(near.vertex, exact.vertex, 20 * distance + 3e-4 * (name == "hardtanh") + 2e-5)
            _close(near.kernel_correction, exact.kernel_correction, 30 * distance**0.5 + 2e-5)
