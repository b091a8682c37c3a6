"""Whether a network is critical: against closed forms, class by class."""

import math

import numpy as np
import pytest

import repflow as rf
from repflow.criticality import critical_points
from repflow.reporting.criticality import assess_criticality, power_law, susceptibilities


def judge(network, x, point=None):
    kernel = np.stack([layer.kernel.diagonal().numpy() for layer in rf.flow(network, x, order=0)])
    return assess_criticality(network, kernel, susceptibilities(network, kernel), point)


def first(name):
    return critical_points(rf.as_activation(name))[0]


@pytest.mark.parametrize("C_W", [1.0, 1.6, 2.0, 2.5])
def test_relu_lengths_are_those_of_half_its_weight_variance(C_W):
    x = np.eye(2, 5) * 2.0
    verdict = judge(rf.mlp([5, *[9] * 9, 3], activation="relu", C_W=C_W, C_b=0.0), x, first("relu"))
    chi = C_W / 2
    xi = math.inf if chi == 1 else 1 / abs(math.log(chi))
    assert verdict.xi_parallel == pytest.approx(xi)
    assert verdict.xi_perpendicular == pytest.approx(xi)
    assert verdict.critical == (chi == 1)
    assert verdict.kernel_factor == pytest.approx(max(chi, 1 / chi) ** 9)
    if chi == 1:
        assert verdict.lost_at == math.inf
    else:
        assert verdict.lost_at == 1 + math.ceil(math.log(1000) * xi)
        assert verdict.grows_parallel == (chi > 1)


def test_depth_beyond_the_correlation_length_is_not_critical():
    x = np.eye(1, 5) * 2.0
    C_W = 2 * math.exp(-1 / 8)  # xi = 8
    for depth, critical in ((8, True), (9, False)):
        verdict = judge(rf.mlp([5, *[9] * (depth - 1), 3], activation="relu", C_W=C_W, C_b=0.0), x, first("relu"))
        assert verdict.xi_parallel == pytest.approx(8)
        assert verdict.critical == critical


def test_tanh_falls_by_its_power_law_and_is_critical():
    x = np.eye(1, 5) * math.sqrt(5)
    network = rf.mlp([5, *[9] * 99, 3], activation="tanh", C_W=1.0, C_b=0.0)
    assert not judge(network, x).critical  # from 1 to 1/200: more than a factor 10 from its start
    verdict = judge(network, x, first("tanh"))
    assert verdict.critical
    assert verdict.reference == "power law"
    assert verdict.kernel_factor < 1.5


def test_power_law_starts_where_the_kernel_does_and_ends_in_the_law():
    law = power_law(first("tanh"), np.array([1.0, 0.01]), 4001)
    assert law[0] == pytest.approx([1.0, 0.01])
    assert law[-1] * 4000 == pytest.approx([0.5, 0.5], rel=0.02)
    assert power_law(first("relu"), np.array([1.0]), 3) is None
    logarithmic = power_law(first("hardtanh"), np.array([0.2]), 10_001)
    assert logarithmic[0] == pytest.approx(0.2)
    assert logarithmic[-1] == pytest.approx(0.5 / math.log(10_000 + math.exp(2.5)))


def test_layers_of_different_maps_are_judged_each_by_its_own():
    x = np.eye(1, 5) * math.sqrt(5)
    mixed = rf.mlp([5, 9, 9, 9, 3], activation=["relu", "tanh", "relu"], init="critical", x=x)
    assert judge(mixed, x).critical
    C_W = [layer.C_W for layer in mixed.layers]
    C_W[-1] = 2 * math.exp(-1 / 2)
    broken = rf.mlp([5, 9, 9, 9, 3], activation=["relu", "tanh", "relu"], C_W=C_W, C_b=0.0)
    verdict = judge(broken, x)
    assert verdict.xi_parallel == pytest.approx(2)
    assert not verdict.critical


def test_one_layer_and_dead_layers():
    x = np.eye(2, 5)
    assert judge(rf.mlp([5, 3], activation="tanh", C_W=1.0, C_b=0.0), x).critical
    verdict = judge(rf.mlp([5, 9, 3], activation="tanh", C_W=0.0, C_b=0.0), x)
    assert not verdict.critical
    assert verdict.xi_parallel == 0.0


def test_a_jump_loses_directions_at_once():
    x = np.eye(1, 5)
    verdict = judge(rf.mlp([5, 9, 3], activation="perceptron", C_W=2.0, C_b=0.0), x)
    assert verdict.xi_perpendicular == 0.0
    assert verdict.lost_perpendicular == 2
    assert verdict.grows_perpendicular
