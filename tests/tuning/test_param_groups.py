"""Parameter groups for SGD, momentum, Adam and AdamW."""

import itertools

import pytest
import torch
from torch import nn

import repflow as rf

OPTIMIZERS = [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]


def by_parameter(groups, key):
    return {id(parameter): group[key] for group in groups for parameter in group["params"]}


@pytest.fixture
def plan(model, x):
    return rf.tune(model, x)


@pytest.mark.parametrize(("name", "kind"), OPTIMIZERS)
def test_by_name_and_by_class_and_by_instance(plan, model, name, kind):
    groups = plan.param_groups(model, lr=0.5, optimizer=name, weight_decay=0.1)
    instance = kind(model.parameters(), lr=1e-3)
    for other in (name.upper(), kind, instance):
        again = plan.param_groups(model, lr=0.5, optimizer=other, weight_decay=0.1)
        assert [[id(p) for p in g["params"]] for g in again] == [[id(p) for p in g["params"]] for g in groups]
        assert [{**g, "params": None} for g in again] == [{**g, "params": None} for g in groups]


@pytest.mark.parametrize(("name", "kind"), OPTIMIZERS)
def test_every_parameter_once_with_the_rates_of_the_table(plan, model, name, kind):
    groups = plan.param_groups(model, lr=0.5, optimizer=name)
    names = {id(parameter): label for label, parameter in model.named_parameters()}
    found = [names[id(p)] for group in groups for p in group["params"]]
    assert sorted(found) == sorted(names.values())
    table = {row["parameter"]: row["sgd" if name == "sgd" else "adam"] for row in plan.table("dict")}
    for key, rate in by_parameter(groups, "lr").items():
        assert rate == pytest.approx(0.5 * table[names[key]], rel=1e-10)
    optimizer = kind(groups)
    assert [group["lr"] for group in optimizer.param_groups] == [group["lr"] for group in groups]


@pytest.mark.parametrize(("name", "kind"), OPTIMIZERS)
def test_weight_decay_is_in_every_group_and_acts_alike(plan, model, name, kind):
    for decay in (0.0, 0.02):
        groups = plan.param_groups(model, optimizer=name, weight_decay=decay)
        assert all("weight_decay" in group for group in groups)
        products = [group["lr"] * group["weight_decay"] for group in groups]
        assert products == pytest.approx([products[0]] * len(groups))
        # AdamW's own default, 0.01, does not slip in.
        assert [g["weight_decay"] for g in kind(groups).param_groups] == [g["weight_decay"] for g in groups]
    assert products[0] > 0
    rates = torch.tensor([row["sgd" if name == "sgd" else "adam"] for row in plan.table("dict")], dtype=torch.float64)
    assert products[0] == pytest.approx(0.02 * float(rates.log().mean().exp()))


def test_decay_alone_shrinks_every_parameter_by_the_same_factor(plan, model):
    plan.initialize_(model, torch.Generator().manual_seed(0))
    for parameter in model.parameters():
        parameter.data.add_(0.1)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.AdamW(plan.param_groups(model, optimizer="adamw", weight_decay=0.1))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    factors = [float((p.detach() / b).mean()) for p, b in zip(model.parameters(), before, strict=True)]
    assert factors[0] < 1
    assert factors == pytest.approx([factors[0]] * len(factors), rel=1e-6)


def test_eps_follows_the_predicted_gradients(plan, model):
    groups = plan.param_groups(model, optimizer="adamw", eps=1e-6)
    eps, names = by_parameter(groups, "eps"), {id(p): n for n, p in model.named_parameters()}
    gradients = {entry.name: entry.gradient for entry in plan.parameters}
    assert max(eps.values()) == pytest.approx(1e-6)
    largest = max(gradients.values())
    for key, value in eps.items():
        assert value == pytest.approx(1e-6 * gradients[names[key]] / largest)
    assert "eps" not in plan.param_groups(model, optimizer="sgd")[0]


def test_equal_settings_share_a_group():
    model = nn.Sequential(
        nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3)
    )
    groups = rf.tune(model, torch.eye(6)).param_groups(model)
    settings = [tuple(sorted((k, v) for k, v in group.items() if k != "params")) for group in groups]
    assert len(set(settings)) == len(settings)
    merged = rf.tune(model, torch.eye(6)).param_groups(model, lr=0.0)
    assert len(merged) == len(groups)
    # Identity layers of one width after the first differ in nothing: their weights share one group under Adam.
    flat = nn.Sequential(*[nn.Linear(5, 5, bias=False) for _ in range(6)])
    adam = rf.tune(flat, torch.eye(5)).param_groups(flat, optimizer="adam", eps=0.0)
    assert len(adam) < 6


def test_momentum(plan, model):
    plain = by_parameter(plan.param_groups(model), "lr")
    groups = plan.param_groups(model, momentum=0.9)
    assert {group["momentum"] for group in groups} == {0.9}
    assert by_parameter(groups, "lr") == pytest.approx({key: 0.1**0.5 * rate for key, rate in plain.items()})
    assert torch.optim.SGD(groups).param_groups[0]["momentum"] == 0.9
    assert "momentum" not in plan.param_groups(model)[0]


@pytest.mark.parametrize(("name", "kind"), OPTIMIZERS)
def test_twice_the_lr_is_twice_the_rate(plan, model, name, kind):
    once, twice = (plan.param_groups(model, lr=lr, optimizer=name) for lr in (3.0, 6.0))
    assert [g["lr"] for g in twice] == pytest.approx([2 * g["lr"] for g in once], rel=1e-14)
    assert {g["lr"] for g in plan.param_groups(model, lr=0, optimizer=name)} == {0}


def test_frozen_parameters_are_left_out_and_tied_ones_given_once(model, x):
    model[0].bias.requires_grad_(False)
    model[4].weight = model[2].weight
    plan = rf.tune(model, x)
    groups = plan.param_groups(model, optimizer="adam")
    given = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(given) == len(set(given)) == len(list(model.parameters())) - 1
    assert id(model[0].bias) not in given
    assert given.count(id(model[2].weight)) == 1
    torch.optim.Adam(groups)


def test_a_tied_parameter_learns_at_the_lowest_rate_of_its_uses(model, x):
    free = {entry.name: entry for entry in rf.tune(model, x, scaling=1.0).parameters}
    model[4].weight = model[2].weight
    tied = {entry.name: entry for entry in rf.tune(model, x, scaling=1.0).parameters}
    assert tied["2.weight"].sgd == pytest.approx(min(free["2.weight"].sgd, free["4.weight"].sgd))
    assert tied["2.weight"].trace == pytest.approx(free["2.weight"].trace + free["4.weight"].trace)


def test_freezing_after_tuning_leaves_a_parameter_out_and_thawing_is_refused(plan, model, x):
    model[2].weight.requires_grad_(False)
    given = [id(p) for group in plan.param_groups(model) for p in group["params"]]
    assert id(model[2].weight) not in given
    frozen = rf.tune(model, x)
    model[2].weight.requires_grad_(True)
    with pytest.raises(ValueError, match="'2.weight' was frozen when the plan was made and now learns; tune again"):
        frozen.param_groups(model)


@pytest.mark.parametrize(("name", "kind"), OPTIMIZERS)
def test_scale_matches_the_groups_and_drives_one_cycle(plan, model, name, kind):
    groups = plan.param_groups(model, lr=0.7, optimizer=name)
    scale = plan.scale(0.7, optimizer=name)
    assert scale == pytest.approx([group["lr"] for group in groups], rel=1e-14)
    options = {"momentum": 0.9} if name == "sgd" else {}
    groups = plan.param_groups(model, lr=0.7, optimizer=name, **options)
    scale = plan.scale(0.7, optimizer=name, **options)
    assert scale == pytest.approx([group["lr"] for group in groups], rel=1e-14)
    optimizer = kind(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=scale, total_steps=11, cycle_momentum=False)
    peak = [0.0] * len(groups)
    for _ in range(10):
        rates = [group["lr"] for group in optimizer.param_groups]
        ratios = [rate / top for rate, top in zip(rates, scale, strict=True)]
        assert ratios == pytest.approx([ratios[0]] * len(ratios))
        peak = [max(a, b) for a, b in zip(peak, rates, strict=True)]
        optimizer.step()
        schedule.step()
    assert peak == pytest.approx(scale, rel=0.05)


def test_scale_overwrites_nothing_that_was_frozen(model, x):
    model[0].weight.requires_grad_(False)
    plan = rf.tune(model, x)
    assert len(plan.scale()) == len(plan.param_groups(model))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"lr": -1.0}, ValueError, "lr must be finite and not negative, got -1.0"),
        ({"lr": float("nan")}, ValueError, "lr must be finite and not negative, got nan"),
        ({"lr": "fast"}, ValueError, "lr must be finite and not negative, got 'fast'"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay must be finite"),
        ({"eps": -1e-8}, ValueError, "eps must be finite"),
        ({"momentum": 1.0}, ValueError, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"momentum": 0.9, "optimizer": "adam"}, ValueError, "momentum is for SGD, got 0.9 for adam"),
        ({"optimizer": "lion"}, ValueError, "optimizer 'lion' has no rule; known are sgd, adam, adamw"),
        ({"optimizer": torch.optim.RMSprop}, ValueError, "optimizer 'rmsprop' has no rule"),
        ({"optimizer": 3}, TypeError, "optimizer must be a name or a torch.optim class, got 3"),
    ],
)
def test_bad_arguments(plan, model, options, kind, message):
    with pytest.raises(kind, match=message) as error:
        plan.param_groups(model, **options)
    assert "\n" not in str(error.value)


def test_the_wrong_model(plan):
    with pytest.raises(ValueError, match="model has no parameter '2.weight'"):
        plan.param_groups(nn.Sequential(nn.Linear(6, 40)))
    with pytest.raises(TypeError, match="model must be an nn.Module, got list"):
        plan.param_groups([])


@pytest.mark.parametrize(("name", "kind"), OPTIMIZERS)
def test_the_groups_train(plan, model, x, name, kind):
    plan.initialize_(model, torch.Generator().manual_seed(0))
    y = nn.functional.one_hot(torch.arange(20) % 3, 3).float()
    optimizer = kind(plan.param_groups(model, optimizer=name))
    losses = []
    for _ in itertools.repeat(None, 60):
        loss = 0.5 * ((model(x) - y) ** 2).sum() / len(x)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]
