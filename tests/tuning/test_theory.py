"""What plans predict, against real networks: the tangent kernel by groups, the first step, gradients, fluctuations."""

import dataclasses
import math

import pytest
import torch
from tests.tuning.simulate import half_square, linears, model_of, ntk_parts, own_changes, rates_of, sharpness
from torch import nn

import repflow as rf
from repflow.tuning.fluctuation import relative_variance
from repflow.tuning.tangent import gradient_sizes, hidden_changes, layer_kernels


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "sin", "leaky_relu:0.2"])
def test_the_groups_add_up_to_the_tangent_kernel_of_flow(activation, digits):
    x = digits[0][:8]
    factors = {"lambda_W": [0.3, 1.0, 2.0, 0.7], "lambda_b": [0.5, 0.0, 1.5, 0.2]}
    net = rf.mlp([64, 30, 20, 40, 5], activation, C_W=1.3, C_b=0.2, **factors)
    kernels, flow = layer_kernels(net, x), rf.flow(net, x, order=0, tangent=True)
    total = sum(
        layer.lambda_W * part.weights + layer.lambda_b * part.biases
        for layer, part in zip(net.layers, kernels, strict=True)
    )
    assert torch.allclose(total, flow[-1].ntk, rtol=1e-9, atol=1e-12)
    for part, layer in zip(kernels, flow, strict=True):
        assert torch.allclose(part.kernel, layer.kernel, rtol=1e-9, atol=1e-12)


def test_shares_of_the_table_are_those_of_the_kernels(digits):
    x, y = digits
    model = model_of((64, 30, 30, 10), nn.Tanh)
    plan = rf.tune(model, x, y, scaling=1.0)
    total = sum(entry.trace for entry in plan.parameters)
    assert total == pytest.approx(1)
    # One measured network in a hundred more, wide enough to be near the infinite one.
    wide = model_of((64, 800, 800, 10), nn.Tanh)
    plan = rf.tune(wide, x, y, scaling=0.0)
    plan.initialize_(wide, generator(0))
    traces = [
        (rate * float(part.diagonal().sum()))
        for pair, rates in zip(ntk_parts(wide, x), rates_of(plan, wide), strict=True)
        for part, rate in zip(pair, rates, strict=True)
    ]
    measured = [trace / sum(traces) for trace in traces]
    assert [entry.trace for entry in plan.parameters] == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
def test_each_group_of_a_real_network(activation, digits):
    """Mean over 10 networks and over outputs of J J^T, group by group."""
    x = digits[0][:16]
    model = model_of((64, 300, 300, 4), activation)
    plan = rf.tune(model, x, scaling=0.0)
    sums = None
    for seed in range(10):
        plan.initialize_(model, generator(seed))
        found = [
            [p.reshape(16, 4, 16, 4).diagonal(dim1=1, dim2=3).mean(-1) for p in pair] for pair in ntk_parts(model, x)
        ]
        sums = (
            found
            if sums is None
            else [[a + b for a, b in zip(s, f, strict=True)] for s, f in zip(sums, found, strict=True)]
        )
    widths = (64, 300, 300)
    for (weights, biases), part, n_in in zip(sums, layer_kernels(plan.network, x), widths, strict=True):
        for measured, predicted in ((weights / 10 / n_in, part.weights), (biases / 10, part.biases)):
            assert float((measured - predicted).norm() / predicted.norm()) < 0.1


def first_step(plan, model, x, y):
    """Predicted relative changes of the hidden layers and sizes of gradients, with e = f - y and f as initialised."""
    net, s = plan.network, plan.scaling
    widths, factor = net.widths, net.widths[-2] ** plan.scaling
    head = net.layers[-1]
    base = rf.Network((*net.layers[:-1], dataclasses.replace(head, C_W=head.C_W * factor, C_b=head.C_b * factor)))
    kernels = layer_kernels(base, x)
    errors = y @ y.T + widths[-1] / factor * kernels[-1].kernel
    lambda_W = [w * n / factor for (w, _), n in zip(rates_of(plan, model), widths[:-1], strict=True)]
    lambda_b = [b / factor for _, b in rates_of(plan, model)]
    changes = hidden_changes(kernels, lambda_W, lambda_b, errors, widths)
    return [c * widths[-2] ** ((s - 1) / 2) for c in changes], gradient_sizes(kernels, errors, widths, s)


@pytest.mark.parametrize(
    ("activation", "hidden", "width", "scaling"),
    [(nn.Tanh, 3, 64, 1.0), (nn.Tanh, 3, 64, 0.0), (nn.Tanh, 6, 128, None), (nn.ReLU, 3, 256, 1.0), (nn.GELU, 2, 256, 1.0)],
)  # fmt: skip
def test_first_step_and_gradients_of_real_networks(activation, hidden, width, scaling, digits):
    """20 networks; each hidden layer's own relative change and each layer's gradient within 15%."""
    x, y = digits
    model = model_of((64, *[width] * hidden, 10), activation)
    plan = rf.tune(model, x, y, scaling=scaling)
    changes, gradients = first_step(plan, model, x, y)
    measured, squares = [], []
    for seed in range(20):
        plan.initialize_(model, generator(seed))
        measured.append(own_changes(plan, model, x, y))
        squares.append([[float((p.grad**2).mean()) for p in (m.weight, m.bias)] for m in linears(model)])
    rms = torch.tensor(measured, dtype=torch.float64).square().mean(0).sqrt().tolist()
    assert rms == pytest.approx(changes, rel=0.15)
    found = torch.tensor(squares, dtype=torch.float64).mean(0).sqrt()
    assert torch.allclose(found, torch.tensor(gradients, dtype=torch.float64), rtol=0.15)


def test_kappa_of_the_plan_adds_up_the_changes(digits):
    """At s = 1, where f is small beside y: kappa holds the labels less their mean, each layer's change with those below."""
    x, y = digits
    model = model_of((64, 256, 256, 256, 10), nn.Tanh)
    plan = rf.tune(model, x, y, scaling=1.0)
    totals = []
    for seed in range(20):
        plan.initialize_(model, generator(seed))
        changes = torch.tensor(own_changes(plan, model, x, y - y.mean(0)), dtype=torch.float64)
        totals.append(float(changes.cumsum(0).norm()))
    assert sum(totals) / 20 == pytest.approx(plan.kappa, rel=0.15)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
def test_initial_sharpness(activation, digits):
    """One output, 3 hidden layers of 256, s = 0, full batch: mean of 20 networks within 10%."""
    x, y = digits[0], (2.0 * (digits[1].argmax(1) % 2) - 1)[:, None].double()
    model = model_of((64, 256, 256, 256, 1), activation)
    plan = rf.tune(model, x, y, scaling=0.0)
    measured = []
    for seed in range(20):
        plan.initialize_(model, generator(seed))
        measured.append(sharpness(plan, model, x))
    assert sum(measured) / 20 == pytest.approx(2.0 / plan.max_learning_rate(), rel=0.1)


@pytest.mark.parametrize(
    ("activation", "hidden", "width"), [("tanh", 3, 64), ("tanh", 10, 64), ("relu", 3, 64), ("gelu", 2, 64), ("silu", 3, 96)]
)  # fmt: skip
def test_fluctuation_of_the_output_kernel(activation, hidden, width, digits):
    """Standard deviation between seeds relative to the mean, within 10% where nu (L - 1)/n <= 0.3."""
    layer = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}[activation]
    x = digits[0][:4]
    plan = rf.tune(model_of((64, *[width] * hidden, 10), layer), x)
    assert rf.critical(activation).nu * hidden / width <= 0.3
    ensemble = rf.sample(plan.network, x, networks=20_000, seed=1, method="gram")[-1]
    covariance, mean = ensemble.kernel_covariance(), ensemble.mean_kernel()
    measured = math.sqrt(sum(covariance[a, a, a, a] / mean[a, a] ** 2 for a in range(4)) / 4)
    assert plan.fluctuation == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "elu", "selu", "perceptron"])
def test_relative_variance_is_the_diagonal_of_the_vertex(activation, digits):
    x = torch.cat([digits[0][:3], torch.zeros(1, 64, dtype=torch.float64)])
    net = rf.mlp([64, 30, 20, 50, 3], activation, C_W=1.7, C_b=0.0 if activation in ("relu", "tanh") else 0.1)
    output = rf.flow(net, x, order=1)[-1]
    vertex, kernel = output.vertex, output.kernel.diagonal()
    expected = torch.stack([vertex[a, a, a, a] for a in range(4)]) / 50 / kernel.clamp(min=1e-300) ** 2
    expected = torch.where(kernel > 0, expected, 0.0)
    assert torch.allclose(relative_variance(net, x), expected, rtol=1e-8, atol=1e-12)


def test_the_gradients_are_of_the_loss_that_is_named(digits):
    """nn.MSELoss and nn.CrossEntropyLoss in 20 real networks, at s = 1 where f is small."""
    x, y = digits
    classes = y.argmax(1)
    model = model_of((64, 256, 256, 10), nn.Tanh)
    losses = {
        "mse": lambda f: half_square(nn.Identity(), f, y),
        "mse_mean": lambda f: nn.functional.mse_loss(f, y),
        "cross_entropy": lambda f: nn.functional.cross_entropy(f, classes),
    }
    for name, loss in losses.items():
        plan = rf.tune(model, x, classes, scaling=1.0, loss=name)
        squares = []
        for seed in range(20):
            plan.initialize_(model, generator(seed))
            model.zero_grad()
            loss(model(x)).backward()
            squares.append([float((p.grad**2).mean()) for p in model.parameters()])
        measured = torch.tensor(squares, dtype=torch.float64).mean(0).sqrt().tolist()
        assert measured == pytest.approx([entry.gradient for entry in plan.parameters], rel=0.15)
