"""bf16: autocast, and models that are bf16 themselves."""

import math

import pytest
import torch
from tests.integration.setting import generator, make, train

import repflow as rf

KINDS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class Autocast(torch.nn.Module):
    """Runs a model under autocast, and says in which format its output came."""

    def __init__(self, model):
        super().__init__()
        self.model, self.formats = model, set()

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = self.model(x)
        self.formats.add(out.dtype)
        return out.float()


@pytest.mark.parametrize("name", KINDS)
def test_autocast_trains_as_full_precision_does(name, x, y):
    ends = {}
    for precise in (True, False):
        model = make(dtype=torch.float32)
        plan = rf.tune(model, x.float(), y, loss="cross_entropy")
        plan.initialize_(model, generator())
        run = model if precise else Autocast(model)
        optimizer = KINDS[name](plan.param_groups(model, optimizer=name))
        losses = train(run, optimizer, x.float(), y, steps=30)
        assert all(map(math.isfinite, losses))
        assert losses[-1] < 0.5 * losses[0]
        ends[precise] = losses[-1]
    assert run.formats == {torch.bfloat16}
    assert ends[False] == pytest.approx(ends[True], rel=0.2)


def test_tuning_under_autocast_gives_the_same_plan(x, y):
    model = make(dtype=torch.float32)
    plain = rf.tune(model, x.float(), y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = rf.tune(model, x.float(), y)
    assert inside.to_json() == plain.to_json()


@pytest.mark.parametrize("name", KINDS)
def test_a_model_of_bf16_trains(name, x, y):
    model = make(dtype=torch.bfloat16)
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    losses = train(model, KINDS[name](plan.param_groups(model, optimizer=name)), x.bfloat16(), y, steps=30)
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.5 * losses[0]
