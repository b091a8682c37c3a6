import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repflow.criticality import chi_parallel, correlation_lengths, critical, fixed_points, kernel_map


def table(points):
    return [(point.K, point.stability) for point in points]


def test_gelu_has_a_tangency_and_a_nearly_critical_companion():
    low, high = fixed_points("gelu", 1.98305826, 0.17292239)
    assert low.K == pytest.approx(3.0350, abs=5e-5)
    assert low.stability == "stable"
    assert 0.9999 < low.chi_parallel < 1
    assert 0.99 < low.chi_perpendicular < 1
    assert high.K == pytest.approx((3 + math.sqrt(17)) / 2, abs=1e-4)  # couplings of 8 decimals move a tangency
    assert high.stability == "stable from above"
    assert high.chi_parallel == 1.0


def test_silu_has_two_extrema_within_one_cell_of_the_scan():
    result = critical("silu")
    low, high = fixed_points("silu", result.C_W, result.C_b)
    assert low.stability == "stable from below"
    assert low.K == pytest.approx(14.320174, abs=1e-5)
    # 14.593104990554 by mpmath at 30 digits
    assert high.K == pytest.approx(14.59310499, abs=1e-5)
    assert high.stability == "stable"


@pytest.mark.parametrize(("K1", "below"), [(3.9, False), (3.2, True)])
def test_gelu_stability_is_what_iteration_does(K1, below):
    result = critical("gelu")
    K = K1
    for _ in range(300):
        following = kernel_map("gelu", K, result.C_W, result.C_b)
        assert following < K
        K = following
    assert bool(K < result.K_star) is below


@pytest.mark.parametrize(
    ("name", "C_W", "C_b", "expected"),
    [
        ("tanh", 1.0, 0.0, [(0.0, "stable")]),
        ("tanh", 0.8, 0.0, [(0.0, "stable")]),
        ("tanh", 1.5, 0.0, [(0.0, "unstable"), (0.286894, "stable")]),
        ("hardtanh", 1.0, 0.0, [(0.0, "stable")]),
        ("elu", 1.0, 0.0, [(0.0, "stable")]),
        ("relu", 2.0, 0.0, [(1.0, "every K")]),
        ("relu", 2.0, 0.1, []),
        ("relu", 1.0, 1.0, [(2.0, "stable")]),
        ("relu", 3.0, 0.0, [(0.0, "unstable")]),
        ("gelu", 2.5, 1.0, []),
        ("selu", 1.0, 0.0, [(0.0, "unstable"), (1.0, "stable")]),
        ("perceptron", 2.0, 0.25, [(1.25, "stable")]),
        ("monomial:2", 1 / 6, 0.5, [(1.0, "stable from below")]),  # K = 1/2 + K^2/2, a double root
        ("monomial:2", 1 / 6, 0.48, [(0.8, "stable"), (1.2, "unstable")]),
        ("monomial:2", 1 / 6, 0.52, []),
        ("monomial:3", 0.02, 0.0, [(0.0, "stable"), (math.sqrt(1 / 0.3), "unstable")]),
    ],
)
def test_known_fixed_points(name, C_W, C_b, expected):
    found = table(fixed_points(name, C_W, C_b))
    assert [stability for _, stability in found] == [stability for _, stability in expected]
    np.testing.assert_allclose([K for K, _ in found], [K for K, _ in expected], rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["tanh", "gelu", "silu", "sigmoid", "elu", "hardtanh", "softplus", "mish"]),
    C_W=st.floats(0.1, 3.0),
    C_b=st.floats(0.0, 1.0),
)
def test_every_fixed_point_is_one_and_its_stability_follows_chi(name, C_W, C_b):
    points = fixed_points(name, C_W, C_b)
    for point in points:
        assert kernel_map(name, point.K, C_W, C_b) == pytest.approx(point.K, rel=1e-8, abs=1e-12)
        assert chi_parallel(name, point.K, C_W) == pytest.approx(point.chi_parallel, rel=1e-6)
        if point.stability == "stable":
            assert point.chi_parallel <= 1
    # Stable and unstable ones alternate: between two stable ones the kernel has to part.
    simple = [point.stability for point in points if point.stability in ("stable", "unstable")]
    if len(simple) == len(points):
        assert all(a != b for a, b in pairwise(simple))


def test_correlation_lengths_off_criticality():
    ordered = correlation_lengths("tanh", 1.5, 0.1)
    assert ordered.phase == "ordered"
    assert ordered.parallel == pytest.approx(-1 / math.log(ordered.fixed_point.chi_parallel))
    chaotic = correlation_lengths("tanh", 1.5, 0.0)
    assert chaotic.phase == "chaotic"
    assert chaotic.fixed_point.K == pytest.approx(0.286894, rel=1e-5)
    assert chaotic.perpendicular == pytest.approx(1 / math.log(chaotic.fixed_point.chi_perpendicular))
    at = correlation_lengths("relu", 2.0, 0.0)
    assert (at.parallel, at.perpendicular, at.phase) == (math.inf, math.inf, "critical")


def test_correlation_length_is_measured_by_a_perturbation():
    C_W, C_b = 1.5, 0.1
    lengths = correlation_lengths("tanh", C_W, C_b)
    small = 1e-5
    K = lengths.fixed_point.K + small
    for _ in range(5):
        K = kernel_map("tanh", K, C_W, C_b)
    assert (K - lengths.fixed_point.K) / small == pytest.approx(math.exp(-5 / lengths.parallel), rel=1e-3)


def test_errors():
    with pytest.raises(ValueError, match="reaches no fixed point at C_W=3"):
        correlation_lengths("relu", 3.0, 0.0)
    with pytest.raises(ValueError, match="K1 must be positive"):
        correlation_lengths("relu", 1.0, 1.0, K1=0.0)
    with pytest.raises(ValueError, match="C_W must be"):
        fixed_points("tanh", -1.0, 0.0)
    with pytest.raises(ValueError, match="unknown"):
        fixed_points("tanhh", 1.0, 0.0)
