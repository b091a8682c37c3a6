"""The transfer experiment: its rule on made-up sweeps, its trainer against torch's Adam, and a small run."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from repflow.experiments import hyperparameter_transfer as module
from repflow.experiments import run_experiment
from repflow.experiments.hyperparameter_transfer import Sweep, drift, train_adam, verdict_of

SHAPES = ((2, 16), (2, 128))


def sweep(*best):
    """A sweep whose best octave is ``best[seed]``."""
    octaves = np.arange(-12.0, 5.0)
    return Sweep(octaves, np.stack([1.0 + np.abs(octaves - octave) for octave in best], axis=1))


def found(plan, default=((-5, -5), (-8, -8)), he=((-4, -4), (-6, -6))):
    methods = {"plan": plan, "default": default, "he": he}
    return {
        method: {shape: sweep(*best) for shape, best in zip(SHAPES, bests, strict=True)}
        for method, bests in methods.items()
    }


@pytest.mark.parametrize(
    ("plan", "verdict"),
    [
        (((0, 0), (1, 1)), "agrees"),
        (((-1, -1), (-1, -1)), "agrees"),
        (((-1, -1), (1, 1)), "disagrees"),  # near lr = 1.0, but it moves
        (((2, 2), (2, 2)), "disagrees"),  # it stays, but not at lr = 1.0
        (((0, 0), (0, 2)), "inconclusive"),  # one seed moves
    ],
)
def test_rule(plan, verdict):
    assert verdict_of(found(plan), seeds=2) == verdict


def test_rule_asks_that_the_others_move():
    assert verdict_of(found(((0, 0), (0, 0)), he=((-4, -4), (-5, -5))), seeds=2) == "inconclusive"


def test_best_and_drift():
    sweeps = [sweep(-5, -3), sweep(1, 1)]
    assert [one.best(0) for one in sweeps] == [-5.0, 1.0]
    assert sweeps[0].best() in (-5.0, -4.0, -3.0)
    assert drift(sweeps, 0) == 6.0
    assert sweeps[1].at(1.0) == 1.0
    diverged = Sweep(np.array([-1.0, 0.0, 1.0]), np.array([[0.2, 0.3], [0.1, math.inf], [math.inf, math.inf]]))
    assert (diverged.best(), diverged.best(0)) == (-1.0, 0.0)


def test_trainer_is_torchs_adam():
    x, y = torch.randn(150, 5, generator=torch.Generator().manual_seed(0)), torch.arange(150) % 3
    targets = nn.functional.one_hot(y, 3).float()
    models, rates = [], []
    for seed in (3, 4):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            models.append(nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)))
        rates.append([0.01 * seed, 0.003, 0.02, 0.001])
    stacked = [torch.stack(parts).detach() for parts in zip(*(m.parameters() for m in models), strict=True)]
    eps = torch.tensor([[1e-6, 1e-8, 1e-3, 1e-8]] * 2)
    together = train_adam(stacked, torch.tensor(rates), eps, x, targets, [3, 4], steps=12)
    for model, seed, rate, loss in zip(models, (3, 4), rates, together, strict=True):
        settings = zip(model.parameters(), rate, eps[0].tolist(), strict=True)
        optimizer = torch.optim.Adam([{"params": [p], "lr": lr, "eps": e} for p, lr, e in settings])
        order = torch.Generator().manual_seed(10_000 + seed)
        for _ in range(12):
            rows = torch.randperm(150, generator=order)[: module.BATCH]
            optimizer.zero_grad()
            (0.5 * ((model(x[rows]) - targets[rows]) ** 2).sum(-1).mean()).backward()
            optimizer.step()
        assert loss == pytest.approx(float((0.5 * ((model(x) - targets) ** 2).sum(-1).mean()).detach()), rel=1e-5)


def test_a_grid_grows_until_its_best_rate_is_inside(monkeypatch):
    tried = []

    def curve(parameters, rates, eps, x, targets, seeds, steps):
        octaves = [math.log2(float(rate[0])) for rate in rates]
        tried.extend(octaves)
        return [1.0 + abs(octave + 14.0) for octave in octaves]

    monkeypatch.setattr(module, "train_adam", curve)
    x, y = module._digits()
    one = module._sweep("default", (2, 8), x, y, 10, range(2))
    assert one.best() == -14.0
    assert one.octaves.tolist() == list(range(-15, -4))
    assert one.losses.shape == (11, 2)
    assert len(tried) == 2 * len(set(tried))


@pytest.mark.slow
def test_small_run(tmp_path):
    before = torch.random.get_rng_state()
    result = run_experiment("hyperparameter-transfer", tmp_path, size="small", seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert result["verdict"] == "agrees"
    numbers = result["numbers"]
    assert numbers["drift_plan"] <= 1.0 < min(numbers["drift_default"], numbers["drift_he"])
    assert max(numbers["ratio_unswept_to_best_rival"].values()) < 1.0
    assert (tmp_path / "figure.html").stat().st_size > 10_000
    header = (tmp_path / "table.csv").read_text().splitlines()[0]
    assert header == "method,hidden,width,log2_rate,loss,spread"
