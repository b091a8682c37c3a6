"""Streaming statistics against the same numbers from all networks at once, and against each other."""

from __future__ import annotations

import numpy as np
import pytest

from repflow.ensemble import sample
from repflow.ensemble.accumulator import Accumulator, BlockSums
from repflow.ensemble.features import BlockRecord, moment_neurons
from repflow.ensemble.layout import Layout, all_sextuples, count_components
from repflow.ensemble.statistics import ESTIMATES, LayerSums, assemble


@pytest.fixture(scope="module")
def many():
    """G, shape (M, N, N), and z, shape (M, N, 6), of 500 made-up networks with skewed G far from the centre."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 2, 5)) + 1.0
    gram = rows @ rows.transpose(0, 2, 1) / 5
    z = np.linalg.cholesky(gram) @ rng.standard_normal((500, 2, 6))
    return gram, z


@pytest.fixture(scope="module")
def streamed(many):
    gram, z = many
    layout = Layout(2, all_sextuples(2))
    centre = np.array([[1.5, 1.0, 1.7]])
    accumulator = Accumulator(16)
    for start in range(0, 500, 64):
        stop = min(start + 64, 500)
        record = BlockRecord(layout, centre, np.ones((1, 2)), (6,), stop - start)
        record.add(0, 0, gram[start : start + 20], z[start : start + 20])
        record.add(0, 20, gram[start + 20 : stop], z[start + 20 : stop])
        accumulator.absorb(BlockSums(*record.sums(), record.histogram()))
    assert accumulator.networks == 500
    assert len(accumulator.state.groups) <= 16
    return layout, LayerSums.of(accumulator.state, layout, centre, 0)


def _value(streamed, name):
    layout, sums = streamed
    return assemble(layout, name, ESTIMATES[name](sums).value)


def test_mean_and_covariance_of_g(many, streamed):
    gram, _ = many
    assert np.allclose(_value(streamed, "mean_kernel"), gram.mean(axis=0), rtol=1e-13)
    flat = np.cov(gram.reshape(500, 4).T)
    assert np.allclose(_value(streamed, "kernel_covariance"), flat.reshape(2, 2, 2, 2), rtol=1e-12)
    estimate = streamed[1].mean_kernel()
    assert np.allclose(estimate.covariance(), flat[np.ix_([0, 1, 3], [0, 1, 3])] / 500, rtol=1e-12)
    assert estimate.independent == 500


def test_third_cumulant_is_the_k_statistic(many, streamed):
    gram, _ = many
    delta = gram - gram.mean(axis=0)
    for (a, b, c, d, e, f), value in zip(all_sextuples(2), _value(streamed, "kernel_third_cumulant"), strict=True):
        raw = (delta[:, a, b] * delta[:, c, d] * delta[:, e, f]).mean()
        assert np.isclose(value, raw * 500**2 / (499 * 498), rtol=1e-10, atol=1e-13)


def test_moments_of_z(many, streamed):
    _, z = many
    assert np.allclose(_value(streamed, "second_moment"), np.einsum("kai,kbi->ab", z, z) / 3000, rtol=1e-12)
    fourth = np.einsum("kai,kbi,kci,kdi->abcd", z, z, z, z) / 3000
    assert np.allclose(_value(streamed, "fourth_moment"), fourth, rtol=1e-12)
    own = (z**4).mean(axis=(0, 2)) / (z**2).mean(axis=(0, 2)) ** 2 - 3
    assert np.allclose(_value(streamed, "excess_kurtosis"), own, rtol=1e-11)


@pytest.mark.parametrize("name", list(ESTIMATES))
def test_influence_is_the_derivative_of_the_statistic(streamed, name):
    """Weighing one group more moves a statistic by its influence, and the influences cancel over all groups."""
    layout, sums = streamed
    estimate = ESTIMATES[name](sums)
    scale = np.abs(estimate.influence).max()
    assert (
        np.abs((estimate.influence * estimate.counts[:, None]).sum(axis=0)).max() < 1e-9 * scale * estimate.counts.sum()
    )
    group, step = 3, 1e-5
    weights = estimate.counts.copy()
    weights[group] *= 1 + step
    mean = {part: (values * weights[:, None]).sum(axis=0) / weights.sum() for part, values in sums.by_group.items()}
    moved = ESTIMATES[name](LayerSums(layout, sums.centre, sums.by_group, mean, sums.counts)).value - estimate.value
    expected = estimate.influence[group] * step * estimate.counts[group] / estimate.counts.sum()
    # the bias corrections differ from 1 by order 1/M
    assert np.allclose(moved, expected, rtol=0.01, atol=1e-3 * np.abs(expected).max())


def test_stderr_is_the_root_of_the_covariance(streamed):
    for make in ESTIMATES.values():
        estimate = make(streamed[1])
        assert np.allclose(estimate.stderr(), np.sqrt(np.diagonal(estimate.covariance())), rtol=1e-12)


def test_groups_merge_in_sequence():
    def absorb_all(limit, blocks):
        accumulator = Accumulator(limit)
        for block in range(blocks):
            sums = np.arange(block * 4, block * 4 + 4, dtype=float).reshape(4, 1, 1)
            accumulator.absorb(BlockSums(sums, np.ones(4, dtype=np.int64), np.ones((1, 1, 1), dtype=np.int64)))
        return accumulator.state

    state = absorb_all(4, 5)
    assert [group.item() for group in state.groups] == [sum(range(8)), sum(range(8, 16)), sum(range(16, 20))]
    assert state.counts == (8, 8, 4)
    assert (state.blocks, state.units, state.level) == (5, 20, 3)
    assert absorb_all(4, 4).counts == (4, 4, 4, 4)
    accumulator = Accumulator(4, state)
    assert Accumulator.state_from(accumulator.arrays()).counts == state.counts


def test_layout_counts_every_component_once():
    for n in (1, 2, 3, 5):
        sextuples = all_sextuples(n) if n <= 3 else ()
        layout = Layout(n, sextuples)
        assert layout.size == count_components(n, len(sextuples)) == sum(layout.sizes)
        values = np.arange(float(layout.sizes[4]))
        full = layout.full_quads(values)
        assert len(np.unique(full)) == layout.sizes[4]
        assert np.array_equal(full, full.transpose(2, 0, 3, 1))
        assert np.array_equal(full[tuple(layout.quads)], values)


def test_moments_use_every_neuron_of_narrow_layers():
    assert moment_neurons(64, 4) == 64
    assert moment_neurons(1024, 1) == 128
    assert moment_neurons(1024, 30) == 8
    assert moment_neurons(3, 30) == 3


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_weights_and_gram_are_one_ensemble(network, activation):
    x = np.random.default_rng(4).standard_normal((3, 5))
    net = network([5, 7, 12, 5, 4], activation, 1.5, 0.2)
    weights, gram = (sample(net, x, 20_000, 2, method) for method in ("weights", "gram"))
    for one, other in zip(weights, gram, strict=True):
        for name in ESTIMATES:
            difference = getattr(one, name)() - getattr(other, name)()
            error = np.hypot(one.stderr(name), other.stderr(name))
            assert np.all(np.abs(difference) <= 5 * error + 1e-14), (one.index, name)


@pytest.mark.parametrize("method", ["weights", "gram"])
def test_covariance_of_g_and_fourth_moment_of_z_agree(network, method):
    """Given G the neurons are Gaussian, so E[z_a z_b z_c z_d] = E[G_ab G_cd] + 2 permutations: the connected part is
    Cov(G).
    """
    x = np.random.default_rng(4).standard_normal((2, 5))
    ensemble = sample(network([5, 3, 3, 9], "tanh", 1.5, 0.1), x, 30_000, 2, method)
    for layer in ensemble:
        mean = layer.mean_kernel()
        square = layer.kernel_covariance() + np.multiply.outer(mean, mean)
        expected = square + square.transpose(0, 2, 1, 3) + square.transpose(0, 2, 3, 1)
        error = layer.stderr("fourth_moment") + 3 * layer.stderr("kernel_covariance")
        error += 6 * np.abs(mean).max() * layer.stderr("mean_kernel").max()
        assert np.all(np.abs(layer.fourth_moment() - expected) <= 5 * error)
        connected = layer.fourth_moment() - (
            np.multiply.outer(mean, mean)
            + np.multiply.outer(mean, mean).transpose(0, 2, 1, 3)
            + np.multiply.outer(mean, mean).transpose(0, 2, 3, 1)
        )
        if layer.index > 1:  # the connected part is measured, not lost in its error
            assert connected[0, 0, 0, 0] > 5 * layer.stderr("fourth_moment")[0, 0, 0, 0]
