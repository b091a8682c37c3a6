"""Files, copies, averages, functional calls, meta devices; and what is *not* done to a model."""

import copy
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.integration.setting import data, generator, make, rates, train, values
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import repflow as rf

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = """
import sys
import torch
import repflow as rf
from tests.integration.setting import data, make, train
folder = sys.argv[1]
model = make().requires_grad_(True)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.zero_()
model.load_state_dict(torch.load(f"{folder}/model.pt"))
plan = rf.load(f"{folder}/plan.json")
optimizer = torch.optim.AdamW(plan.param_groups(model, optimizer="adamw", weight_decay=0.1))
print([loss.hex() for loss in train(model, optimizer, *data(), steps=8)])
"""


@pytest.mark.slow
def test_plan_and_weights_through_files_give_the_same_training_in_a_fresh_process(model, x, y, tmp_path):
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    plan.save(tmp_path / "plan.json")
    torch.save(model.state_dict(), tmp_path / "model.pt")
    optimizer = torch.optim.AdamW(plan.param_groups(model, optimizer="adamw", weight_decay=0.1))
    here = [loss.hex() for loss in train(model, optimizer, x, y, steps=8)]
    assert float.fromhex(here[-1]) < 0.5 * float.fromhex(here[0])
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(here)


def test_a_plan_draws_the_same_weights_after_a_file(model, x, tmp_path):
    plan = rf.tune(model, x)
    plan.initialize_(model, generator())
    first = values(model)
    rf.Plan.from_json(plan.to_json()).initialize_(model, generator())
    assert all(map(torch.equal, values(model), first))


def test_a_deepcopy_trains_like_the_model_and_apart_from_it(model, x, y):
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    twin = copy.deepcopy(model)
    before = values(model)
    losses = train(twin, torch.optim.SGD(plan.param_groups(twin)), x, y)
    assert all(map(torch.equal, values(model), before))
    assert train(model, torch.optim.SGD(plan.param_groups(model)), x, y) == losses
    assert copy.deepcopy(plan).to_json() == plan.to_json()


def test_a_moving_average_beside_the_model(model, x, y):
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    optimizer = torch.optim.SGD(plan.param_groups(model))
    by_hand = values(model)
    for step in range(6):
        train(model, optimizer, x, y, 1)
        average.update_parameters(model)
        by_hand = values(model) if step == 0 else [0.5 * a + 0.5 * b for a, b in zip(by_hand, values(model))]
    for a, b in zip(average.parameters(), by_hand, strict=True):
        torch.testing.assert_close(a, b)
    # the plan knows the parameters inside, under their own names
    assert rates(plan.param_groups(average), average) == rates(plan.param_groups(model), model)
    assert rf.tune(average, x, y).scaling == rf.tune(model, x, y).scaling


def test_the_weights_work_in_a_functional_call(model, x, y):
    """A step written with torch.func, on a plain dictionary of tensors, is the optimiser's step."""
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def loss(weights):
        return nn.functional.cross_entropy(torch.func.functional_call(model, weights, x), y)

    gradient = torch.func.grad(loss)(weights)
    rate = {entry.name: entry.sgd for entry in plan.parameters}
    stepped = {name: value - rate[name] * gradient[name] for name, value in weights.items()}
    train(model, torch.optim.SGD(plan.param_groups(model)), x, y, 1)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), stepped[name], rtol=1e-7, atol=1e-10)


def test_a_model_without_data_is_planned_then_made(x, y):
    empty = make(device="meta")
    plan = rf.tune(empty, x, y, loss="cross_entropy")
    assert all(parameter.is_meta for parameter in empty.parameters())
    assert plan.current is None
    with pytest.raises(ValueError, match="materialise the model first"):
        plan.initialize_(empty, generator())
    made = empty.to_empty(device="cpu")
    plan.initialize_(made, generator())
    full = make()
    direct = rf.tune(full, x, y, loss="cross_entropy")
    direct.initialize_(full, generator())
    assert all(map(torch.equal, values(made), values(full)))
    assert rates(plan.param_groups(made), made) == rates(direct.param_groups(full), full)
    losses = train(made, torch.optim.SGD(plan.param_groups(made)), x, y, 20)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal"])
def test_a_parametrised_weight_is_measured_and_named(kind, model, x, y):
    getattr(nn.utils.parametrizations, kind)(model[2])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plan = rf.tune(model, x, y, loss="cross_entropy")
    # Looking at a spectral norm's weight would move its buffers.
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    (note,) = (note for note in plan.notes if "parametrisation" in note)
    assert "measured" in note
    assert "weight of '2' is computed from other parameters" in note
    assert {entry.name for entry in plan.parameters} == {name for name, _ in model.named_parameters()}
    plan.initialize_(model, generator())
    losses = train(model, torch.optim.AdamW(plan.param_groups(model, optimizer="adamw")), x, y, 30)
    assert losses[-1] < 0.5 * losses[0]
    nn.utils.parametrize.remove_parametrizations(model[2], "weight")
    assert not any("parametrisation" in note for note in rf.tune(model, x, y).notes)


def marks(model):
    """Everything that a library could leave behind on a model, but for the values of its parameters."""
    return {
        "classes": [type(part) for part in model.modules()],
        "forward": [part.forward.__func__ for part in model.modules()],
        "own names": [
            sorted(key for key in vars(part) if key not in ("_parameters", "_buffers", "_modules"))
            for part in model.modules()
        ],
        "hooks": [
            sum(len(value) for key, value in vars(part).items() if key.endswith("hooks") and value)
            for part in model.modules()
        ],
        "parameters": [(name, id(p), type(p), dict(vars(p)), p.requires_grad) for name, p in model.named_parameters()],
        "parameter hooks": [p._backward_hooks for p in model.parameters()],
        "buffers": [name for name, _ in model.named_buffers()],
        "state": list(model.state_dict()),
    }


def test_nothing_is_left_on_the_model(model, x, y):
    before = marks(model)
    assert all(vars(parameter) == {} for parameter in model.parameters())
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    for name, kind in (("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)):
        losses = train(model, kind(plan.param_groups(model, optimizer=name)), x, y)
        assert all(map(math.isfinite, losses))
    plan.table("html")
    plan.transfer_to(model, x)
    assert marks(model) == before


def test_the_data_stay_as_they_are():
    x, y = data()
    kept = x.clone()
    rf.tune(make(), x, y)
    assert torch.equal(x, kept)
