"""The coordinate check: its prediction in real networks, what it reports, and what it refuses."""

import copy
import math

import numpy as np
import pytest
import torch
from tests.tuning.coordinates import Louder, Skipping, chain, check, named
from torch import nn

import repflow as rf


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "mse_mean"])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_the_first_change_of_every_layer_is_the_predicted_one(batch, activation, loss, optimizer):
    model = chain(512, 3, activation)
    plan = rf.tune(model, *batch, loss=loss)
    found = rf.coordinate_check(model, plan, batch, steps=1, optimizer=optimizer, seeds=8)
    found.assert_ok()
    measured = np.sqrt((found.own[:, 0] ** 2).mean(0))
    assert measured == pytest.approx(found.predicted, rel=0.15)


def test_the_prediction_follows_lr_and_the_tangent_limit(batch):
    model = chain(512, 3)
    plan = rf.tune(model, *batch, scaling=0.0)
    found = rf.coordinate_check(model, plan, batch, steps=1, lr=0.25, seeds=8)
    assert np.sqrt((found.own[:, 0] ** 2).mean(0)) == pytest.approx(found.predicted, rel=0.2)
    whole = rf.coordinate_check(model, plan, batch, steps=1, seeds=8)
    assert whole.predicted == pytest.approx(4 * found.predicted)


def test_own_and_total_change_are_those_of_the_steps(planned, batch):
    model, plan = planned
    found = check(planned, batch, seeds=1)
    x, y = batch
    twin = copy.deepcopy(model)
    plan.initialize_(twin, torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(plan.param_groups(twin))
    targets = nn.functional.one_hot(y, 10).float()
    for step in range(2):
        before = copy.deepcopy(twin)
        loss = 0.5 * ((twin(x) - targets) ** 2).sum() / len(x)
        assert found.losses[0, step] == pytest.approx(loss.item(), rel=1e-5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            held = before[:4](x)
            own = (twin[4](held) - before[4](held)).norm() / before[4](held).norm()
            total = (twin[:5](x) - before[:5](x)).norm() / before[:5](x).norm()
        assert found.own[0, step, 2] == pytest.approx(own.item(), rel=1e-4)
        assert found.total[0, step, 2] == pytest.approx(total.item(), rel=1e-4)


def test_the_model_stays_as_it_is(planned, batch):
    model, _ = planned
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    check(planned, batch, optimizer="adam")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer": "adam"}, {"optimizer": torch.optim.Adam}, {"optimizer": "adamw", "weight_decay": 0.1}],
)
def test_the_plan_itself_passes(planned, batch, settings):
    check(planned, batch, **settings).assert_ok()


def test_momentum_has_its_own_rates(planned, batch):
    _, plan = planned
    found = check(planned, batch, optimizer=lambda m: torch.optim.SGD(plan.param_groups(m, momentum=0.9)))
    found.assert_ok()
    plain = check(planned, batch)
    assert found.predicted == pytest.approx(plain.predicted * plan.scale(momentum=0.9)[0] / plan.scale()[0])


def test_an_optimiser_without_a_rule_is_measured(planned, batch):
    found = check(planned, batch, optimizer=lambda m: torch.optim.RMSprop(m.parameters(), lr=1e-3))
    found.assert_ok()
    assert "RMSprop" in found.notes[0]
    assert np.isnan(found.predicted).all()


# Sizes


def test_exponents_of_the_plan_are_the_predicted_ones(planned, batch):
    found = check(
        planned, batch, make=lambda width, depth: chain(width, depth - 1), sizes=[(64, 4), (256, 4), (64, 8), (256, 8)]
    )
    found.assert_ok()
    rows = {row["what"]: row for row in found.exponents}
    assert rows["hidden layers"]["width"] == pytest.approx(0.0, abs=0.2)
    assert rows["hidden layers"]["width"] == pytest.approx(rows["hidden layers"]["predicted_width"], abs=0.15)
    assert rows["hidden layers"]["depth"] == pytest.approx(rows["hidden layers"]["predicted_depth"], abs=0.25)
    assert rows["head"]["quantity"] == "absolute"
    assert len(found.sizes) == 4


def test_one_rate_for_all_widths_drifts(planned, batch):
    found = check(
        planned,
        batch,
        make=lambda width, depth: chain(width, depth - 1),
        sizes=[(32, 4), (128, 4), (512, 4)],
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=1e-3),
    )
    assert "hidden layers" in named(found, "exponent")
    rows = {row["what"]: row for row in found.exponents}
    # One sign step of n weights moves a layer by n where its size stays, less what is not coherent.
    assert 0.6 < rows["hidden layers"]["width"] < 1.1
    assert rows["hidden layers"]["depth"] is None
    assert rows["2"]["width"] == pytest.approx(rows["hidden layers"]["width"], abs=0.2)


# The result


def test_round_trip_table_and_figure(planned, batch, tmp_path):
    found = check(
        planned, batch, Louder(*copy.deepcopy(planned[0])), make=lambda n, depth: chain(n, depth - 1), sizes=[(16, 3), (32, 3)]
    )  # fmt: skip
    for name in ("check.json", "check.zarr"):
        found.save(tmp_path / name)
        again = rf.load(tmp_path / name)
        assert again.to_json() == found.to_json()
        assert again.problems == found.problems
        assert again.table("markdown") == found.table("markdown")
    assert "readout" in found.table()
    assert "8 " in found.table()
    plain = found.table("dict")
    assert [row["layer"] for row in plain["layers"]] == ["0", "2", "4", "6", "8"]
    assert "<table" in found._repr_html_()
    assert "multiplies its output" in found._repr_html_()
    assert "1 finding" in repr(found)
    assert list(found.figure().data[0].y) == pytest.approx(list(found.predicted))
    assert found.to_xarray()["own"].dims == ("seed", "step", "layer")
    with pytest.raises(ValueError, match="format"):
        found.table("pdf")


# Models beyond chains, for which nothing is predicted


class Uncharted:
    """A plan without a network, as of a model that theory does not cover."""

    def __init__(self, plan):
        self._plan = plan

    def __getattr__(self, name):
        if name == "network":  # as the plans of modules that are no chain have it
            return None
        return getattr(self._plan, name)


def test_without_theory_sizes_are_measured(planned, batch):
    model, plan = planned
    found = rf.coordinate_check(model, Uncharted(plan), batch, steps=2)
    found.assert_ok()
    assert np.isnan(found.predicted).all()
    assert "no theory" in found.notes[0]
    bypassed = rf.coordinate_check(Skipping(*copy.deepcopy(model)), Uncharted(plan), batch, steps=2)
    assert named(bypassed, "skipped") == ["4.weight", "4.bias"]
    assert rf.CoordinateCheck.from_json(found.to_json()).rows() == found.rows()


def test_changes_of_an_attention_layer_and_of_reused_modules():
    """Parameters of a module that is never called itself belong to the one that is."""
    from repflow.tuning.coordinate.changes import train_step, without_dropout

    torch.manual_seed(0)
    model = without_dropout(
        nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.5, batch_first=True), nn.Linear(16, 3))
    ).double()
    x, y = torch.randn(6, 5, 16).double(), torch.randn(6, 5, 3).double()
    names = [name for name, _ in model.named_parameters()]
    before = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    uses, change = train_step(model, optimizer, x, y, lambda f, y: ((f - y) ** 2).mean(), names)
    held = {use.name: use for use in uses}
    assert next(use.name for use in uses) == "0.self_attn"
    assert set(held["0.self_attn"].parameters) == {"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"}
    with torch.no_grad():
        new, old = model[0].self_attn(x, x, x)[0], before[0].self_attn(x, x, x)[0]
    index = [use.name for use in uses].index("0.self_attn")
    assert change.own[index] == pytest.approx(float(((new - old) ** 2).mean() ** 0.5))
    assert change.total[index] == pytest.approx(change.own[index])
    assert change.size[index] == pytest.approx(float((old**2).mean() ** 0.5))

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.flat = nn.Linear(4, 4), nn.ReLU(inplace=True)

        def forward(self, x):
            return self.inner(self.flat(self.inner(x)))

    model = Twice().double()
    before = copy.deepcopy(model)
    x = torch.randn(7, 4).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    uses, change = train_step(model, optimizer, x, x, lambda f, y: (f**2).mean(), ["inner.weight", "inner.bias"])
    with torch.no_grad():
        first, second = before.inner(x), before.inner(before.inner(x).relu())
        inputs = (x, before.inner(x).relu())
        moves = [model.inner(given) - was for given, was in zip(inputs, (first, second))]
    assert len(uses[0].calls) == 2
    assert change.own[0] == pytest.approx(float(torch.stack(moves).pow(2).mean() ** 0.5))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"batch": torch.zeros(3)}, TypeError, "batch"),
        ({"steps": 0}, ValueError, "steps"),
        ({"seeds": 1.5}, ValueError, "seeds"),
        ({"lr": 0.0}, ValueError, "lr"),
        ({"tolerance": 1.0}, ValueError, "tolerance"),
        ({"optimizer": "lion"}, ValueError, "lion"),
        ({"optimizer": 3}, TypeError, "optimizer"),
        ({"optimizer": lambda model: None}, TypeError, "optimizer must return"),
        ({"optimizer": lambda model: torch.optim.SGD([torch.zeros(1)], lr=1.0)}, ValueError, "no parameter"),
        ({"make": lambda width, depth: None}, ValueError, "make and sizes"),
        ({"make": lambda width, depth: None, "sizes": [(8, 3)]}, ValueError, "sizes"),
        ({"make": lambda width, depth: None, "sizes": [(8, 3), (16, 3)]}, TypeError, "make must return"),
        ({"make": 3, "sizes": [(8, 3), (16, 3)]}, TypeError, "make must be a function"),
        ({"loss_fn": lambda f, y: f.sum() * math.inf}, ValueError, "loss is"),
    ],
)
def test_arguments(planned, batch, settings, error, message):
    model, plan = planned
    with pytest.raises(error, match=message):
        rf.coordinate_check(model, plan, settings.pop("batch", batch), **settings)


def test_an_optimiser_itself_is_refused(planned, batch):
    with pytest.raises(TypeError, match="function of the model"):
        check(planned, batch, optimizer=torch.optim.SGD(planned[0].parameters(), lr=0.1))


def test_another_model_is_refused(planned, batch):
    with pytest.raises(ValueError, match="transfer_to"):
        rf.coordinate_check(chain(64, 4), planned[1], batch)


def test_a_loss_of_ones_own(planned, batch):
    model, plan = planned
    x, y = batch
    half_square = lambda f, y: 0.5 * ((f - nn.functional.one_hot(y, 10)) ** 2).sum() / len(f)  # noqa: E731
    own = rf.coordinate_check(model, plan, batch, loss_fn=half_square, steps=1)
    assert own.predicted == pytest.approx(rf.coordinate_check(model, plan, batch, steps=1).predicted, rel=1e-6)
    assert own.losses == pytest.approx(rf.coordinate_check(model, plan, (x, y), steps=1).losses, rel=1e-6)
