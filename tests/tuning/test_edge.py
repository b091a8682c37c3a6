"""The edge of stability: the smallest rate at which the full-batch loss of real networks rises within 30 steps.

Measured on 64 digits, 3 hidden layers, s = 0, full batch, mean over seeds, relative to the prediction: 1.00 for tanh at width 256 with one
output (odd or even), where the slow figures below are taken. Further away: see docs/tuning.md.
"""

import pytest
import torch
from tests.tuning.simulate import first_rise, model_of, rises
from torch import nn

import repflow as rf


def odd_or_even(digits):
    return digits[0], (2.0 * (digits[1].argmax(1) % 2) - 1)[:, None].double()


def rise_over_edge(activation, width, x, y, seeds):
    """Mean over networks of the first rate that makes the loss rise, over the predicted edge."""
    model = model_of((x.shape[1], width, width, width, y.shape[1]), activation)
    plan = rf.tune(model, x, y, scaling=0.0)
    edge = plan.max_learning_rate()
    found = [
        first_rise(
            plan, lambda seed=seed: plan.initialize_(model, torch.Generator().manual_seed(seed)), x, y, 0.8 * edge
        )
        for seed in range(seeds)
    ]
    return sum(found) / seeds / edge


def test_below_the_edge_the_loss_falls_and_well_above_it_rises(digits):
    x, y = odd_or_even(digits)
    model = model_of((64, 256, 256, 256, 1), nn.Tanh)
    plan = rf.tune(model, x, y, scaling=0.0)
    edge = plan.max_learning_rate()
    for seed in range(3):
        for share, expected in ((0.7, False), (1.4, True)):
            plan.initialize_(model, torch.Generator().manual_seed(seed))
            assert rises(plan, model, x, y, share * edge) == expected


def test_momentum_moves_the_edge(digits):
    """Heavy ball at the plan's rates: stable at 0.8 of its edge, unstable at 1.3 of it, for a single linear layer."""
    x, y = odd_or_even(digits)
    model = model_of((64, 1), nn.Tanh)
    plan = rf.tune(model, x, y)
    for share, grows in ((0.8, False), (1.3, True)):
        lr = share * plan.max_learning_rate(momentum=0.8)
        plan.initialize_(model, torch.Generator().manual_seed(0))
        optimizer = torch.optim.SGD(plan.param_groups(model, lr=lr, momentum=0.8))
        for _ in range(200):
            loss = ((model(x) - y) ** 2).sum() / 2 / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert (loss.item() > 10) == grows


@pytest.mark.slow
def test_first_rise_is_at_the_predicted_edge(digits):
    """Width 256, tanh, 20 networks, a grid of 2%: within 10%."""
    assert rise_over_edge(nn.Tanh, 256, *odd_or_even(digits), seeds=20) == pytest.approx(1.0, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
def test_first_rise_of_wide_networks(activation, digits):
    """Width 1024, where the kernel moves little in 30 steps, for each activation: within 10%."""
    assert rise_over_edge(activation, 1024, *odd_or_even(digits), seeds=3) == pytest.approx(1.0, rel=0.1)
