"""``tune`` leaves the module, and the random number generators, exactly as they were."""

import random

import numpy as np
import pytest
import torch
from torch import nn

import repflow as rf


class Busy(nn.Module):
    """A chain whose forward pass counts, draws random numbers, and writes to a buffer and an attribute."""

    def __init__(self, broken=False):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(6, 5), nn.Dropout(0.3), nn.Linear(5, 3)
        self.register_buffer("calls", torch.zeros(2))
        self.count = 0
        self.broken = broken

    def forward(self, x):
        self.calls.add_(1)
        self.count += 1
        torch.randn(3), np.random.rand(), random.random()
        h = self.norm(torch.tanh(self.first(x)))
        if self.broken:
            raise RuntimeError("broken on purpose")
        return self.second(h)


def snapshot(model):
    """Everything about a module that can be compared bit for bit."""
    hooks = [
        {key: list(value.items()) for key, value in vars(part).items() if key.endswith("hooks") and value is not None}
        for part in model.modules()
    ]
    return {
        "parameters": [(n, id(p), p.detach().clone(), p.requires_grad) for n, p in model.named_parameters()],
        "gradients": [None if p.grad is None else (id(p.grad), p.grad.clone()) for p in model.parameters()],
        "buffers": [(n, id(b), b.clone()) for n, b in model.named_buffers()],
        "flags": [part.training for part in model.modules()],
        "hooks": hooks,
        "attributes": [sorted(vars(part)) for part in model.modules()],
        "random": (random.getstate(), np.random.get_state(), torch.get_rng_state()),
        "grad mode": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def busy(broken=False):
    torch.manual_seed(0)
    model = Busy(broken)
    model.norm.eval()
    model.second.bias.requires_grad_(False)
    model.first.weight.grad = torch.randn(5, 6)
    seen = []
    for part in (model, model.first, model.norm):
        part.register_forward_hook(lambda module, args, out: seen.append("forward"))
        part.register_forward_pre_hook(lambda module, args: seen.append("before"))
        part.register_full_backward_hook(lambda module, a, b: seen.append("backward"))
    return model, seen


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_nothing_of_the_module_changes(loss):
    model, seen = busy()
    x = torch.randn(10, 6, requires_grad=True)
    before, rows = snapshot(model), x.detach().clone()
    plan = rf.tune(model, x, loss=loss)
    assert same(snapshot(model), before)
    assert model.count == 0
    assert seen == []
    assert torch.equal(x, rows)
    assert x.grad is None
    plan.param_groups(model, optimizer="adamw")
    plan.table()
    assert same(snapshot(model), before)


@pytest.mark.parametrize("where", ["forward", "data", "targets"])
def test_nothing_changes_after_an_exception(where):
    model, seen = busy(broken=where == "forward")
    x = torch.full((4, 6), float("nan")) if where == "data" else torch.randn(4, 6)
    y = torch.tensor([0, 1, 2, 7]) if where == "targets" else None
    before = snapshot(model)
    with pytest.raises(ValueError):
        rf.tune(model, x, y)
    assert same(snapshot(model), before)
    assert model.count == 0
    assert seen == []


def test_the_snapshot_sees_a_change():
    model, _ = busy()
    before = snapshot(model)
    assert same(snapshot(model), before)
    model(torch.randn(2, 6))
    assert not same(snapshot(model), before)


def test_trace_leaves_the_module_alone_too():
    model, seen = busy()
    before = snapshot(model)
    assert rf.trace(model).widths == (6, 5, 3)
    assert same(snapshot(model), before)
    assert seen == []


def test_a_module_that_cannot_be_copied_is_named():
    class Stubborn(nn.Sequential):
        def __deepcopy__(self, memo):
            raise RuntimeError("not me")

    with pytest.raises(ValueError, match="Stubborn cannot be copied for tracing: not me"):
        rf.tune(Stubborn(nn.Linear(2, 2)), torch.randn(3, 2))
