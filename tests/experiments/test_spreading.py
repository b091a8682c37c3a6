"""The experiment on spreading: its rule on made-up numbers, and a small run."""

import json
import math

import pytest

from repflow.experiments import run_experiment
from repflow.experiments.registry import find_experiment
from repflow.experiments.spreading.experiment import between_verdict, judge
from repflow.experiments.verdicts import combined_verdict
from repflow.theories.quantum.covering import Exponent
from repflow.theories.quantum.light_cone import Front


def exponent(value, half=0.04):
    return Exponent(value, value - half, value + half, 1.0, 0.9, 0.9, 0.9)


def front(velocity=0.7, half=0.05, r_squared=0.999):
    return Front(velocity, velocity - half, velocity + half, 0.0, r_squared)


def verdict(*, cone=None, bound=1.8, violations=0, local=1.05, generic=0.0, between=0.4, half=0.04):
    fits = {"local": exponent(local, half), "generic": exponent(generic, half), "k-local": exponent(between, half)}
    parts, numbers = judge(cone or front(), bound, violations, fits)
    assert all(numbers[f"{name}_verdict"] == part for name, part in parts.items())
    return combined_verdict(list(parts.values())), {name for name, part in parts.items() if part != "agrees"}, numbers


def test_all_agree():
    assert verdict()[:2] == ("agrees", set())


@pytest.mark.parametrize(
    ("change", "expected", "part"),
    [
        ({"cone": front(r_squared=0.97)}, "disagrees", "front"),
        ({"cone": front(r_squared=math.nan)}, "inconclusive", "front"),
        ({"cone": front(velocity=2.0)}, "disagrees", "velocity"),
        ({"cone": front(velocity=1.8)}, "inconclusive", "velocity"),
        ({"cone": Front(0.7, 0.4, math.inf, 0.0, 0.99)}, "inconclusive", "velocity"),
        ({"violations": 1}, "disagrees", "velocity"),
        ({"local": 1.4}, "disagrees", "local"),
        ({"local": 1.14}, "inconclusive", "local"),
        ({"generic": 0.2}, "disagrees", "generic"),
        ({"generic": -0.08}, "inconclusive", "generic"),
        ({"between": 1.3}, "disagrees", "k-local"),
        ({"between": -0.3}, "disagrees", "k-local"),
        ({"between": 0.02}, "inconclusive", "k-local"),
        ({"between": 1.03}, "inconclusive", "k-local"),
    ],
)
def test_each_part_can_fail(change, expected, part):
    found, failing, numbers = verdict(**change)
    assert (found, failing) == (expected, {part})
    assert ("k_local_reason" in numbers) == (part == "k-local" and expected == "inconclusive")


def test_wide_intervals_are_inconclusive():
    assert verdict(half=0.5)[0] == "inconclusive"


def test_between_needs_an_order():
    assert between_verdict(exponent(0.4), 1.0, 0.0) == "inconclusive"
    assert between_verdict(exponent(math.nan), 0.0, 1.0) == "inconclusive"


def test_registered_with_its_rule():
    entry = find_experiment("spreading")
    assert "Rule: five parts" in entry.rule
    assert "normalisation" in entry.claim


@pytest.mark.slow
def test_small_run(tmp_path):
    result = run_experiment("spreading", tmp_path, "small", seed=0)
    assert json.loads((tmp_path / "result.json").read_text())["verdict"] == result["verdict"]
    numbers = result["numbers"]
    # Whatever the verdict of so small a run, these are far from their limits.
    assert numbers["front_r_squared"] > 0.98
    assert numbers["velocity_interval"][1] < numbers["lieb_robinson_velocity"]
    assert numbers["bound_exceeded"] == 0
    exponents = {name: entry["exponent"] for name, entry in numbers["exponents"].items()}
    assert exponents["generic"] + 0.2 < exponents["k-local"] < exponents["local"] - 0.2
    assert (tmp_path / "table.csv").read_text().count("\n") > 20
