"""The table of a module: against theory for a chain, complete for others, and partial where something fails."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import repflow as rf
from repflow.empirical import Measurement, measure


def drawing(module, std):
    """Draws of all weights with variance C_W/n_in, no biases."""

    def initialize(generator):
        return {
            name: torch.randn(p.shape, generator=generator) * std / p.shape[-1] ** 0.5 if p.ndim > 1 else 0 * p.detach()
            for name, p in module.named_parameters()
        }

    return initialize


@pytest.mark.parametrize(("activation", "name", "C_W"), [(nn.Tanh, "tanh", 1.0), (nn.ReLU, "relu", 2.0)])
def test_a_chain_has_the_kernels_and_susceptibilities_of_theory(x, activation, name, C_W):
    width, rows = 400, x[:8]
    model = nn.Sequential(nn.Linear(6, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 3))
    net = rf.mlp([6, width, width, 3], activation=name, C_W=C_W, C_b=0.0)
    found = measure(model, rows, initialize=drawing(model, C_W**0.5), draws=8)
    flow = rf.flow(net, rows, order=0)
    for path, layer in zip(("0", "2"), flow, strict=False):
        kernel = np.asarray(layer.kernel)
        assert np.allclose(found[path].kernel, kernel, atol=0.15 * kernel.max()), path
    z = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    roots = np.sqrt(np.diag(np.asarray(flow[1].kernel)))
    slopes = [torch.func.vmap(torch.func.grad(activation()))(z * root) for root in roots]
    sizes = roots**2 / np.sum(roots**2)  # the measured ones are ratios of means over the rows
    perpendicular = np.dot(sizes, [C_W * float((s**2).mean()) for s in slopes])
    assert found["2"].chi_perpendicular == pytest.approx(perpendicular, rel=0.1)
    up, down = (
        np.mean([C_W * float((activation()(z * root * f) ** 2).mean()) for root in roots]) for f in (1.01, 0.99)
    )
    parallel = (up - down) / (0.04 * np.mean(roots**2))
    assert found["2"].chi_parallel == pytest.approx(parallel, rel=0.15)
    assert found.unit_response == pytest.approx(5**0.5, rel=0.15)
    assert not found.failures


def test_every_part_of_a_residual_network_is_measured(residual, x):
    found = measure(residual, x)
    assert [module.path for module in found.modules][:3] == ["embed", "branches.0.0", "branches.0.1"]
    assert [module.order for module in found.modules] == list(range(1, len(found.modules) + 1))
    assert len(found.tensors) == len(list(residual.parameters()))
    assert (found.draws, found.rows) == (1, 20)
    assert not found.failures
    for tensor in found.tensors:
        for quantity in ("gradient", "ntk_trace", "ntk_eigenvalue", "sgd_change", "sign_change", "coherent_change"):
            assert getattr(tensor, quantity) > 0, (tensor.name, quantity)
        assert tensor.ntk_eigenvalue * 20 <= tensor.ntk_trace * (1 + 1e-6)
        assert tensor.sign_change <= tensor.coherent_change * 1.2
    assert found["branches.1.3"].branch > 0
    assert found["branches.1.1"].branch is None
    assert math.isnan(found["embed"].chi_parallel)
    assert math.isnan(found.fluctuation)
    with pytest.raises(KeyError):
        found["nothing"]


def test_a_branch_changes_the_stream_by_less_than_itself(residual, x):
    """Its last weights: by their own change times the branch's share of the stream, up to the norm behind it."""
    found = measure(residual, x)
    last = found["branches.2.3.weight"]
    ratio = last.sgd_features / last.sgd_change
    assert ratio == pytest.approx(found["branches.2.3"].branch, rel=0.5)


def test_unit_steps_of_a_linear_layer(x):
    torch.manual_seed(0)
    module = nn.Linear(6, 4, bias=False)
    pull = torch.randn(20, 4)
    found = measure(module, x, pull=lambda output, generator: pull)["weight"]
    gradient, z = pull.T @ x, module(x).detach()
    size = float(z.square().mean().sqrt())
    assert found.gradient == pytest.approx(float(gradient.square().mean().sqrt()), rel=1e-4)
    assert found.sgd_change == pytest.approx(float((x @ gradient.T).square().mean().sqrt()) / size, rel=1e-3)
    assert found.sign_change == pytest.approx(float((x @ gradient.sign().T).square().mean().sqrt()) / size, rel=1e-3)
    assert found.coherent_change == pytest.approx(6 * float(x.square().mean().sqrt()) / size, rel=0.2)


def test_a_failing_forward_leaves_what_ran_before(broken, x):
    found = measure(broken, x)
    assert [module.path for module in found.modules] == ["first", "norm"]
    assert list(found.failures) == ["last"]
    z = broken.first(x).detach().double()
    assert np.allclose(found["first"].kernel, (z @ z.T / 5).numpy())
    assert math.isnan(found["last.weight"].gradient)
    assert "not measured: last (mat1 and mat2" in found.table()


def test_a_part_that_fails_does_not_cost_the_others(x):
    class Summed(nn.Module):
        """Returns a scalar: there are no rows for a tangent kernel."""

        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, inputs):
            return self.last(torch.relu(self.first(inputs))).sum()

    found = measure(Summed(), x)
    assert "tangent kernels" in found.failures
    assert found["first.weight"].gradient > 0
    assert math.isnan(found["first.weight"].ntk_trace)
    assert found["first"].mean_square > 0


def test_the_same_seed_the_same_numbers_and_files(residual, x, tmp_path):
    found = measure(residual, x, seed=3)
    assert measure(residual, x, seed=3).to_json() == found.to_json()
    again = rf.load(found.save(tmp_path / "measurement"))
    assert isinstance(again, Measurement)
    assert again.table() == found.table()
    assert np.array_equal(again["head"].kernel, found["head"].kernel)
    assert found.table("html").count("<tr") > 10
    assert found.table("markdown").startswith("| module |")
    assert len(found.table("dict")["tensors"]) == len(found.tensors)


def test_the_module_stays_as_it_is(residual, x):
    residual.norm.eval()
    residual.embed.weight.grad = torch.ones(16, 6)
    flags = [part.training for part in residual.modules()]
    values = [p.clone() for p in residual.parameters()]
    state = torch.get_rng_state()
    measure(residual, x, initialize=drawing(residual, 1.0), draws=2)
    assert flags == [part.training for part in residual.modules()]
    assert all(map(torch.equal, values, residual.parameters()))
    assert torch.equal(residual.embed.weight.grad, torch.ones(16, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in residual.modules())


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"draws": 0}, ValueError, "draws must be a positive integer, got 0"),
        ({"rows": 2.5}, ValueError, "rows must be a positive integer, got 2.5"),
        ({"module": nn.ReLU}, TypeError, "module must be an nn.Module, got type"),
        ({"module": nn.ReLU()}, ValueError, "module ReLU has no parameter"),
        ({"x": "digits"}, TypeError, "x must be a tensor"),
    ],
)
def test_bad_arguments(residual, x, change, kind, message):
    with pytest.raises(kind, match=message):
        measure(**{"module": residual, "x": x, **change})
