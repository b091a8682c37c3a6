"""Linear training against torch.optim on models that are linear, against Monte Carlo, and against wide networks."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import repflow as rf
from repflow.training import Curves, LinearTraining, fitted, train_recorded


def problem(inputs=12, features=30, outputs=3, seed=0):
    """Features (N, P) whose kernel has a spread spectrum, and one-hot targets."""
    random = np.random.default_rng(seed)
    phi = random.standard_normal((inputs, features)) * np.geomspace(1.0, 0.05, features)
    return phi, np.eye(outputs)[random.integers(outputs, size=inputs)]


@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("outputs", [3, 1])
def test_a_linear_model_trained_by_torch(momentum, outputs):
    phi, y = problem(outputs=outputs)
    if outputs == 1:
        y = 2.0 * (np.arange(len(phi))[:, None] % 2) - 1.0
    model = nn.Linear(phi.shape[1], outputs, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(np.random.default_rng(1).standard_normal((outputs, phi.shape[1]))))
    x = torch.from_numpy(phi)
    linear = LinearTraining(phi @ phi.T, 1e-9, momentum)
    linear = LinearTraining(phi @ phi.T, 0.6 * linear.edge, momentum)
    optimizer = torch.optim.SGD(model.parameters(), lr=linear.learning_rate, momentum=momentum)
    initial = model(x).detach().numpy()
    run = train_recorded(model, optimizer, x, torch.from_numpy(y), lambda loss, accuracy: False, at_most=80)
    predicted = linear.curves(initial, y, lambda loss, accuracy: False, at_most=80)
    assert run.steps == predicted.steps == 80
    assert np.allclose(run.loss, predicted.loss, rtol=1e-9, atol=1e-12)
    assert np.array_equal(run.accuracy, predicted.accuracy)
    assert len(set(run.accuracy)) > 2


def test_the_edge_is_where_training_stops_shrinking():
    phi, y = problem()
    for momentum in (0.0, 0.8):
        edge = LinearTraining(phi @ phi.T, 1e-9, momentum).edge
        for share, grows in ((0.9, False), (1.1, True)):
            model = nn.Linear(phi.shape[1], 3, bias=False).double()
            nn.init.ones_(model.weight)
            optimizer = torch.optim.SGD(model.parameters(), lr=share * edge, momentum=momentum)
            run = train_recorded(
                model,
                optimizer,
                torch.from_numpy(phi),
                torch.from_numpy(y),
                lambda loss, accuracy: False,
                at_most=600,
            )
            assert (run.loss[-1] > run.loss[0]) == grows
    with pytest.raises(ValueError, match="edge of stability"):
        LinearTraining(phi @ phi.T, 1.001 * edge, 0.8)


def test_a_run_that_diverges_ends():
    phi, y = problem()
    model = nn.Linear(phi.shape[1], 3, bias=False).double()
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
    run = train_recorded(model, optimizer, torch.from_numpy(phi), torch.from_numpy(y), at_most=2000)
    assert run.steps < 200
    assert not np.isfinite(run.loss[-1])


def test_mean_loss_is_the_mean_over_gaussian_outputs():
    phi, y = problem()
    kernel = np.eye(len(phi)) * 0.3 + 0.7
    linear = LinearTraining(phi @ phi.T, 1.0, 0.5)
    root = np.linalg.cholesky(kernel)
    random = np.random.default_rng(2)
    losses = np.array(
        [
            linear.curves(root @ random.standard_normal(y.shape), y, lambda loss, accuracy: False, at_most=6).loss
            for _ in range(4000)
        ]
    )
    error = losses.std(0) / np.sqrt(len(losses))
    assert (np.abs(losses.mean(0) - linear.mean_loss(kernel, y, 6)) < 4.5 * error).all()
    assert (error < 0.05 * losses.mean(0)).all()


def test_components_say_where_labels_lie():
    phi, y = problem()
    linear = LinearTraining(phi @ phi.T, 0.1)
    assert linear.components(y).sum() == pytest.approx(1.0)
    assert np.allclose(linear.components(linear.vectors[:, 3:4]), np.eye(len(phi))[3], atol=1e-12)
    assert (np.diff(linear.values) <= 0).all()
    assert np.allclose(phi @ phi.T @ linear.vectors, linear.vectors * linear.values)
    # A label on one eigenvector is fitted at that eigenvalue's pace alone.
    slow = linear.curves(np.zeros((12, 1)), linear.vectors[:, 3:4], lambda loss, accuracy: False, at_most=9).loss
    assert np.allclose(slow[1:] / slow[:-1], (1 - 0.1 * linear.values[3] / 12) ** 2)


def test_steps_and_fitted():
    curve = Curves(np.array([1.0, 0.4, 0.5, 0.1]), np.array([0.2, 0.9, 0.8, 1.0]))
    assert (curve.steps, curve.steps_to_accuracy(0.85), curve.steps_to_accuracy()) == (3, 1, 3)
    assert (curve.steps_to_loss(1.0), curve.steps_to_loss(0.45), curve.steps_to_loss(0.01)) == (0, 1, None)
    f = np.array([[0.3, 0.2], [0.1, 0.4], [0.9, 0.0], [0.0, 0.1]])
    assert fitted(f, np.eye(2)[[0, 1, 1, 1]]) == 0.75
    assert fitted(np.array([[0.1], [-2.0], [0.3]]), np.array([[1.0], [-1.0], [-1.0]])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), 0.1), r"ntk must be a square matrix .* \(2, 3\)"),
        ((np.full((2, 2), np.nan), 0.1), "ntk holds NaN"),
        ((np.eye(2), 0.0), "learning_rate must be .* above 0, got 0.0"),
        ((np.eye(2), float("nan")), "learning_rate"),
        ((np.eye(2), 0.1, 1.0), r"momentum must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearTraining(*arguments)


def test_bad_targets():
    linear = LinearTraining(np.eye(3), 0.1)
    with pytest.raises(ValueError, match="targets must have shape"):
        linear.components(np.zeros(3))
    with pytest.raises(ValueError, match=r"initial has shape \(3, 1\), targets \(3, 2\)"):
        linear.curves(np.zeros((3, 1)), np.zeros((3, 2)))
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="targets has shape"):
        train_recorded(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.ones(4, 2), torch.ones(4, 3))


def network_of(width, hidden=2):
    net = rf.mlp([64, *[width] * hidden, 1], activation="tanh", C_W=1.0, C_b=0.0)
    layers = (dataclasses.replace(net.layers[0], lambda_W=0.5), *net.layers[1:])
    return rf.Network(layers)


def deviation(width, seed, digits):
    """rms of (measured - predicted loss) over the loss at the start, 60 steps; rates set by hand from lambda_W, lambda_b."""
    x, y = digits
    net = network_of(width)
    generator = torch.Generator().manual_seed(seed)
    modules, groups = [], []
    for layer in net.layers:
        linear = nn.Linear(layer.n_in, layer.n_out).double()
        with torch.no_grad():
            std = (layer.C_W / layer.n_in) ** 0.5
            linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator).double() * std)
            linear.bias.zero_()
        modules += [linear, nn.Tanh()]
        groups += [(linear.weight, layer.lambda_W / layer.n_in), (linear.bias, layer.lambda_b)]
    model = nn.Sequential(*modules[:-1])
    ntk = rf.flow(net, x, order=0, tangent=True)[-1].ntk.numpy()
    rate = 0.5 * LinearTraining(ntk, 1e-9).edge
    optimizer = torch.optim.SGD([{"params": [p], "lr": rate * factor} for p, factor in groups])
    inputs = torch.from_numpy(x)
    initial = model(inputs).detach().numpy()
    run = train_recorded(model, optimizer, inputs, torch.from_numpy(y), lambda loss, accuracy: False, at_most=60)
    predicted = LinearTraining(ntk, rate).curves(initial, y, lambda loss, accuracy: False, at_most=60)
    return float(np.sqrt(np.mean((run.loss - predicted.loss) ** 2)) / run.loss[0])


def test_wide_networks_train_as_predicted():
    from repflow.data import load_data

    data = load_data("digits", inputs=20)
    digits = data.x, 2.0 * (data.y[:, None] % 2) - 1.0
    narrow, wide = (np.mean([deviation(width, seed, digits) for seed in range(3)]) for width in (32, 768))
    assert wide < 0.03
    assert narrow > 3 * wide
