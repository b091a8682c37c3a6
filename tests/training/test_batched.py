"""The batched trainer against torch.optim, run the way a user would write it."""

import itertools

import pytest
import torch
from torch import nn

from repflow.training import loss_of, outputs, stack, train

WIDTHS, ROWS, BATCH, STEPS = (6, 16, 16, 3), 40, 10, 12
LIBRARY = {
    "mse": lambda f, y: 0.5 * ((f - y) ** 2).sum() / len(f),
    "mse_mean": nn.MSELoss(),
    "cross_entropy": lambda f, y: nn.functional.cross_entropy(f, y.argmax(1)),
}


def model(seed):
    torch.manual_seed(seed)
    parts = []
    for a, b in itertools.pairwise(WIDTHS):
        parts += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*parts[:-1]).double()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(ROWS, WIDTHS[0], generator=generator, dtype=torch.float64)
    return x, nn.functional.one_hot(torch.randint(3, (ROWS,), generator=generator), 3).double()


@pytest.mark.parametrize("loss", ["mse", "mse_mean", "cross_entropy"])
@pytest.mark.parametrize(
    ("optimizer", "momentum", "make"),
    [
        ("sgd", 0.0, torch.optim.SGD),
        ("sgd", 0.9, lambda groups: torch.optim.SGD(groups, momentum=0.9)),
        ("adam", 0.0, torch.optim.Adam),
    ],
)
def test_it_is_torchs_own_loop(data, loss, optimizer, momentum, make):
    x, y = data
    seeds = [5, 5, 8]
    rates = torch.tensor([[0.01 * (1 + r + p) for p in range(6)] for r in range(3)], dtype=torch.float64)
    eps = torch.tensor([[1e-3 * (1 + p) for p in range(6)]] * 3, dtype=torch.float64)
    models = [model(seed) for seed in range(3)]
    found = train(
        stack(models),
        torch.tanh,
        rates,
        x,
        y,
        seeds=seeds,
        steps=STEPS,
        batch=BATCH,
        optimizer=optimizer,
        loss=loss,
        momentum=momentum,
        eps=eps,
    )
    for r, alone in enumerate(models):
        extra = [{"eps": float(e)} if optimizer == "adam" else {} for e in eps[r]]
        groups = [
            {"params": [p], "lr": float(rate), **more}
            for p, rate, more in zip(alone.parameters(), rates[r], extra, strict=True)
        ]
        stepper = make(groups)
        generator = torch.Generator().manual_seed(seeds[r])
        for step in range(STEPS):
            rows = torch.randperm(ROWS, generator=generator)[:BATCH]
            value = LIBRARY[loss](alone(x[rows]), y[rows])
            assert found.losses[step, r] == pytest.approx(value.item(), rel=1e-9)
            stepper.zero_grad()
            value.backward()
            stepper.step()
        for ours, theirs in zip(found.parameters, alone.parameters(), strict=True):
            assert torch.allclose(ours[r], theirs, rtol=1e-9, atol=1e-12)


def test_outputs_and_losses_of_all(data):
    x, y = data
    models = [model(seed) for seed in range(4)]
    f = outputs(stack(models), torch.tanh, x)
    assert torch.allclose(f, torch.stack([alone(x) for alone in models]))
    for name, theirs in LIBRARY.items():
        expected = [theirs(alone(x), y).item() for alone in models]
        assert loss_of(name, f, y).tolist() == pytest.approx(expected)


def test_what_is_given_stays(data):
    x, y = data
    initial = stack([model(0)])
    before = [parameter.clone() for parameter in initial]
    told = []
    train(initial, torch.tanh, torch.ones(1, 6), x, y, seeds=[0], steps=3, batch=ROWS, told=told.append)
    assert all(torch.equal(a, b) for a, b in zip(initial, before))
    assert told == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": torch.ones(1, 5)}, "rates"),
        ({"seeds": [0, 1]}, "seeds"),
        ({"steps": 0}, "steps"),
        ({"batch": ROWS + 1}, "batch"),
        ({"optimizer": "lion"}, "lion"),
        ({"loss": "hinge"}, "hinge"),
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": 0.5, "optimizer": "adam"}, "momentum"),
        ({"targets": torch.zeros(3, 3)}, "targets"),
        ({"parameters": [torch.zeros(1, 3, 6)]}, "parameters"),
    ],
)
def test_arguments(data, change, message):
    x, y = data
    arguments = {"parameters": stack([model(0)]), "sigma": torch.tanh, "rates": torch.ones(1, 6), "x": x, "targets": y}
    with pytest.raises(ValueError, match=message):
        train(**{**arguments, "seeds": [0], "steps": 1, "batch": 5, **change})


def test_models_of_one_shape_only():
    with pytest.raises(ValueError, match="same shapes"):
        stack([model(0), nn.Linear(2, 2)])
    with pytest.raises(ValueError, match="at least one"):
        stack([])
