"""The tangent kernel against real networks by the agreement rule: a named subset, and that it can fail."""

from __future__ import annotations

import pytest

from repflow.build import mlp
from repflow.comparison import compare
from repflow.data import load_data
from repflow.ensemble import sample
from repflow.recursion import flow

FLUCTUATIONS = ("mean_ntk", "A", "B", "D", "F")
DIFFERENTIALS = ("P", "Q", "R", "S", "T", "U")


def _pairs(activation, depth, inputs, width, networks, differentials=False, C_W=1.0, C_b=0.0):
    x = load_data("digits", inputs=inputs).x
    found = []
    for n in (width, 2 * width):
        network = mlp([64, *[n] * (depth - 1), 4], activation=activation, C_W=C_W, C_b=C_b)
        ensemble = sample(
            network, x, networks, 5 + n, tangent=True, differentials=differentials, six_point=[], progress=False
        )
        found.append((flow(network, x, order=1, tangent=True, progress=False), ensemble))
    return found


@pytest.fixture(scope="module")
def pairs():
    """tanh, N = 2, L = 3, widths 8 and 16: A to F from 20,000 networks, and P to U."""
    return _pairs("tanh", 3, 2, 8, 20_000, differentials=True)


class _Wrong:
    """A flow with one statistic multiplied by a factor, in all layers."""

    def __init__(self, flow, name, factor):
        self.flow, self.name, self.factor = flow, name, factor
        self.network, self.x, self.order = flow.network, flow.x, flow.order

    def __getitem__(self, index):
        return _WrongLayer(self.flow[index], self.name, self.factor)

    def __len__(self):
        return len(self.flow)


class _WrongLayer:
    def __init__(self, layer, name, factor):
        self.layer, self.name, self.factor = layer, name, factor
        self.n_in, self.statistics = layer.n_in, layer.statistics

    def statistic(self, name, order=None):
        value = self.layer.statistic(name, order)
        if name != self.name:
            return value
        lower = self.layer.statistic(name, 0)
        return lower + self.factor * (value - lower)


def test_every_tensor_agrees_at_two_widths(pairs):
    result = compare(*pairs[0], other=pairs[1])
    assert result.quantities == ("mean_kernel", "kernel_covariance", *FLUCTUATIONS, *DIFFERENTIALS)
    assert result.agrees, repr(result)
    assert result.chi_square_acceptable, repr(result)
    assert not [row for row in result.rows if row["quantity"] in DIFFERENTIALS and row["layer"] < 3]
    assert {row["components"] for row in result.rows if row["quantity"] == "B"} == {7}


def test_fluctuations_agree_at_one_width(pairs):
    result = compare(*pairs[1])
    assert all(entry.within for entry in result if entry.quantity in FLUCTUATIONS), repr(result)


@pytest.mark.parametrize(
    ("name", "factor"),
    [(name, factor) for name in ("A", "B", "D", "F", *DIFFERENTIALS) for factor in (0.5, 1.5)],
)
def test_a_wrong_factor_in_one_tensor_is_rejected(pairs, name, factor):
    result = compare(
        _Wrong(pairs[0][0], name, factor),
        pairs[0][1],
        other=(_Wrong(pairs[1][0], name, factor), pairs[1][1]),
    )
    assert result.trusted
    assert not result.agrees
    assert result.worst["quantity"] == name


def test_only_what_both_have_is_compared(pairs):
    theory, ensemble = pairs[0]
    forward = flow(theory.network, theory.x, order=1, progress=False)
    assert compare(forward, ensemble).quantities == ("mean_kernel", "kernel_covariance")
    plain = sample(theory.network, theory.x, 100, progress=False)
    assert compare(theory, plain).quantities == ("mean_kernel", "kernel_covariance")


def test_figures_and_rows_of_every_tensor(pairs):
    result = compare(*pairs[0], other=pairs[1])
    figures = result.figures()
    assert {f"z_{name}" for name in result.quantities} <= set(figures)
    assert {"A", "mean_ntk"} <= set(figures)
    assert "P" not in figures
    assert "ddNTK U" in figures["z_U"].layout.title.text


@pytest.mark.slow
def test_a_wrong_mean_is_rejected():
    """Its correction is small beside the NTK's own spread: it takes 600,000 networks to see it."""
    pairs = _pairs("tanh", 3, 2, 8, 600_000, C_W=2.0, C_b=0.1)
    assert compare(*pairs[0], other=pairs[1]).agrees
    for factor in (0.0, 2.0):
        wrong = [(_Wrong(theory, "mean_ntk", factor), ensemble) for theory, ensemble in pairs]
        result = compare(*wrong[0], other=wrong[1])
        assert not result.agrees
        assert result.worst["quantity"] == "mean_ntk"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "depth", "inputs", "C_W", "C_b"),
    [("silu", 3, 3, 1.2, 0.5), ("gelu", 3, 2, 1.2, 0.5), ("sin", 3, 2, 1.0, 0.0), ("tanh", 2, 3, 1.0, 0.0)],
)
def test_every_tensor_in_full(activation, depth, inputs, C_W, C_b):
    pairs = _pairs(activation, depth, inputs, 8, 100_000, True, C_W, C_b)
    result = compare(*pairs[0], other=pairs[1])
    assert result.agrees, repr(result)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "inputs", "C_W", "C_b"),
    [
        ("relu", 3, 1.2, 0.5),
        ("hardtanh", 3, 1.2, 0.1),
        ("leaky_relu:0.2", 2, 1.2, 0.5),
        ("elu", 2, 1.2, 0.3),
        ("abs", 2, 0.8, 0.4),
    ],
)
def test_activations_with_kinks(activation, inputs, C_W, C_b):
    """The mean, A, B, D, F exist with a kink; P to U do not."""
    pairs = _pairs(activation, 3, inputs, 8, 100_000, C_W=C_W, C_b=C_b)
    result = compare(*pairs[0], other=pairs[1])
    assert result.quantities[2:] == FLUCTUATIONS
    assert result.agrees, repr(result)
