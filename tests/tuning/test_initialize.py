"""``initialize_`` draws what the plan says, once for each parameter that learns."""

import math

import pytest
import torch
from torch import nn

import repflow as rf


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_gaussian_with_the_planned_standard_deviations():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 300), nn.GELU(), nn.Linear(300, 300), nn.GELU(), nn.Linear(300, 50))
    plan = rf.tune(model, torch.randn(30, 60))
    assert plan.initialize_(model, torch.Generator().manual_seed(3)) is model
    stds = {entry.name: entry.new_std for entry in plan.parameters}
    for name, parameter in model.named_parameters():
        values, count = parameter.detach().double().flatten(), parameter.numel()
        assert stds[name] > 0
        # Five standard errors: one test in two million fails by chance, and the seed is fixed.
        assert abs(float(values.mean())) < 5 * stds[name] / math.sqrt(count)
        assert abs(float((values**2).mean()) / stds[name] ** 2 - 1) < 5 * math.sqrt(2 / count)
        assert abs(float((values**4).mean()) / stds[name] ** 4 - 3) < 5 * math.sqrt(96 / count)


def test_the_couplings_are_critical_and_the_head_carries_the_scaling():
    model = nn.Sequential(nn.Linear(60, 100), nn.GELU(), nn.Linear(100, 100), nn.GELU(), nn.Linear(100, 7))
    plan = rf.tune(model, torch.randn(30, 60, generator=torch.Generator().manual_seed(0)), scaling=0.5)
    point = rf.critical("gelu")
    std = {entry.name: entry.new_std for entry in plan.parameters}
    assert std["2.weight"] == pytest.approx(math.sqrt(point.C_W / 100))
    assert std["2.bias"] == pytest.approx(math.sqrt(point.C_b))
    assert std["4.weight"] == pytest.approx(math.sqrt(point.C_W / 100 / 100**0.5))
    assert std["4.bias"] == pytest.approx(math.sqrt(point.C_b / 100**0.5))


def test_a_generator_makes_it_reproducible_and_leaves_the_global_one_alone(model, x):
    plan = rf.tune(model, x)
    state = torch.get_rng_state()
    plan.initialize_(model, torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), state)
    first = weights(model)
    plan.initialize_(model, torch.Generator().manual_seed(5))
    assert all(map(torch.equal, weights(model), first))
    plan.initialize_(model, torch.Generator().manual_seed(6))
    assert not torch.equal(weights(model)[0], first[0])


def test_without_a_generator_the_global_one_is_used(model, x):
    plan = rf.tune(model, x)
    torch.manual_seed(5)
    plan.initialize_(model)
    first = weights(model)
    torch.manual_seed(5)
    plan.initialize_(model)
    assert all(map(torch.equal, weights(model), first))


def test_frozen_parameters_are_skipped(model, x):
    model[2].weight.requires_grad_(False)
    kept = model[2].weight.detach().clone()
    plan = rf.tune(model, x)
    plan.initialize_(model)
    assert torch.equal(model[2].weight, kept)
    assert {entry.name: entry.set_by for entry in plan.parameters}["2.weight"] == "frozen"


def test_tied_parameters_are_drawn_once_and_stay_tied(model, x):
    model[4].weight = model[2].weight
    plan = rf.tune(model, x)
    tied = {entry.name: entry.tied_to for entry in plan.parameters}
    assert tied["4.weight"] == "2.weight"
    assert all(value is None for name, value in tied.items() if name != "4.weight")
    plan.initialize_(model, torch.Generator().manual_seed(0))
    assert model[4].weight is model[2].weight
    untied = nn.Sequential(
        *[nn.Linear(p.in_features, p.out_features) if isinstance(p, nn.Linear) else p for p in model]
    )
    rf.tune(untied, x).initialize_(untied, torch.Generator().manual_seed(0))
    assert torch.equal(model[2].weight, untied[2].weight)
    assert torch.equal(model[4].bias * 0, untied[4].bias)  # the draws before it are the same: tanh's C_b is 0
    assert any("shared by layers 2 and 3" in note for note in plan.notes)


def test_a_module_used_twice_is_tied_to_itself(x):
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(6, 2))
    plan = rf.tune(model, x)
    assert [(entry.name, entry.tied_to) for entry in plan.parameters] == [
        ("0.weight", None), ("0.bias", None), ("2.weight", "0.weight"), ("2.bias", "0.bias"), ("4.weight", None), ("4.bias", None),
    ]  # fmt: skip
    groups = plan.param_groups(model)
    assert sum(len(group["params"]) for group in groups) == 4
    before = shared.weight.detach().clone()
    plan.initialize_(model)
    assert not torch.equal(shared.weight, before)


def test_other_number_formats_and_a_model_without_data(model, x):
    plan = rf.tune(model, x)
    plan.initialize_(model, torch.Generator().manual_seed(2))
    full = weights(model)
    half = model.to(torch.bfloat16)
    plan.initialize_(half, torch.Generator().manual_seed(2))
    assert all(torch.equal(a.to(torch.bfloat16), b.detach()) for a, b in zip(full, half.parameters(), strict=True))
    empty = nn.Sequential(nn.Linear(6, 5, device="meta"), nn.Tanh(), nn.Linear(5, 2, device="meta"))
    ahead = rf.tune(empty, x)
    assert ahead.current is None
    assert math.isnan(ahead.parameters[0].old_std)
    assert "nan" in ahead.table()
    assert math.isnan(rf.Plan.from_json(ahead.to_json()).parameters[0].old_std)
    with pytest.raises(ValueError, match="'0.weight' is on the meta device"):
        ahead.initialize_(empty)
    ahead.initialize_(empty.to_empty(device="cpu"), torch.Generator().manual_seed(0))
    assert torch.isfinite(empty(x)).all()


def test_another_model_is_refused_before_anything_is_written(model, x):
    plan = rf.tune(model, x)
    wider = nn.Sequential(
        nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 4)
    )
    before = weights(wider)
    with pytest.raises(ValueError, match=r"'6.weight' has shape \(4, 40\), the plan was made for \(3, 40\)"):
        plan.initialize_(wider)
    assert all(map(torch.equal, weights(wider), before))
    with pytest.raises(ValueError, match="model has no parameter '2.weight'"):
        plan.initialize_(nn.Sequential(nn.Linear(6, 40)))
    with pytest.raises(ValueError, match=r"not in the plan: 7\.bias, 7\.weight"):
        plan.initialize_(nn.Sequential(*model, nn.Linear(3, 3)))
    with pytest.raises(TypeError, match="model must be an nn.Module, got dict"):
        plan.initialize_(dict(model.state_dict()))


def test_layers_without_biases_hold_the_size_of_the_kernel(x):
    model = nn.Sequential(
        nn.Linear(6, 50, bias=False), nn.GELU(), nn.Linear(50, 50, bias=False), nn.GELU(), nn.Linear(50, 2, bias=False)
    )
    plan = rf.tune(model, x, scaling=0.0)
    sizes = [float(layer.kernel.diagonal().mean()) for layer in rf.flow(plan.network, x, order=0)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)
    assert sizes[2] == pytest.approx(sizes[0], rel=0.05)
    assert any("without biases" in note for note in plan.notes)


def test_parameters_of_no_linear_layer_are_measured_or_left_alone(x):
    model = nn.Sequential(nn.Linear(6, 8), nn.PReLU(), nn.Linear(8, 2))
    plan = rf.tune(model, x)
    assert plan.measured
    assert any("'1.weight' is no weight or bias of a linear layer" in note for note in plan.notes)
    assert all(entry.sgd > 0 and entry.adam > 0 for entry in plan.parameters)
    plan.initialize_(model)
    assert model[1].weight.item() == 0.25
    model[1].weight.requires_grad_(False)
    plan = rf.tune(model, x)
    plan.initialize_(model)
    assert model[1].weight.item() == 0.25
    model[1].weight.requires_grad_(True)
    plan.initialize_(model)
    assert model[1].weight.item() == 0.25
    with pytest.raises(ValueError, match="'1.weight' was frozen when the plan was made and now learns"):
        plan.param_groups(model)
