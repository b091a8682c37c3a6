"""Tracing a graph and computing its kernels leaves the module, the inputs and the generators as they were."""

import pytest
import torch
from tests.tuning.test_untouched import Busy, same, snapshot
from torch import nn

import repflow as rf
from repflow.graph import observe


class BusyResidual(Busy):
    """A residual network whose forward pass counts, draws, and writes to a buffer, an attribute and its input."""

    def __init__(self, broken=False):
        super().__init__(broken)
        self.middle, self.batch = nn.Linear(5, 5), nn.BatchNorm1d(5)

    def forward(self, x):
        x.mul_(1.0)
        h = self.first(x)
        self.calls.add_(1)
        self.count += 1
        torch.randn(3)
        h = h + self.middle(self.batch(torch.relu_(self.norm(h))))
        if self.broken:
            raise RuntimeError("broken on purpose")
        return {"logits": self.second(h), "hidden": h}


def busy(broken=False):
    torch.manual_seed(0)
    model = BusyResidual(broken)
    model.norm.eval()
    model.second.bias.requires_grad_(False)
    model.first.weight.grad = torch.randn(5, 6)
    seen = []
    for part in (model, model.first, model.batch):
        part.register_forward_hook(lambda module, args, out: seen.append("forward"))
        part.register_forward_pre_hook(lambda module, args: seen.append("before"))
    return model, seen


def test_nothing_of_the_module_changes():
    model, seen = busy()
    x = torch.randn(10, 6)
    before, rows = snapshot(model), x.clone()
    graph = rf.trace(model, x)
    rf.flow(graph, x)
    rf.flow(graph, x, measure=lambda request: torch.eye(10))
    observe(model, x, {name: p.detach() + 1 for name, p in model.named_parameters()})
    assert same(snapshot(model), before)
    assert model.count == 0
    assert seen == []
    assert torch.equal(x, rows)


@pytest.mark.parametrize("where", ["forward", "data", "measure"])
def test_nothing_changes_after_an_exception(where):
    model, seen = busy(broken=where == "forward")
    x = torch.full((4, 6), float("nan")) if where == "data" else torch.randn(4, 6)
    before = snapshot(model)

    def measure(request):
        raise ArithmeticError("measured on purpose")

    with pytest.raises((ValueError, ArithmeticError)):
        rf.flow(rf.trace(model, x), x, measure=measure)
    assert same(snapshot(model), before)
    assert model.count == 0
    assert seen == []


def test_parameters_that_a_forward_pass_writes_to_stay():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.norm, self.head = nn.Embedding(5, 8, max_norm=0.1), nn.LayerNorm(8), nn.Linear(8, 2)

        def forward(self, tokens):
            self.head.weight.data.mul_(2.0)
            return self.head(self.norm(self.rows(tokens)))

    torch.manual_seed(0)
    model, tokens = Writing(), torch.tensor([[1, 2, 3]])
    before = snapshot(model)
    graph = rf.trace(model, tokens)
    flow = rf.flow(graph, tokens)
    observe(model, tokens)
    assert same(snapshot(model), before)
    assert flow["rows"].mark == "measured"
    assert "renormalises" in flow["rows"].reason


def test_a_lazy_module_is_refused_before_it_is_run():
    model = nn.Sequential(nn.LazyLinear(4), nn.LayerNorm(4))
    with pytest.raises(ValueError, match=r"lazy (layer|parameter) '0"):
        rf.trace(model, torch.randn(2, 3))
    assert isinstance(model[0].weight, nn.UninitializedParameter)
