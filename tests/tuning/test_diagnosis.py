"""``diagnose``: the table of a model in the draws of its plan."""

import pytest
import torch
from torch import nn

import repflow as rf
from repflow.tuning.diagnosis import diagnose


@pytest.fixture
def x():
    return torch.randn(30, 6, generator=torch.Generator().manual_seed(0))


def chain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))


def test_draws_of_the_plan(x):
    model, y = chain(), torch.arange(30) % 3
    plan = rf.tune(model, x, y)
    found = diagnose(model, x, y, plan)
    assert found.draws == 8
    flow = rf.flow(plan.network, x, order=0)
    for path, layer in zip(("0", "2", "4"), flow, strict=True):
        assert found[path].mean_square == pytest.approx(float(layer.kernel.diagonal().mean()), rel=0.3)
    for entry in plan.parameters:
        assert found[entry.name].gradient == pytest.approx(entry.gradient, rel=0.4)


def test_the_weights_as_they_are_and_a_model_that_fails(x):
    model = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(4, 3))
    found = diagnose(model, x)
    assert [module.path for module in found.modules] == ["0", "1"]
    assert list(found.failures) == ["2"]
    working = diagnose(nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 3)), x, loss="cross_entropy")
    assert (working.draws, len(working.modules)) == (1, 3)
    assert not working.failures


def test_a_plan_of_another_model_is_refused(x):
    plan = rf.tune(chain(), x)
    with pytest.raises(ValueError, match="parameter '0.weight' has shape"):
        diagnose(nn.Sequential(nn.Linear(6, 3)), x, plan=plan)
    with pytest.raises(ValueError, match="loss must be one of"):
        diagnose(chain(), x, loss="hinge")
