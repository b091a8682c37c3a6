"""Prediction and measurement side by side: the agreement rule, and the result that holds both."""

import numpy as np
import pytest

import repflow as rf
from repflow.data import load_data


def two_widths(activation, depth, steps, widths, networks, inputs=2, outputs=1):
    """Largest |theory - lead| over 5 s + t, by the two-width form of the agreement rule."""
    data = load_data("digits", inputs=inputs)
    y = np.eye(10)[data.y][:, :outputs] if outputs > 1 else 2.0 * (data.y % 2) - 1.0
    coefficient, error = [], []
    for n in widths:
        net = rf.mlp([64, *[n] * (depth - 1), outputs], activation=activation, init="critical", x=data.x)
        found = rf.representation_learning(net, data.x, y, steps=steps, networks=networks, seed=n, progress=False)
        theory = n * np.concatenate([found.kernel_change, found.ntk_change[None]])
        coefficient.append(n * np.concatenate([found.measured.kernels, found.measured.ntk[None]]))
        error.append(n * np.concatenate([found.measured.kernels_stderr, found.measured.ntk_stderr[None]]))
    (n1, n2), (c1, c2) = widths, coefficient
    lead = (n2 * c2 - n1 * c1) / (n2 - n1)
    s = np.hypot(n2 * error[1], n1 * error[0]) / (n2 - n1)
    t = 0.35 * np.abs(c2 - c1) + 0.002 * np.abs(lead).max((1, 2), keepdims=True)
    scale = np.abs(theory).max((1, 2))
    return float((np.abs(theory - lead) / (5 * s + t)).max()), float((s.max((1, 2)) / scale).max())


@pytest.mark.parametrize(("activation", "depth", "steps"), [("tanh", 2, 1), ("tanh", 3, 15), ("gelu", 3, 15)])
def test_agreement_at_two_widths(activation, depth, steps):
    ratio, noise = two_widths(activation, depth, steps, (32, 64), 8000 if steps == 1 else 3000)
    assert ratio <= 1
    assert noise < 0.35  # of the largest component: a prediction of nothing, or of the other sign, would not pass


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("inputs", [2, 3])
@pytest.mark.parametrize(("steps", "outputs"), [(1, 1), (20, 1), (20, 3)])
def test_agreement_at_two_widths_in_full(activation, depth, inputs, steps, outputs):
    ratio, _ = two_widths(activation, depth, steps, (64, 128), 8000, inputs, outputs)
    assert ratio <= 1


def test_the_rule_has_teeth():
    """Half of the prediction is not accepted: what the rule would say of a theory off by two."""
    data = load_data("digits", inputs=2)
    net = rf.mlp([64, 128, 1], activation="gelu", init="critical", x=data.x)
    found = rf.representation_learning(net, data.x, [1.0, -1.0], steps=15, networks=4000, progress=False)
    error = found.measured.ntk_stderr
    assert (np.abs(found.ntk_change - found.measured.ntk) < 5 * error + 0.1 * np.abs(found.ntk_change)).all()
    assert (np.abs(0.5 * found.ntk_change - found.measured.ntk) > 5 * error).any()


@pytest.fixture(scope="module")
def result():
    net = rf.mlp([3, 40, 40, 2], activation=["tanh", "gelu"], C_W=1.2, C_b=0.1)
    x = np.random.default_rng(0).normal(size=(2, 3))
    return rf.representation_learning(net, x, np.array([0, 1]), steps=5, networks=200, progress=False)


@pytest.mark.parametrize("name", ["r.json", "r.zarr"])
def test_saved_and_loaded(result, tmp_path, name):
    result.save(tmp_path / name)
    loaded = rf.load(tmp_path / name)
    assert isinstance(loaded, rf.RepresentationLearning)
    assert repr(loaded) == repr(result)
    np.testing.assert_array_equal(loaded.measured.covariance, result.measured.covariance)
    np.testing.assert_array_equal(loaded.y, result.y)
    assert loaded.table() == result.table()


def test_shown(result):
    assert result.regime in repr(result)
    assert "NTK at the output" in result.table()
    assert result.sentence in result._repr_html_()
    assert result.to_xarray()["kernel_change"].dims == ("layer", "input", "input'")
    assert set(result.table("dict")) == {"what", "predicted", "measured", "standard error"}
    with pytest.raises(ValueError, match="format"):
        result.table("latex")


def test_predictions_alone_have_nothing_measured(result):
    alone = rf.representation_learning(result.network, result.x, result.y, steps=5)
    np.testing.assert_array_equal(alone.kernel_change, result.kernel_change)
    with pytest.raises(ValueError, match="no networks"):
        alone.measured_relative_change()
    assert "measured" not in alone.table("dict")


def test_beyond_order_one_is_said():
    data = load_data("digits", inputs=3)
    net = rf.mlp([64, *[16] * 9, 10], activation="tanh", init="critical", x=data.x)
    found = rf.representation_learning(net, data.x, data.y)
    assert found.regime == "beyond order 1"
    assert "tendency" in found.sentence


def test_a_rate_beyond_the_edge_is_said_to_be_one():
    network = rf.mlp([3, 32, 32, 1], activation="tanh", C_W=1.0, C_b=0.1)
    x = np.random.default_rng(3).standard_normal((2, 3))
    edge = rf.representation_learning(network, x, steps=1).edge
    found = rf.representation_learning(network, x, learning_rate=3 * edge, steps=10)
    assert "beyond the edge of stability" in found.sentence
    assert found.regime == "beyond order 1"
    assert "edge" not in rf.representation_learning(network, x, learning_rate=0.5 * edge, steps=10).sentence
