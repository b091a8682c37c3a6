"""Schedulers keep the ratios of the groups' rates, and drive them where they say."""

import math

import pytest
import torch
from tests.integration.setting import generator, rates, train
from torch.optim import lr_scheduler as schedulers

import repflow as rf

STEPS = 24
MAKE = {
    "LambdaLR": lambda optimizer, plan: schedulers.LambdaLR(optimizer, lambda step: 1 - step / (2 * STEPS)),
    "CosineAnnealingLR": lambda optimizer, plan: schedulers.CosineAnnealingLR(optimizer, T_max=STEPS),
    "CosineAnnealingWarmRestarts": lambda optimizer, plan: schedulers.CosineAnnealingWarmRestarts(optimizer, T_0=8),
    "StepLR": lambda optimizer, plan: schedulers.StepLR(optimizer, 8, gamma=0.5),
    "LinearLR": lambda optimizer, plan: schedulers.LinearLR(optimizer, 0.1, total_iters=10),
    "OneCycleLR": lambda optimizer, plan: schedulers.OneCycleLR(
        optimizer, max_lr=plan.scale(1.0), total_steps=STEPS + 1, cycle_momentum=False
    ),
    "CyclicLR": lambda optimizer, plan: schedulers.CyclicLR(
        optimizer, base_lr=plan.scale(0.1), max_lr=plan.scale(1.0), step_size_up=8, cycle_momentum=False
    ),
    "SequentialLR": lambda optimizer, plan: schedulers.SequentialLR(
        optimizer,
        [schedulers.LinearLR(optimizer, 0.1, total_iters=6), schedulers.CosineAnnealingLR(optimizer, STEPS)],
        milestones=[6],
    ),
}


@pytest.mark.parametrize("name", MAKE)
def test_ratios_are_kept_and_the_loss_falls(name, model, x, y):
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    optimizer = torch.optim.SGD(plan.param_groups(model))
    at_one = [group["lr"] for group in optimizer.param_groups]
    assert len(set(at_one)) > 3
    schedule = MAKE[name](optimizer, plan)
    start, factors = None, []
    for _ in range(STEPS):
        now = [group["lr"] / rate for group, rate in zip(optimizer.param_groups, at_one, strict=True)]
        assert now == pytest.approx([now[0]] * len(now), rel=1e-9)
        factors.append(now[0])
        losses = train(model, optimizer, x, y, 1, schedule)
        start = losses[0] if start is None else start
    assert max(factors) <= 1 + 1e-9
    assert max(factors) / (min(factors) + 1e-9) > 1.5  # it did something
    assert losses[-1] < 0.7 * start


def test_cosine_to_a_floor_wants_a_factor_rather_than_a_rate(model, x):
    """eta_min is one rate for all groups: it would end the ratios, so the floor belongs into a LambdaLR."""
    plan = rf.tune(model, x)
    optimizer = torch.optim.SGD(plan.param_groups(model))
    at_one = rates(optimizer.param_groups, model)
    floor = schedulers.LambdaLR(optimizer, lambda step: 0.1 + 0.45 * (1 + math.cos(math.pi * step / STEPS)))
    for _ in range(STEPS):
        optimizer.step()
        floor.step()
    assert rates(optimizer.param_groups, model) == pytest.approx([0.1 * rate for rate in at_one])


def test_one_cycle_with_one_rate_for_all_would_end_the_ratios(model, x):
    """Why ``plan.scale`` exists."""
    plan = rf.tune(model, x)
    optimizer = torch.optim.SGD(plan.param_groups(model))
    schedulers.OneCycleLR(optimizer, max_lr=1.0, total_steps=10, cycle_momentum=False)
    assert len({group["lr"] for group in optimizer.param_groups}) == 1


def test_the_state_of_optimizer_and_schedule_goes_through_a_checkpoint(model, x, y, tmp_path):
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())

    def fresh():
        optimizer = torch.optim.AdamW(plan.param_groups(model, optimizer="adamw", weight_decay=0.01))
        return optimizer, schedulers.CosineAnnealingLR(optimizer, T_max=STEPS)

    optimizer, schedule = fresh()
    train(model, optimizer, x, y, 5, schedule)
    parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    torch.save(parts, tmp_path / "checkpoint.pt")
    expected = train(model, optimizer, x, y, 5, schedule)
    saved = torch.load(tmp_path / "checkpoint.pt")
    optimizer, schedule = fresh()
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    assert train(model, optimizer, x, y, 5, schedule) == expected
