"""<s_a s_b> and its derivatives in the kernel's entries, to the fourth order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import repflow as rf
from repflow.expectation.pair_jets import KEYS, pair_jets
from repflow.expectation.pair_map import pair_map

KERNEL = torch.tensor([[1.2, 0.5, -0.7], [0.5, 0.9, 0.3], [-0.7, 0.3, 2.1]], dtype=torch.float64)
NAMES = {
    "d_self": (1, 0, 0),
    "d_cross": (0, 0, 1),
    "h_self": (2, 0, 0),
    "h_cross": (0, 0, 2),
    "h_self_other": (1, 1, 0),
    "h_self_cross": (1, 0, 1),
}


@pytest.mark.parametrize("name", ["tanh", "gelu", "sin", "relu", "leaky_relu:0.3", "hardtanh", "elu", "identity"])
def test_low_orders_are_those_of_the_pair_map(name):
    sigma = rf.as_activation(name)
    found, known = pair_jets(sigma, KERNEL), pair_map(sigma, KERNEL, derivatives=2)
    assert found.error < 1e-9
    apart = ~torch.eye(3, dtype=torch.bool)
    np.testing.assert_allclose(found.values[0, 0, 0], known.mean, rtol=1e-9, atol=1e-12)
    for part, key in NAMES.items():
        values = getattr(known, part)
        np.testing.assert_allclose(found.values[key][apart], values[apart], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.values[1, 0, 0].diagonal(), known.d_cross.diagonal(), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.values[2, 0, 0].diagonal(), known.h_cross.diagonal(), rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "hardtanh", "elu"])
def test_each_order_is_the_slope_of_the_one_below(name):
    sigma = rf.as_activation(name)
    kernel = KERNEL[:2, :2]
    values = pair_jets(sigma, kernel).values
    step = 2e-4
    for slot, (i, j) in enumerate(((0, 0), (1, 1), (0, 1))):
        shift = torch.zeros(2, 2, dtype=torch.float64)
        shift[i, j] = shift[j, i] = step
        above, below = pair_jets(sigma, kernel + shift).values, pair_jets(sigma, kernel - shift).values
        for key in KEYS:
            raised = tuple(order + (k == slot) for k, order in enumerate(key))
            if sum(raised) <= 4:
                slope = float((above[key] - below[key])[0, 1]) / (2 * step)
                assert slope == pytest.approx(float(values[raised][0, 1]), rel=2e-5, abs=1e-6), raised
        for k in range(4) if slot == 0 else ():
            slope = float((above[k, 0, 0] - below[k, 0, 0])[0, 0]) / (2 * step)
            assert slope == pytest.approx(float(values[k + 1, 0, 0][0, 0]), rel=2e-5, abs=1e-6), k


@pytest.mark.parametrize("rho", [0.3, -0.9, 0.999])
def test_closed_form_and_quadrature_of_a_kink_agree(rho):
    """leaky_relu in closed form, and as an activation with a kink like any other."""
    closed = rf.as_activation("leaky_relu:0.3")
    kernel = torch.tensor([[1.0, 1.3 * rho], [1.3 * rho, 1.69]], dtype=torch.float64)
    one, other = pair_jets(closed, kernel).values, pair_jets(replace(closed, slopes=None), kernel).values
    for key in KEYS:
        np.testing.assert_allclose(other[key], one[key], rtol=1e-6, atol=1e-8, err_msg=str(key))


@pytest.mark.parametrize("rho", [1.0, 1 - 1e-9, -1.0])
def test_smooth_activations_at_equal_inputs(rho):
    """At K = 12 the series of tanh does not resolve rho near 1: the integral takes over. sin is known in closed form."""
    kernel = 12.0 * torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)
    tanh, sin = (pair_jets(rf.as_activation(name), kernel).values for name in ("tanh", "sin"))
    own = pair_jets(rf.as_activation("tanh"), kernel[:1, :1]).values
    # All of K_11, K_22, K_12 moved together is K moved, for z_1 = z_2.
    if rho == 1.0:
        total = sum(tanh[key][0, 1] for key in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
        assert float(total) == pytest.approx(float(own[1, 0, 0][0, 0]), rel=1e-8)
    odd = float(pair_jets(rf.as_activation("tanh"), kernel.abs()).values[1, 1, 2][0, 1])
    assert float(tanh[1, 1, 2][0, 1]) == pytest.approx(odd * (1 if rho > 0 else -1), rel=1e-5)
    # <sin sin> = exp(-(K_11 + K_22)/2) sinh K_12
    expected = 0.25 * np.exp(-12.0) * np.sinh(12 * rho)
    assert float(sin[1, 1, 2][0, 1]) == pytest.approx(expected, rel=1e-6)


def test_collinear_inputs_of_a_kink_and_silent_ones():
    """relu: <s_a s_b> = c K_aa/2 for z_b = c z_a, c > 0; an input of variance 0 moves nothing."""
    kernel = torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    values = pair_jets(rf.as_activation("relu"), kernel).values
    assert float(values[1, 0, 0][0, 1]) == pytest.approx(1.0)
    assert float(values[1, 0, 0][1, 0]) == pytest.approx(0.25)
    for key in KEYS:
        assert bool(torch.isfinite(values[key]).all())
        if key != (1, 0, 0) and sum(key):
            assert float(values[key].abs().max()) < 1e-12, key
    gelu = pair_jets(rf.as_activation("softplus"), kernel).values
    assert float(gelu[0, 1, 0][2, 0]) == pytest.approx(float(gelu[1, 0, 0][0, 2]))
    assert float(gelu[1, 0, 0][0, 2]) > 0.01


def test_a_jump_is_refused():
    with pytest.raises(ValueError, match="'perceptron' jumps"):
        pair_jets(rf.as_activation("perceptron"), KERNEL)
