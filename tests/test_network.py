"""Layers and networks as plain data."""

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repflow.activation import as_activation
from repflow.network import Layer, LayerMaps, Network

TANH, RELU = as_activation("tanh"), as_activation("relu")


def network(widths=(3, 5, 7, 2), activation=TANH, **couplings):
    last = len(widths) - 2
    return Network(
        tuple(
            Layer(n_in, n_out, activation=None if index == last else activation, **couplings)
            for index, (n_in, n_out) in enumerate(pairwise(widths))
        )
    )


class TestLayer:
    def test_defaults(self):
        layer = Layer(3, 4)
        assert (layer.C_W, layer.C_b, layer.lambda_W, layer.lambda_b, layer.activation) == (1, 0, 1, 1, None)

    def test_numbers_become_floats(self):
        assert isinstance(Layer(3, 4, C_W=2).C_W, float)
        assert isinstance(Layer(3, 4, C_b=np.float64(0.5)).C_b, float)

    @pytest.mark.parametrize("name", ["n_in", "n_out"])
    @pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None])
    def test_widths(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of 1 or more, got {value!r}"):
            Layer(**{"n_in": 2, "n_out": 2, name: value})

    @pytest.mark.parametrize("name", ["C_W", "C_b", "lambda_W", "lambda_b"])
    @pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf"), "1", None])
    def test_couplings(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must be finite and not negative"):
            Layer(2, 2, **{name: value})

    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Layer(2, 2).C_W = 3.0


class TestNetwork:
    def test_counts(self):
        net = network((3, 5, 7, 2))
        assert net.depth == 3
        assert net.widths == (3, 5, 7, 2)
        assert net.n_parameters == 5 * 4 + 7 * 6 + 2 * 8
        assert net.aspect_ratio == pytest.approx(1 / 5 + 1 / 7)
        assert net.activations == (TANH, TANH)

    def test_aspect_ratio_at_equal_widths_is_depth_less_one_over_width(self):
        assert network((3, *[64] * 9, 10)).aspect_ratio == pytest.approx(9 / 64)

    def test_one_layer(self):
        net = Network((Layer(3, 2),))
        assert (net.depth, net.aspect_ratio, net.activations) == (1, 0, ())

    def test_is_what_flow_asks_for(self):
        assert isinstance(network(), LayerMaps)

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ((), "at least one layer"),
            ((Layer(2, 3, activation=TANH), Layer(4, 1)), "layer 1 has n_out=3 but layer 2 has n_in=4"),
            ((Layer(2, 3), Layer(3, 1)), "layer 1 is hidden and needs an activation"),
            ((Layer(2, 3, activation=TANH),), "the last layer is the output"),
        ],
    )
    def test_refused(self, layers, message):
        with pytest.raises(ValueError, match=message):
            Network(layers)

    def test_equality(self):
        assert network() == network()
        assert network() != network(activation=RELU)
        assert network() != network(C_b=0.1)

    def test_repr_folds_equal_widths(self):
        text = repr(network((64, *[128] * 9, 10), C_W=1.5))
        assert "64-128x9-10" in text
        assert "activation=tanh" in text
        assert "C_W=1.5x10" in text


class TestFiles:
    @given(
        widths=st.lists(st.integers(1, 200), min_size=2, max_size=6),
        C_W=st.floats(0, 1e6),
        lambda_b=st.floats(0, 1e6),
        name=st.sampled_from(["tanh", "gelu", "leaky_relu:0.3", "monomial:3"]),
    )
    def test_round_trip_through_json(self, widths, C_W, lambda_b, name):
        net = network(tuple(widths), as_activation(name), C_W=C_W, lambda_b=lambda_b)
        assert Network.from_dict(json.loads(json.dumps(net.to_dict()))) == net

    def test_callables_are_given_back_by_name(self):
        activation = as_activation(lambda z: torch.sin(2 * z))
        data = json.loads(json.dumps(network(activation=activation).to_dict()))
        with pytest.raises(ValueError, match="lambda or local function"):
            Network.from_dict(data)
        back = Network.from_dict(data, {activation.name: lambda z: torch.sin(2 * z)})
        assert back == network(activation=activation)

    def test_a_file_with_impossible_widths_is_refused(self):
        data = network().to_dict()
        data["layers"][1]["n_in"] = 6
        with pytest.raises(ValueError, match="layer 1 has n_out=5 but layer 2 has n_in=6"):
            Network.from_dict(data)
