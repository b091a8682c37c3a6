"""Kernels held at a size: the class K* = 0, over the depth of a network."""

import math

import pytest
import torch
from tests.tuning.simulate import model_of
from torch import nn

import repflow as rf
from repflow.activation import as_activation
from repflow.tuning import constants
from repflow.tuning.couplings import COUPLINGS, gains_of, held_kernel
from repflow.tuning.tangent import layer_kernels


class Elementwise(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, z):
        return self.function(z)


@pytest.mark.parametrize("activation", ["tanh", "sin", "erf"])
@pytest.mark.parametrize("hidden", [3, 10, 30, 100])
def test_kernel_stays_and_differences_grow_no_more_than_allowed(activation, hidden):
    kernel = held_kernel([as_activation(activation)] * hidden)
    assert 0 < kernel <= 1
    layers = {"tanh": torch.tanh, "sin": torch.sin, "erf": torch.erf}
    model = model_of((2, *[8] * hidden, 1), lambda: Elementwise(layers[activation]))
    x = torch.tensor([[1.0, 0.0], [math.cos(1e-3), math.sin(1e-3)]], dtype=torch.float64)
    network = rf.tune(model, x).network
    hidden_kernels = [layer.kernel for layer in layer_kernels(network, x)[:-1]]
    assert [float(k[0, 0]) for k in hidden_kernels] == pytest.approx([kernel] * hidden, rel=1e-6)
    # Of two inputs close to each other: the variance of their difference, in the first and in the last hidden layer.
    apart = [float(k[0, 0] + k[1, 1] - 2 * k[0, 1]) for k in (hidden_kernels[0], hidden_kernels[-1])]
    grown = apart[1] / apart[0]
    assert grown == pytest.approx(constants.GROWTH, rel=0.01) if kernel < 1 else grown <= constants.GROWTH
    assert all(layer.C_b == 0 for layer in network.layers)


def test_deeper_networks_are_held_lower_and_nearer_to_criticality():
    kernels = [held_kernel([as_activation("tanh")] * hidden) for hidden in (10, 40, 100, 400, 1600)]
    assert kernels == sorted(kernels, reverse=True)
    # chi_perp - 1 goes as K^2: a fourfold depth halves K.
    assert kernels[4] / kernels[3] == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("activations", [["relu"] * 5, ["gelu"] * 5, ["sigmoid"] * 5, ["tanh", "relu"], []])
def test_other_classes_and_mixtures_stay_critical(activations):
    assert held_kernel([as_activation(name) for name in activations]) is None


def test_an_activation_that_grows_from_zero_stays_critical():
    # <s s> rises faster than K: the kernel would run away from where it is held.
    assert held_kernel([as_activation(lambda z: z + 0.3 * z**3)] * 4) is None


def test_real_networks_keep_the_kernel(x):
    model = model_of((6, 400, 400, 400, 400, 3), nn.Tanh)
    plan = rf.tune(model, x)
    sizes = []
    for seed in range(5):
        plan.initialize_(model, torch.Generator().manual_seed(seed))
        z, found = x.double(), []
        for layer in model[:-1]:
            z = layer(z)
            if isinstance(layer, nn.Linear):
                found.append(float((z**2).detach().mean()))
        sizes.append(found)
    means = torch.tensor(sizes).mean(0)
    assert means.tolist() == pytest.approx([1.0] * 4, rel=0.1)


def test_critical_couplings_on_request():
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 2))
    plans = {name: rf.tune(model, x, couplings=name) for name in COUPLINGS}
    assert plans["critical"].network.layers[1].C_W == pytest.approx(1.0)
    assert plans["held"].network.layers[1].C_W > 1.2
    assert gains_of(plans["critical"].network) is None
    assert all(gain > 1.0 for gain in gains_of(plans["held"].network))
    assert any("K = " in note for note in plans["held"].notes)
    assert not any("K = " in note for note in plans["critical"].notes)
    with pytest.raises(ValueError, match="couplings must be one of held, critical, got 'chaotic'"):
        rf.tune(model, x, couplings="chaotic")
