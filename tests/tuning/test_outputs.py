"""Several outputs raise the sharpness: the largest eigenvalue of real networks' curvature over all outputs, by power iteration."""

import pytest
import torch
from tests.tuning.simulate import linears, model_of, rates_of
from torch import nn

import repflow as rf
from repflow.tuning import constants
from repflow.tuning.outputs import wishart_edge


def measured_sharpness(plan, model, x, iterations=40):
    """Largest eigenvalue of J^T J/N in the units of the groups' rates, over all outputs."""
    names = [name for name, _ in model.named_parameters()]
    params = [p.detach() for m in linears(model) for p in (m.weight, m.bias)]
    roots = [rate**0.5 for pair in rates_of(plan, model) for rate in pair]
    generator = torch.Generator().manual_seed(0)
    vector = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in params]

    def outputs(values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    for _ in range(iterations):
        _, pushed = torch.func.jvp(outputs, (params,), ([v * r for v, r in zip(vector, roots, strict=True)],))
        pulled = torch.func.vjp(outputs, params)[1](pushed)[0]
        vector = [g * r for g, r in zip(pulled, roots, strict=True)]
        size = sum((v**2).sum() for v in vector) ** 0.5
        vector = [v / size for v in vector]
    return float(size) / len(x)


def ratio(activation, width, digits, seeds, outputs=10):
    x, y = digits
    y = y if outputs == 10 else (2.0 * (y.argmax(1) % 2) - 1)[:, None].double()
    model = model_of((x.shape[1], width, width, width, outputs), activation)
    plan = rf.tune(model, x, y, scaling=0.0)
    found = [
        measured_sharpness(plan, plan.initialize_(model, torch.Generator().manual_seed(seed)), x)
        for seed in range(seeds)
    ]
    return sum(found) / seeds * plan.max_learning_rate() / 2


@pytest.mark.parametrize(("samples", "dimension"), [(64, 10), (128, 10), (256, 3)])
def test_wishart_edge_is_that_of_drawn_matrices(samples, dimension):
    z = torch.randn(2000, samples, dimension, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    top = torch.linalg.eigvalsh(z.mT @ z / samples)[:, -1]
    assert wishart_edge(samples, dimension) == pytest.approx(float(top.mean()), rel=0.03)


def test_limits_of_the_wishart_edge():
    assert wishart_edge(1e9, 10) == pytest.approx(1.0, abs=1e-3)
    assert wishart_edge(0.5, 10) == 10.0


def test_one_output_is_left_alone_and_ten_are_not(digits):
    x, y = digits
    edges = []
    for outputs in (1, 10):
        model = model_of((x.shape[1], 64, 64, outputs), nn.Tanh)
        targets = y[:, :outputs]
        edges.append(rf.tune(model, x, targets, scaling=0.0).max_learning_rate())
    assert edges[0] == pytest.approx(1 / constants.EDGE_LIMIT)  # at s = 0 stability binds
    assert edges[1] < 0.8 * edges[0]


def test_ten_outputs_of_a_few_networks(digits):
    assert ratio(nn.ReLU, 256, digits, seeds=4) == pytest.approx(1.0, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [1, 10])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
def test_sharpness_at_width_256(activation, outputs, digits):
    """Mean of 20 networks within 10%."""
    assert ratio(activation, 256, digits, 20, outputs) == pytest.approx(1.0, rel=0.1)
