"""Modules of other people's packages, unedited: traced, and every kernel by theory held to draws of that module."""

import pytest
import torch
from tests.third_party import survey
from tests.third_party.data import batch
from tests.third_party.zoo import ZOO

import repflow as rf
from repflow.graph import Graph, read_graph
from repflow.network import Network

SLOW = ("PeriodicEmbeddings", "MLPMixer", "BertForSequenceClassification", "TransformerWrapper")
CASES = [pytest.param(o, id=o.name, marks=[pytest.mark.slow] if o.name in SLOW else []) for o in ZOO]


@pytest.mark.parametrize("other", ZOO, ids=lambda other: other.name)
@pytest.mark.filterwarnings("ignore:the weights of .* are not Gaussian")
def test_it_is_traced_and_stays_as_it_was(other):
    module, (x, _) = other.make(64), batch(other.kind, 2)
    module.train()
    held = {name: (id(value), value.detach().clone()) for name, value in module.state_dict(keep_vars=True).items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    graph = rf.trace(module, x)
    assert isinstance(graph, Network if other.name == "MLP" else Graph)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training for part in module.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    now = module.state_dict(keep_vars=True)
    assert list(now) == list(held)
    for name, (number, value) in held.items():
        assert id(now[name]) == number
        assert torch.equal(now[name], value), name
        assert now[name].grad is None
    if isinstance(graph, Graph):
        assert {place.name for place in graph.parameters} == {name for name, _ in module.named_parameters()}
        assert all(node.reason for node in graph.measured)


@pytest.mark.parametrize("other", CASES)
def test_every_kernel_by_theory_agrees_with_sampled_modules(other):
    """Within 5 standard errors and 6/n; attention and batch norms are measured, on draws of their own."""
    found = survey.agreement(other.make(survey.WIDTH), batch(other.kind, 2)[0])
    assert found.theory >= 2
    assert found.theory + found.given > found.measured
    assert found.beyond < 5, found


def test_kernels_of_other_weights_are_rejected(monkeypatch):
    """What the comparison sees: theory of variances that are a fifth too large."""
    other = next(other for other in ZOO if other.name == "FTTransformer")
    module, (x, _) = other.make(survey.WIDTH), batch(other.kind, 2)

    def larger(module, x):
        graph = read_graph(module, x)
        return graph.with_moments({p.name: 1.2 * p.mean_square for p in graph.parameters if p.role == "weight"})

    monkeypatch.setattr(survey, "read_graph", larger)
    assert survey.agreement(module, x).beyond > 8
