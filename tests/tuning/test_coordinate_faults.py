"""Faults put in on purpose, each of which the coordinate check has to name, for chains and for a residual network."""

import copy

import pytest
import torch
from tests.tuning.coordinates import Louder, Skipping, chain, check, named
from torch import nn

import repflow as rf

CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def test_wrong_decay_the_optimisers_own_default(planned, batch):
    _, plan = planned

    def forgetful(model):
        groups = plan.param_groups(model, optimizer="adamw")
        del groups[1]["weight_decay"]
        return torch.optim.AdamW(groups)

    model = planned[0]
    groups = plan.param_groups(model, optimizer="adamw")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = check(planned, batch, optimizer=forgetful)
    assert {p.kind for p in found.problems} == {"weight decay"}
    assert named(found, "weight decay") == [names[id(parameter)] for parameter in groups[1]["params"]]
    assert "own default" in found.problems[0].remedy


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_wrong_decay_without_the_plans_factors(planned, batch, kind):
    _, plan = planned

    def flat(model):
        groups = [{**group, "weight_decay": 0.1} for group in plan.param_groups(model, optimizer=kind)]
        return CLASSES[kind](groups)

    found = check(planned, batch, optimizer=flat, weight_decay=0.1)
    assert {"0.weight", "8.weight"} <= set(named(found, "weight decay"))
    assert {p.kind for p in found.problems} == {"weight decay"}
    assert "rate times decay" in found.problems[0].remedy


def test_wrong_decay_in_an_optimiser_that_hides_it(planned, batch):
    """Decay is seen in what a step does, not in a setting of that name."""
    _, plan = planned

    class Decaying(torch.optim.SGD):
        @torch.no_grad()
        def step(self, closure=None):
            super().step(closure)
            for parameter in self.param_groups[0]["params"]:
                parameter.mul_(0.5)

    def hidden(model):
        optimizer = Decaying(plan.param_groups(model))
        optimizer.__class__.__name__ = "SGD"
        return optimizer

    found = check(planned, batch, optimizer=hidden)
    assert named(found, "weight decay") == ["0.weight"]
    assert "0.5" in found.problems[0].message


def test_decay_faster_than_learning(planned, batch):
    found = check(planned, batch, optimizer="adamw", weight_decay=30.0)
    assert "0.weight" in named(found, "weight decay")
    assert "more than the gradient" in found.problems[0].message
    # Adam's own decay is a part of the gradient's sign, and no faster than it.
    for kind in ("adam", "adamw"):
        check(planned, batch, optimizer=kind, weight_decay=0.01).assert_ok()


def test_wrong_rate_of_one_group(planned, batch):
    _, plan = planned

    def fast(model):
        groups = plan.param_groups(model, optimizer="adam")
        group = next(group for group in groups if any(p is model[4].weight for p in group["params"]))
        group["params"] = [p for p in group["params"] if p is not model[4].weight]
        groups = [group for group in groups if group["params"]]
        return torch.optim.Adam([*groups, {**group, "params": [model[4].weight], "lr": 4 * group["lr"]}])

    found = check(planned, batch, optimizer=fast)
    assert [(p.kind, p.where) for p in found.problems] == [("rate", "4.weight")]
    assert "4 times" in found.problems[0].message
    with pytest.raises(AssertionError, match=r"4\.weight: .*divide"):
        found.assert_ok()
    row = found.rows()[2]
    assert row["findings"] == ["rate"]
    assert row["ratio"] == pytest.approx(4.0, rel=0.3)


def test_a_wrong_rate_at_every_size_gets_the_plan_of_that_size(planned, batch):
    def fast(model, plan):
        return torch.optim.SGD([{**group, "lr": 3 * group["lr"]} for group in plan.param_groups(model)])

    found = check(planned, batch, optimizer=fast, make=lambda n, depth: chain(n, depth - 1), sizes=[(32, 3), (64, 3)])
    assert set(named(found, "rate")) == {name for name, _ in planned[0].named_parameters()}
    assert all("0.weight: its first step is 3 times" in size["problems"][0] for size in found.sizes)
    half = check(
        planned, batch, optimizer=fast, lr=3.0, make=lambda n, depth: chain(n, depth - 1), sizes=[(32, 3), (64, 3)]
    )
    assert not named(half, "rate")


def test_torchs_default_groups(planned, batch):
    found = check(planned, batch, optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.01))
    assert set(named(found, "rate")) == {name for name, _ in planned[0].named_parameters()}


class Detached(nn.Sequential):
    def forward(self, x):
        for number, part in enumerate(self):
            x = part(x.detach() if number == 4 else x)
        return x


def test_skipped_layer_in_the_forward_pass(planned, batch):
    model = Skipping(*copy.deepcopy(planned[0]))
    found = check(planned, batch, model)
    assert named(found, "skipped") == ["4.weight", "4.bias"]
    assert "never calls" in found.problems[0].message


def test_skipped_by_a_cut_graph(planned, batch):
    found = check(planned, batch, Detached(*copy.deepcopy(planned[0])))
    assert named(found, "skipped") == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert "detach" in found.problems[0].remedy


def test_skipped_by_the_optimiser(planned, batch):
    _, plan = planned

    def partial(model):
        groups = plan.param_groups(model)
        return torch.optim.SGD([{**g, "params": [p for p in g["params"] if p is not model[2].weight]} for g in groups])

    found = check(planned, batch, optimizer=partial)
    assert [(p.kind, p.where) for p in found.problems] == [("skipped", "2.weight")]


def test_skipped_because_frozen(planned, batch):
    model = copy.deepcopy(planned[0])
    model[2].requires_grad_(False)
    found = check(planned, batch, model)
    assert named(found, "skipped") == ["2.weight", "2.bias"]
    assert "frozen" in found.problems[0].message


class LouderInside(nn.Sequential):
    def forward(self, x):
        for number, part in enumerate(self):
            # The next tanh saturates, which hides smaller factors.
            x = 32.0 * part(x) if number == 5 else part(x)
        return x


def test_wrong_readout_in_the_forward_pass(planned, batch):
    found = check(planned, batch, Louder(*copy.deepcopy(planned[0])))
    assert [(p.kind, p.where) for p in found.problems] == [("readout", "8")]
    assert "by 5" in found.problems[0].message


def test_wrong_readout_in_the_weights(planned, batch):
    model, plan = copy.deepcopy(planned[0]), planned[1]
    plan.initialize_(model, torch.Generator().manual_seed(3))
    check(planned, batch, model, initialize=False).assert_ok()
    with torch.no_grad():
        model[8].weight *= 4.0
    found = check(planned, batch, model, initialize=False)
    assert [(p.kind, p.where) for p in found.problems] == [("readout", "8.weight")]
    assert "initialize_" in found.problems[0].remedy


def test_weights_as_pytorch_draws_them(planned, batch):
    found = check(planned, batch, initialize=False)
    assert "0.weight" in named(found, "initialisation")
    assert "8.weight" in named(found, "readout")


def test_a_factor_inside_the_forward_pass_is_seen_as_drift(planned, batch):
    found = check(planned, batch, LouderInside(*copy.deepcopy(planned[0])))
    assert "6" in named(found, "drift")
    assert {p.kind for p in found.problems} == {"drift"}


class Residual(nn.Module):
    def __init__(self, width, blocks):
        super().__init__()
        self.first = nn.Linear(64, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.norm(x))


class WithoutABlock(Residual):
    def forward(self, x):
        x = self.first(x)
        x = x + self.blocks[1](x)
        return self.head(self.norm(x))


@pytest.fixture(scope="module")
def residual(batch):
    torch.manual_seed(0)
    model = Residual(48, 2)
    return model, rf.tune(model, *batch, loss="cross_entropy")


def test_a_measured_plan_is_checked_in_training(residual, batch):
    found = check(residual, batch, optimizer="adam")
    found.assert_ok()
    assert [row["layer"] for row in found.rows()][:3] == ["first", "blocks.0.0", "blocks.0.1"]
    assert found.rows()[0]["predicted"] is None
    assert (found.own > 0).all()


def test_faults_beside_a_measured_plan(residual, batch):
    _, plan = residual

    def faulty(model):
        groups = plan.param_groups(model, optimizer="adamw")
        settings = {id(p): {**group, "params": [p]} for group in groups for p in group["params"]}
        settings[id(model.blocks[0][1].weight)]["lr"] *= 3
        settings[id(model.blocks[1][3].weight)]["weight_decay"] = 0.01
        del settings[id(model.norm.weight)]
        return torch.optim.AdamW(list(settings.values()))

    found = check(residual, batch, optimizer=faulty)
    assert sorted((p.kind, p.where) for p in found.problems) == [
        ("rate", "blocks.0.1.weight"),
        ("skipped", "norm.weight"),
        ("weight decay", "blocks.1.3.weight"),
    ]


def test_a_block_left_out_of_a_residual_network(residual, batch):
    model = WithoutABlock(48, 2)
    model.load_state_dict(residual[0].state_dict())
    found = check(residual, batch, model, optimizer="adam")
    names = named(found, "skipped")
    assert names == [f"blocks.0.{part}.{kind}" for part in (0, 1, 3) for kind in ("weight", "bias")]
    assert all("never calls" in problem.message for problem in found.problems)
