"""The rule in measured form: the same as the computed one for a chain."""

import math

import pytest
import torch
from torch import nn

import repflow as rf
from repflow.empirical.call import as_call
from repflow.empirical.twin import Twin
from repflow.tuning.couplings import gains_of, held_kernel
from repflow.tuning.measured import equivalent_depth, measured_rates
from repflow.tuning.modules import aims_of, examine
from repflow.tuning.rates import aims_for, feature_change
from repflow.tuning.targets import loss_scale


def measured(model, plan, x, y, loss):
    """The measured rates of a chain, drawn as its computed plan says."""
    twin, call = Twin(model), as_call(x)
    anatomy, outputs = examine(twin, call, y, torch.arange(len(x)), len(x), loss)

    def initialize(generator):
        plan.initialize_(model, generator)
        return {name: p.detach().clone() for name, p in model.named_parameters()}

    scale, s = loss_scale(loss, outputs.count), plan.scaling
    held = held_kernel(plan.network.activations) is not None
    aims = aims_for((), held=len(plan.network.activations)) if held else aims_of(twin, anatomy)
    return measured_rates(twin, call, anatomy, initialize, outputs, scale, None, s, 8, aims, scale.margin)


@pytest.mark.parametrize(
    ("activation", "hidden", "loss"),
    [(nn.Tanh, 3, "mse"), (nn.ReLU, 3, "mse"), (nn.Tanh, 6, "cross_entropy"), (nn.ReLU, 4, "mse_mean")],
)
def test_a_chain_has_the_computed_rates(activation, hidden, loss):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(24, 20, generator=generator), torch.arange(24) % 5
    layers, n_in = [], 20
    for _ in range(hidden):
        layers += [nn.Linear(n_in, 256), activation()]
        n_in = 256
    model = nn.Sequential(*layers, nn.Linear(256, 5))
    plan = rf.tune(model, x, y, loss=loss)
    found = measured(model, plan, x, y, loss)
    # The depth of the critical chain with the same response: deeper where changes grow on their way up.
    response = feature_change([1.0] * hidden, gains_of(plan.network))
    assert found.depth == pytest.approx(equivalent_depth(response), rel=0.1)
    assert found.scaling == pytest.approx(plan.scaling, abs=0.1)
    rough = 0.35 if held_kernel(plan.network.activations) else 0.25  # changes are no small, random differences
    assert found.edge == pytest.approx(plan.edge, rel=rough)
    assert found.kappa == pytest.approx(plan.kappa, rel=rough)
    for entry in plan.parameters:
        group = found.groups[entry.name]
        assert group.sgd == pytest.approx(entry.sgd, rel=rough), entry.name
        assert group.adam == pytest.approx(entry.adam, rel=rough), entry.name
        assert group.gradient == pytest.approx(entry.gradient, rel=0.4), entry.name
        assert group.trace == pytest.approx(entry.trace, rel=0.15), entry.name
    assert not found.failures


def test_equivalent_depth_inverts_the_response_of_a_chain():
    for layers in (1, 2, 3, 10, 100):
        response = math.sqrt(sum(k * k for k in range(1, layers + 1)))
        assert equivalent_depth(response) == pytest.approx(layers + 1, rel=1e-6)
    assert equivalent_depth(0.0) == 1.0
    assert 1.0 < equivalent_depth(0.3) < 2.0
