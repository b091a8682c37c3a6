"""Other people's modules, unedited: traced, their theory held against sampled initialisations, tuned and trained."""

import pytest
import torch
from tests.graph.sampled import assert_agrees
from tests.third_party.zoo import CLASSES, COLUMNS, SIDE, TOKENS, VOCABULARY, ZOO

import repflow as rf
from repflow.graph import read_graph

NAMES = [other.name for other in ZOO]


def inputs(kind, rows):
    g = torch.Generator().manual_seed(3)
    if kind == "table":
        return torch.randn(rows, COLUMNS, generator=g)
    if kind == "mixed":
        return torch.randn(rows, COLUMNS // 2, generator=g), torch.randint(4, (rows, 2), generator=g)
    if kind == "image":
        return torch.randn(rows, 1, SIDE, SIDE, generator=g)
    tokens = torch.randint(3, VOCABULARY, (rows, TOKENS), generator=g)
    return tokens if kind == "tokens" else {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


@pytest.mark.slow
@pytest.mark.parametrize("other", ZOO, ids=NAMES)
def test_every_kernel_claimed_as_theory_agrees(other):
    """40 draws at width 128: within 5 standard errors and 6/n of the largest entry."""
    module, x = other.make(128), inputs(other.kind, 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    graph = read_graph(module, x)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    flow = rf.flow(graph, x)
    assert any(node.mark == "theory" and node.known for node in flow)
    assert_agrees(module, x, flow, draws=40, width=128)


@pytest.mark.slow
@pytest.mark.parametrize("other", ZOO, ids=NAMES)
def test_it_is_tuned_and_trains_at_lr_one(other):
    module, x = other.make(32), inputs(other.kind, 24)
    rows = torch.arange(24)
    per_token = other.name == "TransformerWrapper"
    y = (rows[:, None] + torch.arange(TOKENS)) % VOCABULARY if per_token else rows % CLASSES
    plan = rf.tune(module, x, y, loss="cross_entropy")
    plan.initialize_(module, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(plan.param_groups(module, optimizer="adamw", lr=1.0))
    module.eval()  # no dropout: the losses of two steps are compared
    losses = []
    for _ in range(30):
        found = module(**x) if isinstance(x, dict) else module(*x) if isinstance(x, tuple) else module(x)
        logits = getattr(found, "logits", found)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), y.flatten())
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(map(torch.isfinite, torch.tensor(losses)))
    assert losses[-1] < 0.7 * losses[0]
