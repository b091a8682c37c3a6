"""What a plan says: limits, seeds, depth to width, health, the table, and its way through a file."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.tuning.simulate import model_of
from torch import nn

import repflow as rf
from repflow.tuning import constants


@pytest.fixture
def plan(model, x):
    return rf.tune(model, x)


def test_max_learning_rate_with_momentum(plan):
    edge = plan.max_learning_rate()
    assert edge == plan.max_learning_rate(optimizer=torch.optim.SGD) > 0
    # Heavy ball is stable to 2 (1 + m)/sharpness, and its lr is in units of sqrt(1 - m) times the rate.
    assert plan.max_learning_rate(momentum=0.9) == pytest.approx(edge * 1.9 / 0.1**0.5)


def test_max_learning_rate_is_not_derived_for_adam_and_the_notes_say_why(plan):
    assert plan.max_learning_rate("adam") is None
    assert plan.max_learning_rate(torch.optim.AdamW) is None
    assert any("max_learning_rate is None for Adam" in note and "sharpness" in note for note in plan.notes)


@pytest.mark.parametrize("options", [{"momentum": -0.1}, {"optimizer": "adam", "momentum": 0.5}, {"optimizer": "sdg"}])
def test_max_learning_rate_checks_its_arguments(plan, options):
    with pytest.raises(ValueError):
        plan.max_learning_rate(**options)


def absolute_edge(model, plan):
    """The largest stable rate of the head's weights, in absolute units."""
    rates = {id(p): g["lr"] for g in plan.param_groups(model) for p in g["params"]}
    return plan.max_learning_rate() * rates[id(model[-1].weight)]


def test_the_losses_differ_by_their_curvature(model, x):
    edges = {
        loss: absolute_edge(model, rf.tune(model, x, loss=loss, scaling=0.5))
        for loss in ("mse", "mse_mean", "cross_entropy")
    }
    # nn.MSELoss averages over the 3 outputs and has no 1/2; cross-entropy's curvature at uniform probabilities is 1/3.
    assert edges["mse_mean"] == pytest.approx(1.5 * edges["mse"])
    assert edges["cross_entropy"] == pytest.approx(3 * edges["mse"])


@pytest.mark.parametrize(
    ("activation", "best"),
    [
        (nn.Tanh, constants.LAYER_CHANGE_HELD * 2**0.5),
        (nn.ReLU, constants.KAPPA_SGD),
        (nn.GELU, constants.KAPPA_SGD_HALF_STABLE),
        (nn.Sigmoid, constants.KAPPA_SGD_K_STAR_ZERO),
    ],
)
def test_lr_one_is_within_its_limits_and_the_table_says_which_one_binds(activation, best, x):
    model = nn.Sequential(nn.Linear(6, 40), activation(), nn.Linear(40, 40), activation(), nn.Linear(40, 1))
    for scaling in (None, 0.0, 1.0):
        plan = rf.tune(model, x, torch.linspace(-1, 1, 20), scaling=scaling)
        assert plan.max_learning_rate() >= 1 / constants.EDGE_LIMIT - 1e-12
        assert plan.kappa <= best * (1 + 1e-12)
        limits = (plan.kappa / best, 1 / plan.max_learning_rate() / constants.EDGE_LIMIT)
        assert max(limits) == pytest.approx(1)
        assert limits[plan.binding == "stability"] == pytest.approx(1)
        assert plan.binding in ("features", "stability")
        assert ("feature change" if plan.binding == "features" else "edge of stability") in plan.table()


def test_the_scaling_given_is_used(model, x):
    assert rf.tune(model, x, scaling=0.25).scaling == 0.25
    assert 0 <= rf.tune(model, x).scaling <= 1


def test_seeds_needed(plan):
    few, many = plan.seeds_needed(0.5), plan.seeds_needed(0.05)
    assert 2 <= few <= many
    # Two arms, a two-sided test at 5% with power 80%: 2 (1.960 + 0.842)^2 (std/effect)^2.
    assert many == max(2, math.ceil(2 * (1.959964 + 0.841621) ** 2 * (plan.fluctuation / 0.05) ** 2))
    assert plan.seeds_needed(0.05, power=0.99) > many
    assert plan.seeds_needed(1e9) == 2
    for options, name in (
        ({"effect": 0}, "effect"),
        ({"effect": 1, "power": 1}, "power"),
        ({"effect": 1, "significance": 0}, "significance"),
    ):
        with pytest.raises(ValueError, match=name):
            plan.seeds_needed(**options)


def test_seeds_needed_detects_the_effect_in_a_simulated_comparison(plan):
    effect = 2.5 * plan.fluctuation
    seeds, rng, trials = plan.seeds_needed(effect), np.random.default_rng(0), 4000
    a = rng.normal(1.0, plan.fluctuation, (trials, seeds))
    b = rng.normal(1.0 + effect, plan.fluctuation, (trials, seeds))
    seen = np.abs(b.mean(1) - a.mean(1)) / (plan.fluctuation * math.sqrt(2 / seeds)) > 1.959964
    assert seen.mean() >= 0.79


def test_aspect_ratio(plan):
    ratio = plan.aspect_ratio
    assert isinstance(ratio, rf.AspectRatio)
    assert ratio.value == pytest.approx(3 / 40)
    nu = rf.critical("tanh").nu
    assert ratio.optimum == pytest.approx(4 / ((20 + 3 * 3) * nu))
    depth = ratio.advisable_depth
    assert nu * (depth - 1) / 40 <= 0.3 < nu * depth / 40
    assert plan.fluctuation == pytest.approx(math.sqrt(ratio.relative_variance))


def test_one_linear_layer(x):
    plan = rf.tune(nn.Linear(6, 2), x)
    assert (plan.fluctuation, plan.aspect_ratio.value, plan.kappa) == (0.0, 0.0, 0.0)
    assert plan.max_learning_rate() == pytest.approx(2.0)


def test_transfer_to_another_size(model, x):
    plan = rf.tune(model, x, scaling=0.75, loss="cross_entropy")
    larger = nn.Sequential(nn.Linear(6, 80), nn.Tanh(), nn.Linear(80, 80), nn.Tanh(), nn.Linear(80, 3))
    y = torch.arange(20) % 3
    moved = plan.transfer_to(larger, x, y)
    assert moved.scaling == 0.75
    assert moved.loss == "cross_entropy"
    assert moved.to_json() == rf.tune(larger, x, y, scaling=0.75, loss="cross_entropy").to_json()
    free = rf.tune(model, x).transfer_to(larger, x)
    assert free.to_json() == rf.tune(larger, x).to_json()


def test_a_healthy_model(plan):
    plan.assert_healthy()


def test_too_deep_for_its_width_is_unhealthy(x):
    plan = rf.tune(model_of((6, *[8] * 20, 2), nn.ReLU), x)
    assert any("initialisations differ much" in note for note in plan.notes)
    with pytest.raises(AssertionError, match=r"differs by \d+% between seeds .* at this width at most 1 layers"):
        plan.assert_healthy()


def test_no_critical_point_and_too_deep_is_unhealthy(x):
    with pytest.raises(AssertionError, match="no critical couplings exist for its activation"):
        rf.tune(model_of((6, *[400] * 4, 2), nn.Sigmoid), x).assert_healthy()


def test_the_table_in_every_format(plan, model):
    text, markdown, html = (plan.table(kind) for kind in ("text", "markdown", "html"))
    for name, _ in model.named_parameters():
        assert name in text
        assert f"| {name} |" in markdown
        assert f"<td>{name}</td>" in html
    assert text.splitlines()[0].split()[0] == "parameter"
    assert markdown.splitlines()[1].startswith("| ---")
    rows = plan.table("dict")
    json.dumps(rows)
    assert [row["role"] for row in rows][::2] == ["input weight", "hidden weight", "hidden weight", "head weight"]
    assert sum(row["ntk_trace"] for row in rows) == pytest.approx(1)
    assert sum(row["ntk_eigenvalue"] for row in rows) == pytest.approx(1)
    assert [row["shape"] for row in rows[:2]] == [[40, 6], [40]]
    assert plan._repr_html_() == html
    with pytest.raises(ValueError, match="format must be one of text, markdown, html, dict, got 'latex'"):
        plan.table("latex")


def test_old_std_is_read_off_the_weights(plan, model):
    rows = {row["parameter"]: row for row in plan.table("dict")}
    for name, parameter in model.named_parameters():
        assert rows[name]["old_std"] == pytest.approx(float(parameter.detach().double().square().mean().sqrt()))
    assert plan.current.layers[1].C_W == pytest.approx(rows["2.weight"]["old_std"] ** 2 * 40)


def same_groups(a, b):
    return [{**g, "params": len(g["params"])} for g in a] == [{**g, "params": len(g["params"])} for g in b]


def test_json_and_files_return_the_same_plan(plan, model, tmp_path):
    again = rf.Plan.from_json(plan.to_json())
    assert again.to_json() == plan.to_json()
    assert again.network == plan.network
    assert again.current == plan.current
    assert again.table() == plan.table()
    for path in ("plan.json", "plan.zarr"):
        assert rf.load(plan.save(tmp_path / path)).to_json() == plan.to_json()
    for optimizer in ("sgd", "adam", "adamw"):
        assert same_groups(
            again.param_groups(model, optimizer=optimizer), plan.param_groups(model, optimizer=optimizer)
        )


PROGRAM = """
import sys, torch
from torch import nn
import repflow as rf
import torch.nn.functional as F

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(6, 20), nn.Linear(20, 20), nn.Linear(20, 2)
    def forward(self, x):
        return self.third(F.elu(self.second(torch.tanh(self.first(x))), 0.7))

model = Model()
if sys.argv[1] == "make":
    rf.tune(model, torch.linspace(-1, 1, 30).reshape(5, 6)).save(sys.argv[2])
plan = rf.load(sys.argv[2])
plan.initialize_(model, torch.Generator().manual_seed(0))
names = {id(p): n for n, p in model.named_parameters()}
for optimizer in ("sgd", "adam", "adamw"):
    for group in plan.param_groups(model, lr=0.3, optimizer=optimizer, weight_decay=0.1):
        print({**group, "params": [names[id(p)] for p in group["params"]]})
print(float(sum(p.double().abs().sum() for p in model.parameters())))
"""


def test_applied_in_a_fresh_process_it_gives_the_same(tmp_path):
    """Also with an activation that no import path reaches: the groups and the draws do not need it."""
    path = str(tmp_path / "plan.json")
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, mode, path], capture_output=True, text=True, timeout=120, check=False
        )
        for mode in ("make", "use")
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[-1].stderr
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stdout.count("'lr'") >= 6


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 20), nn.Linear(20, 2)

    def forward(self, x):
        return self.b(F.elu(self.a(x), 0.7))


def test_a_traced_activation_is_needed_for_the_network_only(x):
    plan = rf.tune(Model(), x)
    again = rf.Plan.from_json(plan.to_json())
    assert again.to_json() == plan.to_json()
    assert (again.depth, again.table()) == (2, plan.table())
    with pytest.raises(ValueError, match="pass it as activations"):
        again.network  # noqa: B018
    name = plan.network.activations[0].name
    given = rf.Plan.from_json(plan.to_json(), activations={name: lambda z: F.elu(z, 0.7)})
    assert given.network.widths == (6, 20, 2)


def test_repr_is_one_line(plan):
    assert repr(plan).startswith("Plan(depth=4, s=")
    assert "\n" not in repr(plan)


def test_inputs_that_are_nearly_alike_are_noted(model, x):
    assert not any("in common" in note for note in rf.tune(model, x).notes)
    assert any("in common is 99%" in note for note in rf.tune(model, x + 10).notes)
