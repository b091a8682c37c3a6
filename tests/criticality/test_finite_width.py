import numpy as np
import pytest
import torch

from repflow.activation import as_activation
from repflow.criticality import critical, typical_behaviour


def ratio(name, shift, depth=1000):
    """G1/K in the last layer at critical couplings shifted by shift/n."""
    result = critical(name)
    path = typical_behaviour(name, result.C_W, result.C_b, 1.0, depth, shift)
    return path.kernel_correction[-1] / path.kernel[-1]


def test_tanh_numbers():
    assert ratio("tanh", 0.0) == pytest.approx(-331, abs=0.5)
    assert ratio("tanh", 2 / 3) == pytest.approx(2.44, abs=0.01)


@pytest.mark.parametrize(
    ("name", "c1"), [("tanh", 2 / 3), ("sin", 2 / 3), ("erf", 2 / 3 * np.pi / 4), ("elu", 0.5), ("softsign", 0.5)]
)
def test_the_shift_of_the_K_star_0_class(name, c1):
    result = critical(name, order=1, width=32)
    assert result.C_W == pytest.approx(critical(name).C_W + c1 / 32, rel=1e-9)
    assert result.C_b == 0.0
    assert abs(ratio(name, 0.0)) > 200
    assert abs(ratio(name, result.correction.C_W)) < 4


def test_scale_invariant_needs_none():
    result = critical("relu", order=1, width=8)
    assert (result.C_W, result.C_b) == (2.0, 0.0)
    assert "no correction" in result.correction.note
    correction = typical_behaviour("relu", 2.0, 0.0, 1.0, 30).kernel_correction
    np.testing.assert_allclose(correction, 0.0, atol=1e-11)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "hardswish"])
def test_half_stable_couplings_depend_on_the_layer(name):
    depth, width = 20, 256
    result = critical(name, order=1, width=width, depth=depth)
    plain = critical(name)
    assert result.C_W.shape == result.C_b.shape == (depth,)
    assert result.C_W[:2] == pytest.approx([plain.C_W] * 2)
    shift = result.correction
    path = typical_behaviour(name, plain.C_W, plain.C_b, plain.K_star, depth, shift.C_W, shift.C_b)
    np.testing.assert_allclose(path.kernel_correction, 0.0, atol=1e-9)
    np.testing.assert_allclose(result.C_W, plain.C_W + shift.C_W / width, rtol=1e-12)
    bare = typical_behaviour(name, plain.C_W, plain.C_b, plain.K_star, depth)
    assert abs(bare.kernel_correction[-1]) > 0.1


def test_half_stable_keeps_mean_chi_perpendicular():
    depth, width = 12, 2048
    result = critical("gelu", order=1, width=width, depth=depth)
    path = typical_behaviour("gelu", critical("gelu").C_W, critical("gelu").C_b, result.K_star, depth)
    generator = torch.Generator().manual_seed(0)
    # Average of <s' s'> over a Gaussian G of the predicted variance, at the couplings of the last layer.
    spread = np.sqrt(path.vertex[-2] / width)
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    kernels = result.K_star + spread * nodes
    z = torch.randn(400_000, generator=generator, dtype=torch.float64)
    slope = as_activation("gelu").derivative
    means = np.array([float((slope(z * np.sqrt(K)) ** 2).mean()) for K in kernels])
    at_star = float((slope(z * np.sqrt(result.K_star)) ** 2).mean())
    shift = weights @ means / weights.sum() / at_star  # common noise cancels in the ratio
    assert shift < 1 - 0.001
    assert shift * result.C_W[-1] / critical("gelu").C_W == pytest.approx(1.0, abs=2e-4)


def test_too_deep_for_both_conditions_keeps_the_kernel_alone():
    result = critical("gelu", order=1, width=16, depth=40)
    assert np.all(result.C_b == critical("gelu").C_b)
    assert "no C_b of 0 or more" in result.correction.note
    plain, shift = critical("gelu"), result.correction
    path = typical_behaviour("gelu", plain.C_W, plain.C_b, plain.K_star, 40, shift.C_W, shift.C_b)
    np.testing.assert_allclose(path.kernel_correction, 0.0, atol=1e-9)


def test_logarithmic_fall_needs_a_depth():
    with pytest.raises(ValueError, match="depth must be given"):
        critical("hardtanh", order=1, width=64)
    result = critical("hardtanh", order=1, width=64, depth=200)
    path = typical_behaviour("hardtanh", 1.0, 0.0, 1.0, 200, result.correction.C_W)
    np.testing.assert_allclose(path.kernel_correction, 0.0, atol=1e-12)
    assert np.all(np.diff(result.C_W[1:]) > 0)


def test_where_nothing_is_kept_it_is_said():
    result = critical("sigmoid", order=1, width=64)
    assert result.C_W == critical("sigmoid").C_W
    assert any("no critical behaviour to keep" in text for text in result.warnings)
    unstable = critical(torch.sinh, order=1, width=64)
    assert unstable.C_W == critical(torch.sinh).C_W
    assert "leaves" in unstable.correction.note


@pytest.mark.parametrize("name", ["mish", "tanh"])
def test_chains_at_finite_width_stay_where_the_couplings_put_them(name):
    """Twenty thousand exact Gram chains of one input: corrected couplings bring the mean back, plain ones don't."""
    width, depth, chains = (96, 12, 20_000) if name == "mish" else (32, 30, 20_000)
    sigma, plain = as_activation(name), critical(name)
    result = critical(name, order=1, width=width, depth=depth)
    start = plain.K_star or 1.0
    target = typical_behaviour(name, plain.C_W, plain.C_b, start, depth).kernel[-1]
    drift = []
    for C_W, C_b in ((plain.C_W, plain.C_b), (result.C_W, result.C_b)):
        generator = torch.Generator().manual_seed(1)
        G = torch.full((chains,), start, dtype=torch.float64)
        weight, bias = np.broadcast_to(C_W, depth), np.broadcast_to(C_b, depth)
        for l in range(1, depth):
            z = torch.randn(chains, width, generator=generator, dtype=torch.float64) * G.sqrt()[:, None]
            G = bias[l] + weight[l] * (sigma(z) ** 2).mean(1)
        drift.append(float(G.mean()) / target - 1.0)
    if name == "tanh":
        assert drift[0] < -0.15
        assert abs(drift[1]) < 0.09
    else:
        assert drift[0] > 0.02
        assert abs(drift[1]) < 0.02
