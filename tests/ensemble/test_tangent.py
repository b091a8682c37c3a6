"""The NTK of real networks: against Jacobians of one network, against all networks at once, and what is refused."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import jacrev, vmap

from repflow.activation import as_activation
from repflow.ensemble import Ensemble, sample
from repflow.ensemble.accumulator import State
from repflow.ensemble.setup import Setup, gram_one, stream_of
from repflow.ensemble.symmetry import SYMMETRIES, Orbits, orbit_count
from repflow.ensemble.tangent import first_ntk, propagate
from repflow.ensemble.tangent_features import tangent_features
from repflow.ensemble.tangent_layout import DIFFERENTIALS, TangentLayout, count_tangent
from repflow.ensemble.tangent_statistics import TangentSums
from repflow.ensemble.weights import draw_layers, streams
from repflow.network import Layer, Network
from repflow.results import load

# n_0, hidden widths, n_L; couplings and rates of every layer differ
_WIDTHS = (5, 7, 6, 3)
_RATES = ((1.3, 0.7, 0.9, 0.4), (0.8, 0.2, 1.7, 0.3), (1.1, 0.5, 0.6, 1.9))


def _network(activations=("tanh", "gelu"), widths=_WIDTHS, rates=_RATES):
    sigmas = [*(as_activation(name) for name in activations), None]
    return Network(
        tuple(
            Layer(n, m, *rate, activation=sigma)
            for n, m, rate, sigma in zip(widths[:-1], widths[1:], rates, sigmas, strict=True)
        )
    )


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).standard_normal((3, 5))


def _setup(network, x):
    return Setup(network, x, 4, gram_one(network, x), stream_of("weights", network, len(x)))


def _measured(network, x, count=3):
    """Weights, biases, z and H, shape (count, n, n, N, N), of every layer of a few networks."""
    setup, layout = _setup(network, x), TangentLayout(len(x))
    found = []
    drawn = draw_layers(setup, streams(setup, 0), count)
    for layer, (draw, ntk) in zip(network.layers, propagate(setup, drawn, layout.pair_a, layout.pair_b), strict=True):
        weights = draw.normals * math.sqrt(layer.C_W / layer.n_in)
        biases = np.zeros(weights.shape[:2]) if draw.biases is None else draw.biases
        if ntk is None:
            first = first_ntk(setup, layout.pair_a, layout.pair_b)
            ntk = np.eye(layer.n_out)[None, :, None, :] * first[None, None, :, None] * np.ones((count, 1, 1, 1))
        full = np.empty((count, layer.n_out, layer.n_out, len(x), len(x)))
        for number, (a, b) in enumerate(zip(layout.pair_a, layout.pair_b, strict=True)):
            full[..., a, b] = ntk[:, :, number]
            full[..., b, a] = ntk[:, :, number].transpose(0, 2, 1)
        found.append((weights.copy(), biases.copy(), draw.z.copy(), full))
    return found


def _jacobian_ntk(network, weights, biases, x, depth):
    """H_ij;ab of one network's layer ``depth``: all Jacobians, summed over parameters with their learning rates."""

    def forward(parameters, point):
        signal = point
        for number in range(depth):
            z = parameters[0][number] @ signal + parameters[1][number]
            sigma = network.layers[number].activation
            signal = z if number + 1 == depth else sigma(z)
        return signal

    parameters = ([torch.from_numpy(w) for w in weights[:depth]], [torch.from_numpy(b) for b in biases[:depth]])
    jacobians = vmap(jacrev(forward), in_dims=(None, 0))(parameters, torch.from_numpy(x))
    total = 0.0
    for layer, by_weight, by_bias in zip(network.layers, *jacobians, strict=False):
        total = total + layer.lambda_W / layer.n_in * torch.einsum("aiuv,bjuv->ijab", by_weight, by_weight)
        total = total + layer.lambda_b * torch.einsum("aiu,bju->ijab", by_bias, by_bias)
    return total.numpy()


@pytest.mark.parametrize("activations", [("tanh", "gelu"), ("silu", "relu")])
def test_recursion_is_the_sum_over_parameters_of_jacobians(x, activations):
    network = _network(activations)
    layers = _measured(network, x)
    for number in range(3):
        weights, biases = ([layer[place][number] for layer in layers] for place in (0, 1))
        for depth in (1, 2, 3):
            expected = _jacobian_ntk(network, weights, biases, x, depth)
            assert np.allclose(layers[depth - 1][3][number], expected, rtol=1e-10, atol=1e-12), depth


def test_features_are_means_over_pairs_of_neurons(x):
    network = _network()
    layout = TangentLayout(3)
    setup = _setup(network, x)
    drawn = draw_layers(setup, streams(setup, 0), 3)
    raw = [ntk if ntk is None else ntk.copy() for _, ntk in propagate(setup, drawn, layout.pair_a, layout.pair_b)]
    for (_, _, z, full), ntk in list(zip(_measured(network, x), raw, strict=True))[1:]:
        centre = np.linspace(0.5, 1.5, 6)
        before = ntk.copy()
        part = layout.split(tangent_features(layout, centre, z, ntk))
        assert np.array_equal(ntk, before)
        neurons = range(ntk.shape[1])
        pairs = [(i, j) for i, j in product(neurons, neurons) if i != j]
        taken = np.zeros((3, 3))
        taken[layout.pair_a, layout.pair_b] = taken[layout.pair_b, layout.pair_a] = centre
        for b in range(3):
            own, h = z[b], full[b]
            reference = {
                "A": sum(np.einsum("ab,cd->abcd", h[i, i] - taken, h[j, j] - taken) for i, j in pairs),
                "B": sum(np.einsum("ac,bd->abcd", h[i, j], h[i, j]) for i, j in pairs),
                "D": sum(np.einsum("a,b,cd->abcd", own[:, i], own[:, i], h[j, j] - taken) for i, j in pairs),
                "F": sum(np.einsum("a,c,bd->abcd", own[:, i], own[:, j], h[i, j]) for i, j in pairs),
            }
            for name, tensor in reference.items():
                values = layout.orbits[name].full(part[name][b])
                assert np.allclose(values, tensor / len(pairs), rtol=1e-11, atol=1e-13), name
            mean = np.mean([h[i, i] for i in neurons], axis=0)
            assert np.allclose(part["mean"][b], (mean - taken)[layout.pair_a, layout.pair_b], rtol=1e-12)


def test_estimates_are_those_of_all_networks_at_once(x):
    """Unbiased covariances of the whole sample, from a few hundred networks in blocks and batches."""
    network = _network()
    count = 300
    ensemble = sample(network, x, count, 4, tangent=True, batch_size=17, progress=False)
    layers = _measured(network, x, count)  # the same stream: block 0 of seed 4
    for number in (2, 3):
        z, full = layers[number - 1][2:]
        diagonal = np.einsum("kiiab->kiab", full)
        assert np.allclose(ensemble[number].mean_ntk(), diagonal.mean(axis=(0, 1)), rtol=1e-12)
        pairs = [(i, j) for i, j in product(range(full.shape[1]), repeat=2) if i != j]
        own = np.einsum("kai,kbi->kiab", z, z)
        expected = {name: np.zeros((3, 3, 3, 3)) for name in "ABDF"}
        for i, j in pairs:
            for name, left in (("A", diagonal), ("D", own)):
                # ddof=1 for each pair of neurons: unbiased, as is the estimate that pools them
                both = np.concatenate([left[:, i].reshape(count, 9), diagonal[:, j].reshape(count, 9)], axis=1)
                expected[name] += np.cov(both.T)[:9, 9:].reshape(3, 3, 3, 3) / len(pairs)
            expected["B"] += np.einsum("kac,kbd->abcd", full[:, i, j], full[:, i, j]) / count / len(pairs)
            expected["F"] += np.einsum("ka,kc,kbd->abcd", z[:, :, i], z[:, :, j], full[:, i, j]) / count / len(pairs)
        for name in "BF":
            assert np.allclose(ensemble[number].statistic(name), expected[name], rtol=1e-10, atol=1e-13), name
        for name in "AD":
            # the pooled estimate takes means over neurons off, which differ from those of one neuron by noise / M
            scale = ensemble[number].stderr(name) / np.sqrt(count) * 4
            assert np.all(np.abs(ensemble[number].statistic(name) - expected[name]) < scale), name


def test_covariances_are_unbiased(x):
    """Of all samples of two networks, drawn from four with replacement, the mean estimate is the four's covariance."""
    network = _network()
    layout = TangentLayout(3)
    setup = _setup(network, x)
    _, _, z, full = _measured(network, x, 4)[-1]
    drawn = draw_layers(setup, streams(setup, 0), 4)
    ntk = list(propagate(setup, drawn, layout.pair_a, layout.pair_b))[-1][1]
    features = tangent_features(layout, np.zeros(6), z, ntk)
    diagonal, own = np.einsum("kiiab->kiab", full), np.einsum("kai,kbi->kiab", z, z)
    pairs = [(i, j) for i, j in product(range(3), repeat=2) if i != j]
    for name, left in (("A", diagonal), ("D", own)):
        expected = sum(np.einsum("kab,kcd->abcd", left[:, i], diagonal[:, j]) / 4 for i, j in pairs) / len(pairs)
        # the two neurons of a pair have one expectation over networks; the four at hand stand for it by their means
        expected -= np.einsum("ab,cd->abcd", left.mean(axis=(0, 1)), diagonal.mean(axis=(0, 1)))
        found = []
        for one, two in product(range(4), repeat=2):
            state = State(1, 2, 0, (features[one][None], features[two][None]), (1, 1), np.zeros(0, dtype=np.int64))
            found.append(TangentSums.of(state, layout, np.zeros((1, 6)), 0).estimate(name).value)
        assert np.allclose(layout.orbits[name].full(np.mean(found, axis=0)), expected, rtol=1e-10, atol=1e-14), name


@pytest.mark.parametrize("name", ["mean_ntk", "A", "B", "D", "F"])
def test_influence_is_the_derivative_of_the_statistic(x, name):
    """Leaving out one group moves a statistic by its influence, so that the standard error is the delta method's."""
    ensemble = sample(_network(), x, 3200, 2, tangent=True, progress=False)
    sums = ensemble[-1].tangent
    estimate = sums.estimate(name)
    total = np.abs((estimate.influence * estimate.counts[:, None]).sum(axis=0)).max()
    assert total < 1e-8 * np.abs(estimate.influence).max() * estimate.counts.sum()
    weights = estimate.counts.copy()
    weights[5] *= 1 + 1e-5
    mean = {part: (values * weights[:, None]).sum(axis=0) / weights.sum() for part, values in sums.by_group.items()}
    moved = type(sums)(sums.layout, sums.centre, sums.by_group, mean, sums.counts).estimate(name).value
    expected = estimate.influence[5] * 1e-5 * estimate.counts[5] / estimate.counts.sum()
    assert np.allclose(moved - estimate.value, expected, rtol=0.01, atol=1e-3 * np.abs(expected).max())


def test_standard_errors_are_those_of_repeated_runs(x):
    runs = [sample(_network(), x[:2], 512, seed, tangent=True, progress=False)[-1] for seed in range(40)]
    for name in ("mean_ntk", "A", "B", "D", "F"):
        values = np.stack([layer.statistic(name) for layer in runs])
        stated = np.sqrt(np.mean([layer.stderr(name) ** 2 for layer in runs], axis=0))
        ratio = values.std(axis=0, ddof=1) / stated
        assert 0.6 < ratio.min(), name
        assert ratio.max() < 1.5, name


def test_first_layer_is_exact(x):
    network = _network()
    layer = sample(network, x, 200, 0, tangent=True, progress=False)[1]
    assert np.allclose(layer.mean_ntk(), 0.4 + 0.9 * x @ x.T / 5, rtol=1e-14)
    assert not layer.stderr("mean_ntk").any()
    for name in "ABDF":
        assert not layer.statistic(name).any()
        assert not layer.stderr(name).any()


def test_tensors_have_their_symmetries(x):
    layer = sample(_network(), x, 400, 0, tangent=True, progress=False)[2]
    A, B, D, F = (layer.statistic(name) for name in "ABDF")
    assert np.array_equal(A, A.transpose(2, 3, 0, 1))
    assert np.array_equal(A, A.transpose(1, 0, 2, 3))
    assert np.array_equal(D, D.transpose(1, 0, 2, 3))
    assert np.array_equal(D, D.transpose(0, 1, 3, 2))
    assert not np.allclose(D, D.transpose(2, 3, 0, 1))
    assert np.array_equal(B, B.transpose(1, 0, 3, 2))
    assert np.array_equal(B, B.transpose(2, 3, 0, 1))
    assert not np.allclose(B, B.transpose(1, 0, 2, 3))
    assert np.array_equal(F, F.transpose(2, 3, 0, 1))
    assert not np.allclose(F, F.transpose(1, 0, 3, 2))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_component_is_counted_once(n):
    for name, generators in SYMMETRIES.items():
        orbits = Orbits(n, generators)
        assert orbits.size == orbit_count(n, name)
        full = orbits.full(np.arange(float(orbits.size)))
        assert np.array_equal(full[tuple(orbits.index.T)], np.arange(orbits.size))
        for p in generators:
            assert np.array_equal(full, full.transpose(p))
        tensor = np.random.default_rng(0).standard_normal((2, n, n, n, n))
        assert np.allclose(orbits.means(orbits.full(orbits.means(tensor))), orbits.means(tensor), rtol=1e-14)
    for differentials in (False, True):
        layout = TangentLayout(n, differentials)
        assert layout.size == count_tangent(n, differentials)
        assert layout.split(np.arange(layout.size))["mean"].tolist() == list(range(n * (n + 1) // 2))


def test_differentials_are_plain_means_in_the_output(x):
    network = _network()
    ensemble = sample(network, x, 250, 4, tangent=True, differentials=True, progress=False)
    from repflow.ensemble.differentials import differentials

    layers = _measured(network, x, 250)
    weights, biases = ([torch.from_numpy(layer[place]) for layer in layers] for place in (0, 1))
    expected = differentials(network, weights, biases, torch.from_numpy(x))
    assert set(DIFFERENTIALS) == set(expected)
    for name in DIFFERENTIALS:
        value = ensemble[-1].statistic(name)
        mean = expected[name].mean(dim=0).numpy()
        assert np.allclose(value, mean, rtol=1e-10, atol=1e-12 * np.abs(mean).max()), name
        assert (ensemble[-1].stderr(name) > 0).all()
        with pytest.raises(AttributeError, match=f"{name} is measured in the output layer only"):
            ensemble[2].statistic(name)
    plain = sample(network, x, 250, 4, tangent=True, progress=False)
    assert np.array_equal(plain[-1].statistic("F"), ensemble[-1].statistic("F"))
    with pytest.raises(AttributeError, match=r"P was not measured; sample\(..., tangent=True, differentials=True\)"):
        plain[-1].estimate("P")


def test_what_a_layer_has_is_named(x):
    one = sample(_network(widths=(5, 7, 6, 1)), x, 40, tangent=True, progress=False)
    assert one[-1].statistics[-1] == "mean_ntk"
    assert one[-2].statistics[-4:] == ("A", "B", "D", "F")
    for name in "ABDF":
        with pytest.raises(ValueError, match=f"{name} is a statistic of two neurons, and layer 3 has one"):
            one[-1].statistic(name)
    assert np.isfinite(one[-1].mean_ntk()).all()
    plain = sample(_network(), x, 40, progress=False)
    with pytest.raises(AttributeError, match=r"mean_ntk was not measured; sample\(..., tangent=True\) does"):
        plain[-1].mean_ntk()
    with pytest.raises(ValueError, match="name must be one of mean_kernel.*mean_ntk, A, B.*got 'G'"):
        plain[-1].estimate("G")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "gram"}, ValueError, "tangent=True needs method=\"weights\", got 'gram'"),
        ({"tangent": 1}, TypeError, "tangent must be True or False"),
        ({"tangent": False, "differentials": True}, ValueError, "differentials=True needs tangent=True"),
        (
            {"network": _network(widths=(5, 7, 6, 1)), "differentials": True},
            ValueError,
            "differentials=True measures pairs of outputs: the network needs two or more, got 1",
        ),
        ({"network": _network(("tanh", "relu")), "differentials": True}, ValueError, "'relu' of layer 2 is not smooth"),
    ],
)
def test_bad_arguments_are_named(x, change, error, message):
    arguments = {"network": _network(), "x": x, "networks": 10, "tangent": True, **change}
    with pytest.raises(error, match=message):
        sample(**arguments)


def test_overflow_is_named():
    network = _network(rates=((1.0, 0.0, 1e200, 0.0), (1.0, 0.0, 1e200, 0.0), (1.0, 0.0, 1.0, 0.0)))
    with pytest.raises(ValueError, match="the NTK of layer [0-9] is not finite in some networks"):
        sample(network, np.ones((2, 5)) * 1e120, 20, tangent=True, progress=False)


@pytest.mark.parametrize("differentials", [False, True])
def test_saved_and_loaded_it_is_the_same(x, bits, tmp_path: Path, differentials):
    ensemble = sample(_network(), x, 300, 3, tangent=True, differentials=differentials, progress=False)
    names = ("mean_ntk", *"ABDF", *("PQRSTU" if differentials else ""))
    for file in ("run.json", "run.zarr"):
        ensemble.save(tmp_path / file)
        back = load(tmp_path / file)
        assert isinstance(back, Ensemble)
        assert (back.tangent, back.differentials) == (True, differentials)
        assert bits(back) == bits(ensemble)
        assert back[-1].statistics == ensemble[-1].statistics
        for name in names:
            assert np.array_equal(back[-1].statistic(name), ensemble[-1].statistic(name))
            assert np.array_equal(back[-1].stderr(name), ensemble[-1].stderr(name))
    dataset = ensemble.to_xarray()
    assert dataset["B"].dims == ("layer", "input", "input'", "input''", "input'''")
    assert np.array_equal(dataset["mean_ntk"].sel(layer=2).values, ensemble[2].mean_ntk())
    assert ("P" in dataset) is differentials
    assert ", tangent" in repr(ensemble)


def test_forward_statistics_do_not_depend_on_the_tangent(x):
    plain, with_tangent = (sample(_network(), x, 500, 3, tangent=tangent, progress=False) for tangent in (False, True))
    for layer, other in zip(plain, with_tangent, strict=True):
        for name in layer.statistics:
            assert np.allclose(layer.statistic(name), other.statistic(name), rtol=1e-12, atol=1e-14)
