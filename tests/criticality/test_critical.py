import math

import numpy as np
import pytest
import torch
from torch import nn

from repflow import results
from repflow.activation import activation_names
from repflow.criticality import chi_parallel, chi_perpendicular, critical, kernel_map, typical_behaviour

EVERY = [f"{name}:3" if name == "monomial" else name for name in activation_names()]


@pytest.mark.parametrize(
    ("name", "K_star", "C_W", "C_b"),
    [
        ("gelu", (3 + math.sqrt(17)) / 2, 1.98305826, 0.17292239),
        ("silu", 14.32017362, 1.98800468, 0.55514317),  # digits by mpmath at 30 digits
        ("mish", 1.67016913, 2.01352407, 0.09452179),
    ],
)
def test_half_stable_points_to_eight_digits(name, K_star, C_W, C_b):
    result = critical(name)
    assert result.universality_class == "half-stable"
    assert not result.stable
    assert result.K_star == pytest.approx(K_star, abs=6e-9)
    assert result.C_W == pytest.approx(C_W, abs=6e-9)
    assert result.C_b == pytest.approx(C_b, abs=6e-9)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("identity", "relu", "abs", "leaky_relu:0.2", "leaky_relu:-1"), "scale-invariant"),
        (("tanh", "sin", "erf", "arctan", "elu", "selu", "softsign", "hardtanh"), "K*=0"),
        (("gelu", "gelu_tanh", "silu", "mish", "hardswish"), "half-stable"),
        (("sigmoid", "softplus", "perceptron", "monomial:2", "monomial:3"), "none"),
    ],
)
def test_classes_of_registered_activations(names, expected):
    for name in names:
        assert critical(name).universality_class == expected, name


@pytest.mark.parametrize("name", EVERY)
def test_what_is_claimed_holds_at_the_fixed_point(name):
    result = critical(name)
    K = 1.0 if result.K_star is None else result.K_star
    assert kernel_map(name, K, result.C_W, result.C_b) == pytest.approx(K, rel=1e-10, abs=1e-12)
    assert chi_parallel(name, K, result.C_W) == pytest.approx(result.chi_parallel, rel=1e-9, abs=1e-12)
    assert chi_perpendicular(name, K, result.C_W) == pytest.approx(result.chi_perpendicular, rel=1e-9)
    if result.universality_class == "none":
        assert result.compromise is not None
        assert result.stable
        assert math.isfinite(min(result.xi_parallel, result.xi_perpendicular))
        assert "no couplings" in result.statement
        assert result.nu is None
    else:
        assert (result.chi_parallel, result.chi_perpendicular) == (1.0, 1.0)
        assert math.isinf(result.xi_parallel)
        assert math.isinf(result.xi_perpendicular)
        assert result.nu is not None
    if result.K_star is not None:
        assert any(point.K == pytest.approx(result.K_star, rel=1e-8, abs=1e-12) for point in result.fixed_points)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda z: torch.tanh(2.0 * z), "K*=0"),
        (lambda z: torch.as_tensor(np.tanh(z.detach().numpy())), "K*=0"),  # no automatic differentiation
        (lambda z: torch.where(z > 0, 3.0 * z, -0.5 * z), "scale-invariant"),
        (lambda z: z * torch.sigmoid(1.702 * z), "half-stable"),
        (lambda z: torch.exp(-z * z), "none"),
        (lambda z: torch.tanh(z) + 0.3, "none"),
        (nn.ReLU6(), "K*=0"),
        (nn.Softshrink(), "half-stable"),
        (nn.Tanhshrink(), "none"),
    ],
)
def test_classes_of_callables(function, expected):
    assert critical(function).universality_class == expected


def test_scaled_silu_follows_from_silu():
    # sigma(z) = silu(1.702 z)/1.702: kernels scale by 1.702^-2, C_W stays
    base, scaled = critical("silu"), critical(lambda z: z * torch.sigmoid(1.702 * z))
    assert scaled.C_W == pytest.approx(base.C_W, rel=1e-9)
    assert scaled.K_star == pytest.approx(base.K_star / 1.702**2, rel=1e-8)
    assert scaled.C_b == pytest.approx(base.C_b / 1.702**2, rel=1e-8)
    assert scaled.nu == pytest.approx(base.nu, rel=1e-8)


def test_scaled_tanh_follows_from_tanh():
    scaled = critical(lambda z: torch.tanh(2.0 * z))
    assert scaled.C_W == pytest.approx(0.25, rel=1e-12)
    assert scaled.coefficient == pytest.approx(0.125, rel=1e-9)


def test_steep_callables_are_resolved():
    steep = critical(lambda z: torch.tanh(100.0 * z))
    assert steep.C_W == pytest.approx(1e-4, rel=1e-7)
    assert steep.coefficient == pytest.approx(5e-5, rel=0.02)
    assert steep.exponent == pytest.approx(1.0, rel=0.01)


def test_a_power_between_the_orders_of_taylor_is_measured():
    # sigma^2 = z^2 (1 - 2 |z|^1.5 + ...): K falls by K^1.75, so as l^(-4/3)
    result = critical(lambda z: z * (1.0 - z.abs() ** 1.5 / (1.0 + z.abs() ** 1.5)))
    assert result.universality_class == "K*=0"
    assert result.exponent == pytest.approx(4 / 3, rel=0.02)


def test_relu6_is_linear_out_to_its_second_kink():
    result = critical(nn.ReLU6())
    assert (result.C_W, result.coefficient) == (pytest.approx(2.0), pytest.approx(18.0))
    assert result.approach.logarithmic
    assert result.nu == pytest.approx(5 / 3)


def test_exponential_outgrows_the_quadrature_and_is_kept_where_it_does_not():
    result = critical(torch.exp)
    assert result.universality_class == "none"
    # <s s> = exp(2 K), <s' s'> the same: chi_perpendicular is half of chi_parallel
    assert result.chi_perpendicular == pytest.approx(0.495, rel=1e-9)
    assert result.C_W == pytest.approx(0.495 * math.exp(-2 * result.K_star), rel=1e-9)


def test_unstable_origin_is_said():
    result = critical(torch.sinh)
    assert (result.universality_class, result.stability, result.stable) == ("K*=0", "unstable", False)
    assert result.nu is None
    assert any("repels" in text for text in result.warnings)
    assert critical("gelu").candidates[-1].stability == "unstable"  # the one at C_W = 4


@pytest.mark.parametrize(
    ("name", "nu"), [("relu", 5), ("identity", 2), ("abs", 2), ("tanh", 2 / 3), ("sin", 2 / 3), ("elu", 2 / 3)]
)
def test_nu(name, nu):
    assert critical(name).nu == pytest.approx(nu, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "exponent", "coefficient"),
    [
        ("tanh", 1, 0.5),
        ("sin", 1, 1.0),
        ("erf", 1, 0.5),
        ("softsign", 2, math.pi / 8),
        ("elu", 2, 2 * math.pi),
        ("selu", 2, None),
        (lambda z: torch.tanh(z) + 0.1 * z * z, 1, 1 / 1.97),
    ],
)
def test_approach_and_nu_against_the_recursion(name, exponent, coefficient):
    result = critical(name)
    assert result.exponent == exponent
    if coefficient is not None:
        assert result.coefficient == pytest.approx(coefficient, rel=1e-9)
    depth = 1500
    path = typical_behaviour(name, result.C_W, result.C_b, 1.0, depth)
    assert path.kernel[-1] * depth**exponent == pytest.approx(result.coefficient, rel=0.015)
    assert path.vertex[-1] / path.kernel[-1] ** 2 / depth == pytest.approx(result.nu, rel=0.01)


def _leaky_clip(z):
    return z.clamp(-1, 1) + 0.25 * (z - z.clamp(-1, 1))


@pytest.mark.parametrize("activation", ["hardtanh", _leaky_clip])
def test_linear_up_to_a_kink_falls_logarithmically(activation):
    result = critical(activation)
    assert result.approach.logarithmic
    assert (result.exponent, result.coefficient) == (0.0, 0.5)
    kernel = typical_behaviour(activation, 1.0, 0.0, 1.0, 1600).kernel
    assert (1 / kernel[1599] - 1 / kernel[399]) / math.log(4) == pytest.approx(1 / 0.5, rel=0.15)


def test_half_stable_approach_against_the_recursion():
    result = critical("mish")  # from below
    distance = 0.02
    l_1 = result.coefficient / -distance  # the layer at which the law passes that distance
    path = typical_behaviour("mish", result.C_W, result.C_b, result.K_star - distance, 2000)
    predicted = result.coefficient / (l_1 + 1999)
    assert path.kernel[-1] - result.K_star == pytest.approx(predicted, rel=0.02)
    at = typical_behaviour("mish", result.C_W, result.C_b, result.K_star, 50)
    assert at.vertex[-1] == pytest.approx(49 * result.nu * result.K_star**2, rel=1e-9)


@pytest.mark.parametrize("spec", ["gelu", "tanh", "relu", "sigmoid", "perceptron"])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", ["c.json", "c.zarr"])
def test_saved_and_loaded(tmp_path, spec, order, name):
    result = critical(spec, order=order, width=64 if order else None, depth=8 if order else None)
    result.save(tmp_path / name)
    again = results.load(tmp_path / name)
    assert again.to_dict() == result.to_dict()
    assert repr(again) == repr(result)


def test_repr_and_html_name_the_essentials():
    result = critical("gelu")
    for text in ("half-stable", "1.983058257", "3.5615528", "stable from above", "3.03498"):
        assert text in repr(result)
        assert text in result._repr_html_()
    assert "free" in repr(critical("relu"))
    assert "<lambda>" not in critical(lambda z: torch.tanh(z))._repr_html_()  # escaped


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 2}, "order must be 0 or 1, got 2"),
        ({"order": True}, "order must be 0 or 1"),
        ({"order": 1}, "width must be given"),
        ({"order": 1, "width": 0}, "width must be a whole number"),
        ({"order": 1, "width": 8}, "depth must be given for order=1"),
        ({"order": 1, "width": 8, "depth": 0}, "depth must be a whole number"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        critical("gelu", **arguments)


def test_a_callable_that_vanishes_is_refused():
    with pytest.raises(ValueError, match="is zero"):
        critical(lambda z: 0.0 * z)
