"""The emergent-scale experiment: its rule on made-up numbers, its figures, and a small run end to end."""

import json
import math

import numpy as np
import pytest

from repflow.experiments import run_experiment
from repflow.experiments.emergent_scale import (
    Point,
    _collapse,
    extrapolate,
    off_criticality,
    plateau_rate,
    ratio_interval,
)

SET = ((100, 10), (200, 20))


def point(activation, width, hidden, value, stderr=0.001, closed=None):
    return Point(activation, width, hidden, value, stderr, 0.0, closed, 1.0, 1000)


@pytest.mark.parametrize(
    ("second", "stderr", "verdict"),
    [(1.02, 0.005, "agrees"), (1.10, 0.005, "disagrees"), (1.04, 0.02, "inconclusive"), (0.9, 0.005, "disagrees")],
)
def test_collapse_rule(second, stderr, verdict):
    points = [point(a, n, h, v, stderr, 1.0) for a in ("relu", "tanh") for (n, h), v in zip(SET, (1.0, second))]
    verdicts, numbers = _collapse(points, (SET,))
    assert verdicts["relu collapses"] == verdicts["tanh collapses"] == verdict
    assert numbers["collapse"][0]["pairs"][0]["ratio"] == pytest.approx(second)


@pytest.mark.parametrize(("closed", "verdict"), [(1.0, "agrees"), (1.2, "disagrees"), (1.049, "inconclusive")])
def test_relu_has_to_be_exact(closed, verdict):
    points = [point(a, n, h, 1.0, 0.002, closed if a == "relu" else None) for a in ("relu", "tanh") for n, h in SET]
    verdicts, _ = _collapse(points, (SET,))
    assert verdicts["relu is exact"] == verdict
    assert verdicts["tanh collapses"] == "agrees"


def plateau(width, rate, hidden, level=1.0, stderr=1e-5):
    values = level / width * (1 - np.exp(-rate * np.asarray(hidden)))
    return [point("off", width, h, float(v), stderr / width) for h, v in zip(hidden, values)]


@pytest.mark.parametrize(
    ("rate", "level", "collapses", "exponential"),
    [
        (0.4, 1.0, "agrees", "agrees"),
        (0.3, 1.0, "agrees", "disagrees"),
        (0.4, 4.0, "disagrees", "agrees"),  # the wide network as large as the narrow one at this L/n
    ],
)
def test_off_criticality_rule(rate, level, collapses, exponential):
    points = [*plateau(64, 0.4, range(1, 17)), *plateau(256, rate, range(1, 65), level)]
    verdicts, numbers = off_criticality(points, math.exp(-0.2))
    assert verdicts["off criticality nothing collapses"] == collapses
    assert verdicts["off criticality it is exponential"] == exponential
    assert numbers["rate"] == pytest.approx(rate, rel=1e-3)
    assert numbers["xi_parallel"] == pytest.approx(5.0)


def test_an_uncertain_rate_is_inconclusive():
    points = [*plateau(64, 0.4, range(1, 17)), *plateau(256, 0.4, range(1, 65), stderr=0.3)]
    verdicts, _ = off_criticality(points, math.exp(-0.2))
    assert verdicts["off criticality it is exponential"] == "inconclusive"


def test_extrapolation_and_ratios():
    points = [point("relu", n, 1, 3.0 + 5.0 / n, 0.01) for n in (100, 200, 400)]
    value, error = extrapolate(points)
    assert value == pytest.approx(3.0)
    assert 0.01 < error < 0.03
    two, error = extrapolate(points[1:])  # (n2 c2 - n1 c1)/(n2 - n1)
    assert two == pytest.approx((400 * points[2].value - 200 * points[1].value) / 200)
    assert error == pytest.approx(0.01 * math.hypot(400, 200) / 200)
    ratio, low, high = ratio_interval(point("a", 1, 1, 2.0, 0.02), point("a", 1, 1, 1.0, 0.01))
    assert ratio == 2.0
    assert math.log(high / low) == pytest.approx(2 * 1.959964 * 0.01 * math.sqrt(2))


def test_plateau_rate_covers_correlated_errors():
    rate, error = plateau_rate(plateau(10, 0.25, range(1, 30)))
    assert rate == pytest.approx(0.25, rel=1e-4)
    assert error > 0


@pytest.mark.slow
def test_small_run(tmp_path):
    result = run_experiment("emergent-scale", tmp_path / "a", size="small", seed=1)
    assert result["verdict"] in ("agrees", "inconclusive")
    for entry in result["numbers"]["collapse"]:
        for value, error, exact in zip(entry["measured"], entry["stderr"], entry["exact"]):
            if exact is not None:
                assert value == pytest.approx(exact, abs=4.5 * error)
    assert json.loads((tmp_path / "a" / "result.json").read_text()) == result
    assert "collapse" in result["numbers"]
    again = run_experiment("emergent-scale", tmp_path / "b", size="small", seed=1)
    assert again["numbers"] == result["numbers"]
    assert (tmp_path / "a" / "table.csv").read_text() == (tmp_path / "b" / "table.csv").read_text()
