"""<s^(i) s^(j) s^(k) s^(l)> with s' of activations that have a kink, and its error estimate, against nested quadrature
that is shown converged.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from repflow.activation import as_activation
from repflow.expectation.derived import derived
from repflow.expectation.four_point_tensors import four_point_tensors
from repflow.expectation.planar import planar_moments, planar_products

SCALE_INVARIANT = ("relu", "leaky_relu:0.2", "abs")
FEW = [(0, 0, 1, 1), (0, 1, 0, 1), (1, 1, 1, 1)]
#: E[s s s' s'], E[s s' s s'] and E[s' s' s' s'] for covariances of conftest.py, from reference.py at 20 and 24 nodes a
#: panel, which agree to the digits shown.
PINNED = {
    ("two repeated", "relu"): (0.446591611207, 0.35018257924, 0.206813966221),
    ("two repeated", "leaky_relu:0.2"): (0.519375199735, 0.284379261472, 0.230599751269),
    ("two repeated", "abs"): (2.69490927117, -0.958725088886, 1.0),
    ("repeated", "relu"): (0.352654870084, 0.311608560828, 0.162916640018),
    ("repeated", "leaky_relu:0.2"): (0.468207466579, 0.243177752604, 0.203593277853),
    ("repeated", "abs"): (1.58852278795, -0.782109667027, 0.579709299612),
    ("one zero", "relu"): (0.0, 0.0, 0.0),
    ("one zero", "leaky_relu:0.2"): (-0.0141243837612, 0.0, 0.0450061567444),
    ("one zero", "abs"): (0.0, 0.0, 0.0),
    ("all collinear", "relu"): (0.0, 0.0, 0.0),
    ("all collinear", "leaky_relu:0.2"): (-0.0718868502446, 0.00795411122719, 0.104),
    ("all collinear", "abs"): (0.69121971389, -0.076481838723, -1.0),
}


def _found(name, covariance):
    """E of the four different inputs by orders, and the largest error of all quadruples."""
    result = four_point_tensors(as_activation(name), torch.as_tensor(covariance), FEW)
    return {orders: float(result.values[orders][0, 1, 2, 3]) for orders in FEW}, result.error


@pytest.mark.parametrize(("case", "name"), list(PINNED))
def test_scale_invariant_values_of_degenerate_quadruples(covariances, case, name):
    found, _ = _found(name, covariances[case])
    np.testing.assert_allclose([found[orders] for orders in FEW], PINNED[case, name], rtol=1e-10, atol=1e-10)


def _check_scale_invariant(reference, name, covariance):
    found, error = _found(name, covariance)
    for orders in FEW:
        expected, bound = reference.mixed(name, orders, covariance, check=1e-7)
        assert abs(found[orders] - expected) <= (error + 1e-7) * bound, orders
    assert error <= 1e-5


@pytest.mark.parametrize("case", ["isotropic", "anti-parallel", "plane", "nearly repeated", "three repeated"])
def test_scale_invariant(reference, covariances, case):
    _check_scale_invariant(reference, "leaky_relu:0.2", covariances[case])


@pytest.mark.slow
@pytest.mark.parametrize("name", SCALE_INVARIANT)
def test_scale_invariant_slow(reference, covariance, name):
    _check_scale_invariant(reference, name, covariance)


@pytest.mark.parametrize("case", ["isotropic", "repeated", "two repeated", "one zero", "all collinear"])
@pytest.mark.parametrize("name", ["hardtanh", "elu", "elu:0.5", "selu", "hardswish"])
def test_other_kinks(reference, covariances, name, case):
    found, error = _found(name, covariances[case])
    for orders in FEW:
        expected, bound = reference.mixed(name, orders, covariances[case])
        assert abs(found[orders] - expected) <= (error + 1e-8) * bound, orders
    assert error <= 5e-6


@pytest.mark.slow
@pytest.mark.parametrize("case", ["0.99", "unequal", "repeated to 1e-3", "three repeated", "negative"])
@pytest.mark.parametrize("name", ["hardtanh", "elu", "elu:0.5", "selu", "hardswish", "softsign"])
def test_other_kinks_slow(reference, covariances, name, case):
    found, error = _found(name, covariances[case])
    for orders in FEW:
        expected, bound = reference.mixed(name, orders, covariances[case], check=1e-6)
        assert abs(found[orders] - expected) <= (error + 1e-6) * bound, orders


def test_an_error_of_three_inputs_within_an_angle_is_told():
    x = np.random.default_rng(1).standard_normal((4, 6))
    x[1], x[2], x[3] = x[0] + 1e-5 * x[1], x[0] + 2e-4 * x[2], x[0] + 1e-3 * x[3]
    assert _found("relu", x @ x.T)[1] > 1e-7


def _plane(seed, gap):
    x = np.random.default_rng(seed).standard_normal((4, 2))
    x[1] = x[0] + gap * x[1]
    return torch.as_tensor(x @ x.T)


@pytest.mark.parametrize("gap", [1.0, 1e-3, 0.0])
def test_arcs_and_nested_integrals_agree_in_a_plane(gap):
    relu = as_activation("leaky_relu:0.2")
    k = _plane(2, gap)[None]
    arrangements = [(0, 0, 0, 0), *FEW]
    arcs = planar_moments(relu, k, arrangements)
    torch.testing.assert_close(planar_products([relu, derived(relu, 1)], k, arrangements), arcs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("name", "gap"), [("hardtanh", 1e-2), ("elu:0.5", 1.0)])
def test_kinks_in_a_plane_against_a_sum_over_both_axes(name, gap):
    k = _plane(3, gap).numpy()
    found, error = _found(name, k)
    loading = np.linalg.svd(k)[0][:, :2] * np.sqrt(np.linalg.svd(k)[1][:2])
    u = (np.arange(-1750, 1750) + 0.5) * 0.004
    w = np.exp(-0.5 * u * u) * 0.004 / np.sqrt(2 * np.pi)
    activation = as_activation(name)
    total = np.zeros(len(FEW))
    for block in np.array_split(np.arange(len(u)), 80):
        z = loading[:, 0, None, None] * u[block, None] + loading[:, 1, None, None] * u
        values = [activation.derivative(torch.as_tensor(z), order).numpy() for order in (0, 1)]
        for number, orders in enumerate(FEW):
            product = np.prod([values[order][slot] for slot, order in enumerate(orders)], axis=0)
            total[number] += w[block] @ product @ w
    np.testing.assert_allclose([found[orders] for orders in FEW], total, atol=5e-5)
    assert error < 1e-5
