import numpy as np
import pytest

from repflow.criticality import (
    chi_parallel,
    chi_perpendicular,
    critical,
    fixed_points,
    kernel_map,
    phase_diagram,
    typical_behaviour,
)


def test_typical_behaviour_iterates_the_kernel_map():
    path = typical_behaviour("gelu", 1.9, 0.2, 0.7, 6)
    assert len(path) == 6
    K = 0.7
    for l in range(6):
        assert path.kernel[l] == pytest.approx(K, rel=1e-12)
        assert path.chi_parallel[l] == pytest.approx(chi_parallel("gelu", K, 1.9), rel=1e-12)
        assert path.chi_perpendicular[l] == pytest.approx(chi_perpendicular("gelu", K, 1.9), rel=1e-12)
        K = kernel_map("gelu", K, 1.9, 0.2)


def test_couplings_per_layer_and_the_vertex_of_a_linear_network():
    weight = np.array([5.0, 1.1, 0.9, 1.3])
    path = typical_behaviour("identity", weight, 0.0, 2.0, 4)
    np.testing.assert_allclose(path.kernel, 2.0 * np.array([1, 1.1, 0.99, 1.287]), rtol=1e-12)
    np.testing.assert_allclose(path.vertex / path.kernel**2, [0, 2, 4, 6], rtol=1e-12)
    np.testing.assert_allclose(path.chi_parallel, [1.1, 0.9, 1.3, 1.3], rtol=1e-12)


def test_first_order_is_the_theory_of_finite_chains():
    # theory.md, section 1: tanh, C_W = 1, C_b = 0, K^(1) = 1, five activated layers, n = 8
    path = typical_behaviour("tanh", 1.0, 0.0, 1.0, 6)
    assert path.kernel[-1] == pytest.approx(0.10344, abs=5e-6)
    assert path.vertex[-1] / 8 == pytest.approx(0.004039, abs=5e-7)
    assert path.kernel[-1] + path.kernel_correction[-1] / 8 == pytest.approx(0.09346, abs=5e-6)


def test_overflow_is_infinite_not_an_error():
    path = typical_behaviour("monomial:3", 1.0, 0.0, 2.0, 12)
    assert np.isinf(path.kernel[-1])
    assert np.isnan(path.chi_parallel[-1])


def test_from_zero():
    path = typical_behaviour("tanh", 1.0, 0.0, 0.0, 3)
    np.testing.assert_array_equal(path.kernel, 0.0)
    np.testing.assert_array_equal(path.chi_parallel, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 0.0, 1.0, 0), "depth must be"),
        (([1.0, 1.0], 0.0, 1.0, 3), "C_W must be one number or one for each of the 3 layers"),
        ((1.0, -1.0, 1.0, 3), "C_b must be finite and 0 or more"),
        ((1.0, 0.0, -1.0, 3), "K1 must be finite"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        typical_behaviour("tanh", *arguments)


@pytest.mark.parametrize("name", ["tanh", "gelu", "sigmoid", "elu"])
def test_phase_diagram_agrees_with_the_fixed_points(name):
    C_W, C_b = np.linspace(0.3, 1.9, 5), np.linspace(0.02, 0.6, 4)
    diagram = phase_diagram(name, C_W, C_b)
    assert diagram.K_star.shape == (5, 4)
    for i, weight in enumerate(C_W):
        for j, bias in enumerate(C_b):
            (point,) = fixed_points(name, weight, bias)
            assert diagram.K_star[i, j] == pytest.approx(point.K, rel=1e-5)
            assert diagram.chi_parallel[i, j] == pytest.approx(point.chi_parallel, rel=1e-5)
            assert diagram.chi_perpendicular[i, j] == pytest.approx(point.chi_perpendicular, rel=1e-5)


def test_phases_of_tanh():
    diagram = phase_diagram("tanh", [0.5, 1.0, 3.0], [0.0, 0.3])
    np.testing.assert_array_equal(diagram.phase, [["ordered", "ordered"], ["critical", "ordered"], ["chaotic"] * 2])
    assert diagram.K_star[0, 0] == 0
    assert diagram.xi_perpendicular[0, 0] == pytest.approx(1 / np.log(2))


def test_phases_of_scale_invariant_and_diverging():
    diagram = phase_diagram("relu", [1.0, 2.0, 2.5], [0.0, 0.5], K1=3.0)
    np.testing.assert_array_equal(diagram.phase, [["ordered", "ordered"], ["critical", "diverging"], ["diverging"] * 2])
    assert diagram.K_star[1, 0] == 3.0
    assert diagram.K_star[0, 1] == pytest.approx(1.0, rel=1e-6)
    assert np.isnan(diagram.chi_parallel[2, 0])


def test_the_critical_line():
    diagram = phase_diagram("tanh", [1.0], [0.0])
    K, C_W, C_b = diagram.line_K, diagram.line_C_W, diagram.line_C_b
    valid = ~np.isnan(K) & (K > 1e-2) & (K < 10)
    assert valid.sum() > 20
    for k, weight, bias in zip(K[valid], C_W[valid], C_b[valid], strict=True):
        assert kernel_map("tanh", k, weight, bias) == pytest.approx(k, rel=1e-9)
        assert chi_perpendicular("tanh", k, weight) == pytest.approx(1.0, rel=1e-9)
    gelu = critical("gelu")
    diagram = phase_diagram("gelu", [1.0], [0.0])
    near = np.nanargmin(np.abs(diagram.line_K - gelu.K_star))
    assert diagram.line_C_W[near] == pytest.approx(gelu.C_W, abs=0.01)
    assert not len(phase_diagram("perceptron", [1.0], [0.0]).line_K)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [0.0]), "C_W must be a one-dimensional array"),
        (([1.0], [[0.0]]), "C_b must be a one-dimensional array"),
        (([-1.0], [0.0]), "C_W must be finite and 0 or more"),
        (([1.0], [0.0], 0.0), "K1 must be from"),
    ],
)
def test_phase_diagram_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        phase_diagram("tanh", *arguments)


@pytest.mark.parametrize("name", ["tanh", "gelu", "elu"])
def test_agrees_with_flow(name):
    """The recursion for any number of inputs is another implementation of the same three lines."""
    from repflow.activation import as_activation
    from repflow.network import Layer, Network
    from repflow.recursion import flow

    sigma, width, depth = as_activation(name), 16, 6
    hidden = [Layer(1 if l == 0 else width, width, 1.8, 0.1, activation=sigma) for l in range(depth - 1)]
    network = Network((*hidden, Layer(width, 1, 1.8, 0.1)))
    path = typical_behaviour(name, 1.8, 0.1, 1.9, depth)
    for l, layer in enumerate(flow(network, np.ones((1, 1)), order=1)):
        assert path.kernel[l] == pytest.approx(float(layer.kernel[0, 0]), rel=1e-9)
        assert path.vertex[l] == pytest.approx(float(layer.vertex[0, 0, 0, 0]), rel=1e-7)
        assert path.kernel_correction[l] == pytest.approx(float(layer.kernel_correction[0, 0]), rel=1e-6)
