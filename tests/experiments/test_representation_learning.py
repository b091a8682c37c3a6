"""The experiment on representation learning: its rule on made-up numbers, and a small run."""

import numpy as np
import pytest

from repflow.experiments.registry import find_experiment
from repflow.experiments.representation_learning import Found, _depth_part, _width_part, two_widths


def found(width, depth=3, factor=1.0, noise=0.01, slope=-1.0, ratio=0.1, growth=1.0):
    base = (depth - 1) ** growth * width**slope * np.ones((depth, 2, 2))
    size = np.sqrt(4 * base[:, 0, 0] ** 2)
    return Found(
        width=width,
        depth=depth,
        predicted=base,
        measured=factor * base,
        stderr=noise * base,
        relative=size * 0.5,
        measured_relative=factor * size,
        relative_stderr=noise * size,
        ratio=ratio,
        loss=(1.0, 0.1),
    )


@pytest.mark.parametrize(("slope", "verdict"), [(-1.0, "agrees"), (-1.3, "disagrees"), (-1.099, "inconclusive")])
def test_width_rule(slope, verdict):
    assert _width_part([found(n, slope=slope) for n in (16, 32, 64, 128, 256)])[0] == verdict


def test_width_rule_needs_something_measured():
    assert _width_part([found(n, factor=0.0) for n in (16, 32, 64, 128)])[0] == "inconclusive"


@pytest.mark.parametrize(("growth", "verdict"), [(1.0, "agrees"), (-1.0, "disagrees"), (0.0, "inconclusive")])
def test_depth_rule(growth, verdict):
    got, numbers = _depth_part([found(64, depth, growth=growth) for depth in (2, 3, 4, 6)])
    assert got == verdict
    assert numbers["depth_slope"] == pytest.approx(growth, abs=1e-9)


def test_prediction_rule():
    assert two_widths(found(32), found(64))[0] == "agrees"
    assert two_widths(found(32, factor=1.2, noise=0.01), found(64, factor=1.2, noise=0.01))[0] == "disagrees"
    assert two_widths(found(32, ratio=0.6), found(64))[0] == "inconclusive"
    assert two_widths(found(4), found(8))[0] == "inconclusive"  # a relative change of 0.5


@pytest.mark.slow
def test_small_run_agrees_on_its_own_terms():
    outcome = find_experiment("representation-learning").run("small", 0, lambda message, share: None)
    assert outcome.numbers["prediction_verdict"] == "agrees"
    assert outcome.numbers["depth_verdict"] == "agrees"
    assert outcome.verdict in ("agrees", "inconclusive")
    assert abs(outcome.numbers["slope"] + 1) < 0.15
    assert len({len(column) for column in outcome.table.values()}) == 1
