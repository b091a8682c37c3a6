"""Order 2: six-point vertex, next-to-leading vertex, the kernel's second correction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.recursion.polynomial_chain import expansion

import repflow as rf
from repflow.expectation import monomials
from repflow.recursion import flow, memory
from repflow.recursion.expansion import expansion as expansion_to_any_order
from repflow.recursion.neuron import Neuron
from repflow.recursion.pairs import Pairs


def _by_pairs(tensor, pairs, groups):
    """Entries of an (N, ..., N) tensor by pairs."""
    a, b = np.array(pairs).T
    axes = []
    for group in range(groups):
        shape = [1] * groups
        shape[group] = -1
        axes += [a.reshape(shape), b.reshape(shape)]
    return np.asarray(tensor)[tuple(axes)]


def _polynomial(coefficients):
    def sigma(z):
        total = torch.zeros_like(z)
        for coefficient in reversed(coefficients):
            total = total * z + coefficient
        return total

    return sigma


@pytest.mark.parametrize(
    ("coefficients", "inputs", "hidden", "C_b"),
    [
        ((0.0, 1.0, 0.3, -0.1, 0.05), 1, (1, 2, 1, 3), 0.2),
        ((0.1, 0.9, 0.3, -0.1, 0.05), 2, (3, 1, 2), 0.3),
        pytest.param((0.0, 1.0, 0.0, -0.15), 3, (1, 2, 1), 0.0, marks=pytest.mark.slow),
        pytest.param((0.2, 0.8, 0.25, 0.0, 0.04), 3, (2, 1, 3), 0.1, marks=pytest.mark.slow),
    ],
)
def test_every_component_against_brute_force(network, coefficients, inputs, hidden, C_b):
    """A polynomial activation: the 1/n expansion of the chain's moments, enumerated, at unequal widths."""
    x = 0.6 * np.random.default_rng(3).standard_normal((inputs, 4))
    scale = 6
    widths = (4, *(scale * share for share in hidden), 5)
    pairs, expected = expansion(coefficients, x, [1, *hidden, 1], 0.7, C_b)
    found = flow(network(widths, _polynomial(coefficients), 0.7, C_b), x, order=2)
    assert found.error < 1e-7
    for layer, (kernel, mean, cov, third) in zip(found, expected, strict=True):
        np.testing.assert_allclose(layer.kernel, kernel, rtol=1e-12, atol=1e-13)
        share = layer.n_in / scale if layer.index > 1 else 1.0
        for values, groups, coefficient, power in (
            (layer.kernel_correction, 1, mean[..., 1], 1),
            (layer.kernel_correction2, 1, mean[..., 2], 2),
            (layer.vertex, 2, cov[..., 1], 1),
            (layer.vertex_correction, 2, cov[..., 2], 2),
            (layer.sextic, 3, third[..., 2], 2),
        ):
            wanted = coefficient * share**power
            size = max(np.abs(wanted).max(), 1e-12)
            np.testing.assert_allclose(_by_pairs(values, pairs, groups), wanted, rtol=1e-6, atol=1e-8 * size)
        assert not third[..., :2].any() or np.abs(third[..., :2]).max() < 1e-12


@pytest.mark.parametrize("name", ["silu", "relu", "hardtanh"])
def test_two_inputs_against_the_expansion_to_any_order(network, inputs, name):
    """The same numbers from the law of total cumulance and Taylor algebra, written without these formulas."""
    net = network((7, 6, 9, 7, 3), name, 1.4, 0.2)
    found, other = flow(net, inputs[:2], order=2), expansion_to_any_order(net, inputs[:2], 2)
    for layer in found:
        n, terms = layer.n_in, other[layer.index].terms
        for values, wanted in (
            (layer.kernel_correction / n, terms(1)[1]),
            (layer.kernel_correction2 / n**2, terms(1)[2]),
            (layer.vertex / n, terms(2)[1]),
            (layer.vertex_correction / n**2, terms(2)[2]),
            (layer.sextic / n**2, terms(3)[2]),
        ):
            np.testing.assert_allclose(values, wanted, rtol=1e-7, atol=1e-8 * max(float(wanted.abs().max()), 1e-12))


def _times(f, g):
    """Product of two series to second order, along the last axis."""
    return np.stack([sum(f[..., k] * g[..., order - k] for k in range(order + 1)) for order in range(3)], axis=-1)


def test_deep_linear_network(network, inputs):
    """E[G'_ab G'_cd | G] = G_ab G_cd + (G_ac G_bd + G_ad G_bc)/n, and its permutations: exact to all orders of 1/n."""
    found = flow(network((7, 5, 9, 4, 6, 3), "identity", 1.3), inputs, order=2)
    vectors = torch.tensor(np.random.default_rng(5).standard_normal((20, 5)))
    weights = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]])  # of the three pairings, each a series in 1/n
    square = cube = np.array(
        [1.0, 0, 0]
    )  # of one input: E G^2/K^2 = prod (1 + 2/n), E G^3/K^3 = prod (1 + 2/n)(1 + 4/n)
    for layer in found:
        k = 1.3**layer.index * inputs @ inputs.T / 7
        if layer.index > 1:
            n = layer.n_in
            others = weights.sum(0) - weights
            weights = weights + np.pad(others[:, :2] / n, ((0, 0), (1, 0)))
            square = _times(square, np.array([1, 2 / n, 0]))
            cube = _times(cube, np.array([1, 6 / n, 8 / n**2]))
        pairings = [np.einsum(f"{pairing}->abcd", k, k) for pairing in ("ab,cd", "ac,bd", "ad,bc")]
        for order in (1, 2):
            expected = sum(weight[order] * pairing for weight, pairing in zip(weights, pairings))
            got = layer.kernel_covariance(order) - layer.kernel_covariance(order - 1)
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(layer.kernel_correction2, 0, atol=1e-9)
        # The quadratic form of any vector is the Gram matrix of one input.
        form = torch.einsum("va,ab,vb->v", vectors, torch.tensor(k), vectors)
        got = torch.einsum("va,vb,vc,vd,ve,vf,abcdef->v", *[vectors] * 6, layer.third_cumulant())
        np.testing.assert_allclose(got, (cube - 3 * square)[2] * form**3, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "C_W", "moments"), [("relu", 2.0, (6, 60)), ("abs", 1.0, (3, 15))])
def test_one_input_and_a_homogeneous_activation(network, name, C_W, moments):
    """G/K is a product of independent means of n terms y with E y = 1 and known E y^2, E y^3."""
    widths = (5, 12, 20, 9, 30, 3)
    square = cube = np.array([1.0, 0, 0])
    for layer in flow(network(widths, name, C_W), np.full((1, 5), 1.2), order=2):
        if layer.index > 1:
            n, variance = layer.n_in, moments[0] - 1
            third = moments[1] - 3 * moments[0] + 2
            square = _times(square, np.array([1, variance / n, 0]))
            cube = _times(cube, np.array([1, 3 * variance / n, third / n**2]))
        k = float(layer.kernel)
        assert float(layer.kernel_covariance(2)) == pytest.approx(k**2 * (square[1] + square[2]), rel=1e-9, abs=1e-13)
        assert float(layer.third_cumulant()) == pytest.approx(k**3 * (cube - 3 * square)[2], rel=1e-9, abs=1e-12)
        assert float(layer.kernel_correction2) == pytest.approx(0, abs=1e-8)


def test_one_input_of_tanh(network):
    """Five activated layers of width 8; 10^6 chains gave a variance of 0.003715 and a mean of 0.09374(6)."""
    last = flow(network((1, 8, 8, 8, 8, 8, 1), "tanh"), np.ones((1, 1)), order=2)[-1]
    variances = [float(last.kernel_covariance(order)) for order in (1, 2)]
    means = [float(last.mean_kernel(order)) for order in (0, 1, 2)]
    assert variances == pytest.approx([0.004039, 0.003697], abs=5e-7)
    assert means == pytest.approx([0.10344, 0.09346, 0.09373], abs=5e-6)


@pytest.mark.parametrize("name", ["gelu", "relu", "hardtanh"])
def test_inputs_that_repeat_are_collinear_or_zero(network, name):
    """A repeated input's statistics are those of the one that it repeats, and nothing is inverted."""
    x = np.array([[1.0, 0.5, -0.2], [-0.4, 0.8, 0.3], [0.0, 0.0, 0.0]])
    net = network((3, 9, 6, 8, 3), name, 1.5)
    few = flow(net, x, order=2)
    rows = [1, 0, 2, 0, 1]
    many = flow(net, x[rows], order=2)
    for one, other in zip(few, many, strict=True):
        for statistic in ("kernel_correction2", "vertex_correction", "sextic"):
            values = getattr(one, statistic)
            expected = values[np.ix_(*[rows] * values.ndim)]
            size = max(float(values.abs().max()), 1e-12)
            np.testing.assert_allclose(getattr(other, statistic), expected, rtol=1e-6, atol=1e-8 * size)
    if name == "relu":  # x and 2 x: G scales with the product of the factors
        last = flow(net, np.stack([x[0], 2 * x[0], x[1]]), order=2)[-1]
        for index, factor in (((0, 0, 0, 1), 2), ((0, 1, 0, 2), 2), ((1, 1, 1, 1), 16)):
            own = tuple(0 if i == 1 else i for i in index)
            assert float(last.vertex_correction[index]) == pytest.approx(
                factor * float(last.vertex_correction[own]), rel=1e-7
            )
        assert float(last.sextic[1, 1, 1, 2, 0, 1]) == pytest.approx(
            16 * float(last.sextic[0, 0, 0, 2, 0, 0]), rel=1e-7
        )


def test_five_inputs_are_what_any_four_of_them_are_alone(network, inputs):
    """Six different places of four inputs among five: subsets of variables and their private parts don't matter."""
    net = network((7, 6, 9, 4), "gelu", 1.9, 0.1)
    whole, part = flow(net, inputs, order=2)[-1], flow(net, inputs[1:], order=2)[-1]
    for statistic in ("kernel_correction2", "vertex_correction", "sextic"):
        values = getattr(whole, statistic)
        inner = values[tuple([slice(1, None)] * values.ndim)]
        np.testing.assert_allclose(inner, getattr(part, statistic), rtol=1e-6, atol=1e-8 * float(values.abs().max()))


def test_symmetries(network, inputs):
    net = network((7, 6, 9, 4), "tanh", 1.2, 0.1)
    last = flow(net, inputs[:3], order=2)[-1]
    X = last.sextic
    for axes in ((1, 0, 2, 3, 4, 5), (2, 3, 0, 1, 4, 5), (0, 1, 4, 5, 2, 3), (0, 1, 2, 3, 5, 4)):
        assert torch.equal(X.permute(axes), X)
    assert torch.equal(last.vertex_correction.permute(2, 3, 0, 1), last.vertex_correction)
    turned = flow(net, inputs[[2, 0, 1]], order=2)[-1]
    np.testing.assert_allclose(turned.sextic, X[np.ix_(*[[2, 0, 1]] * 6)], rtol=1e-7, atol=1e-9)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((7, 7)))[0]
    rotated = flow(net, inputs[:3] @ rotation, order=2)[-1]
    np.testing.assert_allclose(rotated.vertex_correction, last.vertex_correction, rtol=1e-7, atol=1e-9)


def test_order_1_is_part_of_order_2(network, inputs):
    net = network((7, 6, 9, 4), "gelu", 1.9, 0.1)
    one, two = flow(net, inputs[:3], tangent=True), flow(net, inputs[:3], order=2, tangent=True)
    assert (one.order, two.order) == (1, 2)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b.vertex, a.vertex, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(b.kernel_correction, a.kernel_correction, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(b.D, a.D, rtol=1e-7, atol=1e-8)
        assert torch.equal(b.mean_ntk(), b.mean_ntk(order=1))
    assert "kernel_third_cumulant" in two[-1].statistics
    assert "kernel_third_cumulant" not in one[-1].statistics
    with pytest.raises(ValueError, match="0 or 1 for the tangent kernel"):
        two[-1].mean_ntk(order=2)


def test_widths_are_put_in(network, inputs):
    last = flow(network((7, 6, 9, 4), "gelu", 1.9, 0.1), inputs[:2], order=2)[-1]
    first, second = last.kernel_correction / 9, last.kernel_correction2 / 81
    assert torch.equal(last.mean_kernel(), last.kernel + first + second)
    assert torch.equal(last.mean_kernel(order=1), last.kernel + first)
    assert torch.equal(last.kernel_covariance(), last.vertex / 9 + last.vertex_correction / 81)
    assert torch.equal(last.third_cumulant(), last.sextic / 81)
    assert torch.equal(last.statistic("kernel_third_cumulant", order=2), last.sextic / 81)
    for order in (0, 1):
        assert not last.third_cumulant(order).any()
        assert not last.own_third_cumulant(order).any()
    own = torch.einsum("aaaaaa->a", last.third_cumulant())
    torch.testing.assert_close(last.own_third_cumulant(), own)
    # E[z^4]/E[z^2]^2 - 3 = 3 Var G/(E G)^2, and what the expansion leaves is of third order in 1/n.
    variance, mean = torch.einsum("aaaa->a", last.kernel_covariance()), last.mean_kernel().diagonal()
    whole = 3 * variance / mean**2
    assert float((whole - last.excess_kurtosis()).abs().max()) < float((whole - last.excess_kurtosis(1)).abs().max())


def test_excess_kurtosis_is_expanded(network, inputs):
    """What its two orders leave of 3 Var G/(E G)^2 falls as n^-3."""
    left = []
    for n in (100, 200):
        last = flow(network((7, n, n, 4), "gelu", 1.9, 0.1), inputs[:1], order=2)[-1]
        whole = 3 * float(last.kernel_covariance()) / float(last.mean_kernel()) ** 2
        left.append(abs(whole - float(last.excess_kurtosis())))
    assert 7.0 < left[0] / left[1] < 9.0


def test_what_is_refused(network, inputs, monkeypatch):
    with pytest.raises(ValueError, match="order must be 0 or 1 for 'perceptron': it jumps"):
        flow(network((7, 6, 4), "perceptron"), inputs, order=2)
    last = flow(network((7, 6, 4)), inputs)[-1]
    for name in ("sextic", "vertex_correction", "kernel_correction2"):
        with pytest.raises(AttributeError, match="order=2"):
            getattr(last, name)
    with pytest.raises(AttributeError, match="order=2"):
        last.mean_kernel(order=2)
    monkeypatch.setattr(memory, "available_bytes", lambda: 200_000)
    flow(network((7, 6, 4)), inputs[:2], order=2)
    with pytest.raises(
        MemoryError, match=r"order=2 for 5 inputs and 2 layers needs .* bytes.*fewer inputs.*N\^6.*order=1"
    ):
        flow(network((7, 6, 4)), inputs, order=2)


@pytest.mark.parametrize("suffix", [".json", ""])
def test_saving_and_loading_keeps_every_bit(network, inputs, tmp_path, suffix):
    found = flow(network((7, 6, 9, 4), "gelu", 1.9, 0.1), inputs[:2], order=2)
    found.save(tmp_path / f"flow{suffix}")
    again = rf.load(tmp_path / f"flow{suffix}")
    assert again.order == 2
    for a, b in zip(again, found, strict=True):
        for name in ("sextic", "vertex_correction", "kernel_correction2", "vertex"):
            assert torch.equal(getattr(a, name), getattr(b, name))
    data = found.to_xarray()
    assert data["sextic"].dims == ("layer", "a", "b", "c", "d", "e", "f")
    np.testing.assert_array_equal(data["kernel_correction2"].sel(layer=2).values, found[2].kernel_correction2.numpy())


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_earlier_versions_are_read(network, inputs, version):
    """Version 2 added the second order, version 3 any order for one or two inputs; all else is as it was."""
    found = flow(network((7, 6, 4)), inputs[:2])
    text = found.to_json()
    assert '"version": 3' in text
    again = type(found).from_json(text.replace('"version": 3', f'"version": {version}'))
    assert torch.equal(again[-1].vertex, found[-1].vertex)
    with pytest.raises(ValueError, match="newer"):
        type(found).from_json(text.replace('"version": 3', '"version": 4'))


def test_sampling_takes_over_where_nodes_would_be_too_many_and_says_how_good_it_is(network, inputs, monkeypatch):
    net = network((7, 6, 9, 4), "gelu", 1.9, 0.1)
    exact = flow(net, inputs[:3], order=2)
    monkeypatch.setattr(monomials, "_MOST_NODES", 300)
    monkeypatch.setattr(monomials, "_SOBOL", 12)
    with pytest.warns(UserWarning, match="uncertain"):
        rough = flow(net, inputs[:3], order=2)
    assert 1e-4 < rough.error < 0.1
    difference = (rough[-1].sextic - exact[-1].sextic).abs().max()
    assert float(difference) < 2 * rough.error * float(exact[-1].sextic.abs().max())


@pytest.mark.slow
def test_seven_inputs(network):
    """More than six inputs: 7 subsets of six, against six and three of the same inputs alone."""
    x = 1.5 + np.random.default_rng(2).standard_normal((7, 9))
    net = network((9, 6, 5, 4), "relu", 2.0)
    whole = flow(net, x, order=2)
    assert whole.error < 1e-6
    for rows in ([1, 2, 3, 4, 5, 6], [6, 1, 0]):
        part = flow(net, x[rows], order=2)[-1]
        # G2 takes derivatives of the kernel map up to the fourth, which are large at a kink: 2e-8 of V1 become 2e-5 of it.
        for statistic, accuracy in (("sextic", 1e-6), ("vertex_correction", 1e-6), ("kernel_correction2", 1e-4)):
            inner = getattr(whole[-1], statistic)
            inner = inner[np.ix_(*[rows] * inner.ndim)]
            size = float(inner.abs().max())
            np.testing.assert_allclose(inner, getattr(part, statistic), rtol=1e-5, atol=accuracy * size)


@pytest.mark.slow
def test_six_inputs_in_few_dimensions_are_integrated_or_said_to_be_uncertain():
    """Six independent directions among nine dimensions, one of them weak: the hardest kind for kinks."""
    x = np.random.default_rng(2).standard_normal((6, 9))
    kernel = torch.tensor(2 * x @ x.T / 9)
    neuron = Neuron(rf.as_activation("relu"), kernel, Pairs(6, kernel.device))
    moments = neuron.sixth()
    assert neuron.error < 1e-4
    # relu(z) relu(-z) = 0 and relu(z)^6 has half the moment of z^6: 15 K^3/2.
    own = neuron.index(*[torch.arange(6)] * 6)
    np.testing.assert_allclose(moments[own], 7.5 * kernel.diagonal() ** 3, rtol=10 * neuron.error)
