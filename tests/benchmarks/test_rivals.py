"""Each method, read as a plain chain of layers, trains as its own package trains it."""

import math

import pytest
import torch
from rivals import METHODS, check, prepare
from rivals import method as method_of
from rivals.method import linear_layers
from training import Cell, Setting, train

_IMPORTS = {"mup": "mup", "anyinit": "anyinit", "dks": "dks", "unit-scaling": "unit_scaling"}


def found(name):
    for prefix, module in _IMPORTS.items():
        if name.startswith(prefix):
            pytest.importorskip(module)
    return method_of(name)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("activation", "loss"), [("tanh", "mse"), ("gelu", "mse"), ("relu", "cross_entropy")])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_batched_trainer_is_the_packages_own_loop(name, optimizer, activation, loss):
    method, cell = found(name), Cell(activation, 2, 32)
    if not method.takes(cell):
        pytest.skip(f"{name} has no {activation}")
    setting = Setting(optimizer, loss, steps=8)
    off, learned = check(method, cell, setting, 2.0 ** (method.guess[optimizer] - 2), seeds=1)
    assert off < 1e-5
    assert learned > 1e-3  # a run that moves nothing would agree too


@pytest.mark.parametrize(("name", "readout"), [("mup-16", 16 / 64), ("mup-64", 1.0), ("default", 1.0)])
def test_readout_of_mup_is_folded_into_the_weights(name, readout):
    method, cell, setting = found(name), Cell("tanh", 2, 64), Setting("sgd")
    runs = prepare(method, cell, setting, [(1.0, 0)])
    layers = linear_layers(method.model(cell, setting, 0))
    assert torch.allclose(runs.parameters[-2][0], readout * layers[-1].weight)
    # SGD's rate of the readout grows with the width, and its folding takes the square of the multiplier.
    assert float(runs.rates[0, -2]) == pytest.approx(readout)


def test_a_method_is_unknown():
    with pytest.raises(ValueError, match="a method is one of .*got 'xavier'"):
        method_of("xavier")


def test_a_run_that_diverges_stops_and_leaves_the_others_alone():
    method, cell, setting = method_of("default"), Cell("relu", 2, 32), Setting("sgd", steps=25)
    together = train(cell, setting, prepare(method, cell, setting, [(0.1, 0), (64.0, 0), (0.2, 1)]), stop=10.0)
    alone = train(cell, setting, prepare(method, cell, setting, [(0.1, 0), (0.2, 1)]), stop=10.0)
    assert together[1] == math.inf
    assert [together[0], together[2]] == pytest.approx(alone, rel=1e-5)


def test_a_run_ends_where_its_loss_exceeds_the_limit_although_it_would_come_down_again():
    method, cell, setting = method_of("he"), Cell("relu", 2, 32), Setting("sgd", steps=30)
    runs = prepare(method, cell, setting, [(2.0**octave, 0) for octave in (-6, -5, -4, -3, -2)])
    free, stopped = train(cell, setting, runs), train(cell, setting, runs, stop=1.05)
    assert stopped[0] == free[0]
    assert all(b in (a, math.inf) for a, b in zip(free, stopped, strict=True))
    assert any(b == math.inf > a for a, b in zip(free, stopped, strict=True))
