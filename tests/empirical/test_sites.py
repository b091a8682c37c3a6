"""Fan-in, a module's own changes, and residual streams, against what is known of each module."""

import pytest
import torch
from torch import nn

from repflow.empirical.call import as_call
from repflow.empirical.draw import fan_in
from repflow.empirical.sites import find_sites, own_change, row_square
from repflow.empirical.streams import find_branches
from repflow.empirical.twin import Twin


class Transposed(nn.Module):
    """A linear map that stores its weight as (n_in, n_out), as GPT-2's Conv1D does."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return x @ self.weight + self.bias


def observe(module, x):
    twin = Twin(module)
    with torch.no_grad():
        _, passages = twin.watch(twin.parameters, as_call(x))
    return twin, passages, find_sites(twin, passages)


@pytest.mark.parametrize(
    ("module", "x", "expected"),
    [
        (nn.Linear(6, 4), torch.zeros(5, 6), {"weight": 6, "bias": 1}),
        (Transposed(), torch.zeros(5, 6), {"weight": 6, "bias": 1}),
        (nn.Conv2d(3, 4, 3), torch.randn(2, 3, 6, 6), {"weight": 27, "bias": 1}),
        (nn.Conv1d(4, 4, 3, groups=4), torch.randn(2, 4, 9), {"weight": 3, "bias": 1}),
        (nn.Embedding(7, 3), torch.arange(5), {"weight": 1}),
        (nn.LayerNorm(6), torch.randn(5, 6), {"weight": 1, "bias": 1}),
    ],
)
def test_fan_in(module, x, expected):
    twin, passages, sites = observe(module, x)
    assert fan_in(sites, passages, twin.parameters) == expected


def test_own_change_and_row_square_of_a_linear_layer(x):
    torch.manual_seed(0)
    module = nn.Linear(6, 4)
    twin, passages, (site,) = observe(module, x)
    step = torch.randn(4, 6)
    change = own_change(site, passages[0], twin.parameters, "weight", step)
    assert torch.allclose(change, x @ step.T, atol=1e-3)
    found = row_square(site, passages[0], twin.parameters, "weight", torch.Generator().manual_seed(0), draws=400)
    assert found == pytest.approx(float((x**2).sum(1).mean()), rel=0.1)


def test_branches_of_a_residual_network(residual, x):
    twin, _, sites = observe(residual, x)
    found = find_branches(twin, twin.parameters, as_call(x), sites)
    assert [branch.site for branch in found] == ["branches.0.3", "branches.1.3", "branches.2.3"]
    h = residual.embed(x)
    for branch, part in zip(found, residual.branches, strict=True):
        change = part(h)
        h = h + change
        assert branch.ratio == pytest.approx(float((change.norm() / h.norm()).detach()), rel=1e-4)


def test_branches_of_attention_and_none_of_a_chain(language, ids, x):
    twin, _, sites = observe(language, ids)
    found = find_branches(twin, twin.parameters, as_call(ids), sites)
    assert [branch.site for branch in found if branch.site != "places"] == ["block.self_attn.out_proj", "block.linear2"]
    chain = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    twin, _, sites = observe(chain, x)
    assert find_branches(twin, twin.parameters, as_call(x), sites) == []


def test_a_projected_shortcut_is_the_stream():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.shortcut = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(6, 8)

        def forward(self, x):
            out = self.b(torch.relu(self.a(x)))
            return out + self.shortcut(x)

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 6), nn.Sequential(Block()), nn.Linear(8, 3))
    x = torch.randn(9, 6)
    twin, _, sites = observe(module, x)
    assert [branch.site for branch in find_branches(twin, twin.parameters, as_call(x), sites)] == ["1.0.b"]
