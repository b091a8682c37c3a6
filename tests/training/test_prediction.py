"""The prediction against tensors by brute force, and what must hold of it exactly."""

import numpy as np
import pytest
from tests.training.quadrature import layers

import repflow as rf
from repflow.training.cross_tangent import at_own_layer, next_cross_tangent
from repflow.training.prediction import hidden_change, ntk_change
from repflow.training.residuals import step_sums
from repflow.training.slope_moments import SlopeMoments

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 2))


def network(widths=(3, 20, 30, 12, 2), **couplings):
    given = {"C_W": 1.3, "C_b": 0.2, "lambda_W": 0.7, "lambda_b": 1.4} | couplings
    return rf.mlp(list(widths), activation="tanh", **given)


def by_brute_force(net, x, y, rate, steps):
    found = layers(net, x)
    outputs = net.widths[-1]
    covariance = outputs * found[-1].kernel + y @ y.T
    sums = step_sums(found[-1].ntk, covariance, rate, steps)
    kernels = []
    for l in range(1, net.depth):
        layer = net.layers[l - 1]
        cross = at_own_layer(found[l - 1], layer.n_out / layer.n_in)
        for m in range(l, net.depth):
            two = found[m - 1].moments.two
            moments = SlopeMoments(two(1, 1), two(2, 0), two(2, 2), two(3, 1))
            cross = next_cross_tangent(cross, net.layers[m], found[m - 1].ntk, moments)
        kernels.append(hidden_change(cross, sums, rate, outputs, covariance) / net.widths[l])
    return np.stack(kernels), ntk_change(found[-1], sums, rate, outputs, covariance) / net.widths[-2]


@pytest.mark.parametrize("steps", [1, 6])
def test_tensors_and_moments_are_those_of_brute_force(steps):
    net = network()
    found = rf.representation_learning(net, X, Y, learning_rate=0.3, steps=steps)
    kernels, ntk = by_brute_force(net, X, Y, 0.3, steps)
    np.testing.assert_allclose(found.kernel_change, kernels, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.ntk_change, ntk, rtol=1e-6, atol=1e-9)


def test_first_layer_by_hand():
    """L = 2, one step, no y: B = F = P = Q = 0 at layer 1, so the change is X and Y through one layer."""
    net = network((3, 10, 1))
    rate, n = 0.2, 2
    found = rf.representation_learning(net, X, np.zeros((n, 1)), learning_rate=rate, steps=1)
    first, second = layers(net, X)
    two, slope = first.moments.two, first.moments.slope(1, 0)
    c = net.layers[1].C_W
    through = c * np.einsum("ceg,ag,bc->abce", slope, first.kernel, first.ntk)
    one_side = -rate / n * np.einsum("abcc->ab", through)
    omega = net.layers[1].lambda_W * slope + c * first.ntk[:, :, None] * first.moments.slope(2, 1)
    assert omega.shape == (n, n, n)  # the turning of gradients needs a second step
    square = (rate / n) ** 2 * c * np.einsum("ac,bd,cd,cd->ab", first.ntk, first.ntk, two(1, 1), second.kernel)
    np.testing.assert_allclose(found.kernel_change[0] * 10, square + one_side + one_side.T, rtol=1e-8)


def test_widths_in_one_ratio_scale_the_change_exactly():
    small, large = network((3, 8, 12, 2)), network((3, 80, 120, 2))
    one, ten = (rf.representation_learning(net, X, Y, learning_rate=0.3, steps=4) for net in (small, large))
    np.testing.assert_allclose(one.kernel_change, 10 * ten.kernel_change, rtol=1e-10)
    np.testing.assert_allclose(one.ntk_change, 10 * ten.ntk_change, rtol=1e-10)


def test_order_of_the_inputs_and_of_the_outputs_does_not_matter():
    net = network()
    one = rf.representation_learning(net, X, Y, learning_rate=0.3, steps=4)
    swapped = rf.representation_learning(net, X[::-1].copy(), Y[::-1, ::-1].copy(), learning_rate=0.3, steps=4)
    np.testing.assert_allclose(swapped.kernel_change, one.kernel_change[:, ::-1, ::-1], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(swapped.ntk_change, one.ntk_change[::-1, ::-1], rtol=1e-7, atol=1e-12)


def test_an_input_given_twice_is_the_input_given_once():
    net = network()
    x, y = X[:1], Y[:1]
    once = rf.representation_learning(net, x, y, learning_rate=0.3, steps=4)
    twice = rf.representation_learning(net, np.repeat(x, 2, 0), np.repeat(y, 2, 0), learning_rate=0.3, steps=4)
    np.testing.assert_allclose(twice.kernel_change, np.broadcast_to(once.kernel_change, (3, 2, 2)), rtol=1e-8)
    np.testing.assert_allclose(twice.ntk_change, np.broadcast_to(once.ntk_change, (2, 2)), rtol=1e-8)


def test_small_rates_and_many_steps_are_gradient_flow():
    net = network()
    coarse = rf.representation_learning(net, X, Y, learning_rate=0.002, steps=1000)
    fine = rf.representation_learning(net, X, Y, learning_rate=0.0002, steps=10_000)
    np.testing.assert_allclose(coarse.kernel_change, fine.kernel_change, rtol=5e-3, atol=1e-5)
    end = rf.representation_learning(net, X, Y)
    assert end.learning_rate == pytest.approx(end.edge / 2)
    assert end.loss[1] < 1e-12


def test_no_steps_no_change():
    found = rf.representation_learning(network(), X, Y, steps=0)
    assert not found.kernel_change.any()
    assert not found.ntk_change.any()
    assert found.regime == "frozen"


def test_random_labels_are_their_mean_over_labels():
    """For one input and balanced labels y_a . y_a = 1, whatever the label."""
    net = network()
    labels = rf.representation_learning(net, X[:1], np.array([1]), learning_rate=0.3, steps=3)
    none = rf.representation_learning(net, X[:1], None, learning_rate=0.3, steps=3)
    np.testing.assert_allclose(labels.ntk_change, none.ntk_change, rtol=1e-12)


def test_wrong_arguments():
    net = network()
    with pytest.raises(TypeError, match="network"):
        rf.representation_learning("net", X, Y)
    with pytest.raises(ValueError, match="single layer"):
        rf.representation_learning(network((3, 2)), X, Y)
    with pytest.raises(ValueError, match="kink"):
        rf.representation_learning(rf.mlp([3, 4, 2], activation="relu", C_W=2.0, C_b=0.0), X, Y)
    with pytest.raises(ValueError, match="steps"):
        rf.representation_learning(net, X, Y, steps=-1)
    with pytest.raises(ValueError, match="steps must be a number"):
        rf.representation_learning(net, X, Y, networks=100)
    with pytest.raises(ValueError, match="even"):
        rf.representation_learning(net, X, Y, steps=1, networks=3)
    for rate in (0.0, -1.0, np.inf, "fast"):
        with pytest.raises(ValueError, match="learning_rate"):
            rf.representation_learning(net, X, Y, learning_rate=rate)
    with pytest.raises(ValueError, match="class numbers from 0 to 1"):
        rf.representation_learning(net, X, np.array([0, 2]))
    with pytest.raises(ValueError, match="shape"):
        rf.representation_learning(net, X, Y[:1])
    with pytest.raises(ValueError, match="finite"):
        rf.representation_learning(net, X, np.full((2, 2), np.nan))
    with pytest.raises(TypeError, match="y must hold"):
        rf.representation_learning(net, X, np.array(["a", "b"]))
    with pytest.raises(ValueError, match="edge of stability"):
        rf.representation_learning(net, X, Y, learning_rate=100.0)
