"""Modules of other people's packages, unedited: planned, drawn, trained at lr = 1.0 with no sweep, and diagnosed."""

import math

import pytest
import torch
from tests.third_party.data import batch, logits
from tests.third_party.survey import NARROW, ROWS, trained
from tests.third_party.zoo import ZOO

import repflow as rf
from repflow.tuning.diagnosis import diagnose


@pytest.mark.parametrize("other", ZOO, ids=lambda other: other.name)
def test_it_learns_at_lr_one(other):
    run = trained(other.make(NARROW), *batch(other.kind, ROWS))
    assert run.plan.measured == (other.name != "MLP")
    assert all(map(math.isfinite, run.losses))
    # Tokens are predicted from those before them: the first ones cannot be known.
    assert run.losses[-1] < (0.5 if other.kind == "tokens" else 0.05) * run.losses[0]


@pytest.mark.parametrize("other", ZOO, ids=lambda other: other.name)
def test_its_diagnosis_is_whole(other):
    module, (x, y) = other.make(NARROW), batch(other.kind, 16)
    plan = rf.tune(module, x, y, loss="cross_entropy")
    found = diagnose(module, x, y, plan, draws=2)
    assert not found.failures
    assert found.draws == 2
    assert [entry.name for entry in found.tensors] == [e.name for e in plan.parameters if e.tied_to is None]
    assert all(entry.mean_square > 0 for entry in found.modules)
    for entry in found.tensors:
        assert all(map(math.isfinite, (entry.gradient, entry.ntk_trace, entry.ntk_eigenvalue))), entry
        assert entry.ntk_trace >= entry.ntk_eigenvalue * (1 - 1e-6) >= 0, entry
    # What backpropagation reaches has a part of the tangent kernel, and nothing else.
    plan.initialize_(module, torch.Generator().manual_seed(1))
    module.eval()
    weights = torch.randn(logits(module, x).shape, generator=torch.Generator().manual_seed(2))
    (logits(module, x) * weights).sum().backward()
    largest = max(float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None)
    for name, parameter in module.named_parameters():
        reached = parameter.grad is not None and float(parameter.grad.abs().max()) > 1e-5 * largest
        assert reached == (found[name].ntk_trace > 1e-9 * sum(e.ntk_trace for e in found.tensors)), name
    text = found.table()
    assert all(entry.path in text for entry in found.modules)
