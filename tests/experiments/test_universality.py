"""The universality experiment: flows against direct recursion, the rule on made-up flows, and a small run."""

import math

import numpy as np
import pytest

from repflow.criticality import critical, typical_behaviour
from repflow.experiments import run_experiment
from repflow.experiments.universality.experiment import _scale_invariant, judge_flows, judge_networks
from repflow.experiments.universality.members import DEPTHS, Member, bump, follow, inverse_sinh, lopsided
from repflow.experiments.universality.networks import Ensemble, spread_of


@pytest.fixture(scope="module")
def tanh_member():
    return follow("tanh", critical("tanh"))


def test_spline_flow_is_the_recursion(tanh_member):
    path = typical_behaviour("tanh", 1.0, 0.0, 1.0, 300)
    for depth in (100, 300):
        place = int(np.flatnonzero(tanh_member.depths == depth)[0])
        assert tanh_member.kernel[place] == pytest.approx(2 * path.kernel[depth - 1] * depth, rel=1e-9)
        expected = path.vertex[depth - 1] / path.kernel[depth - 1] ** 2 / (2 / 3 * depth)
        assert tanh_member.vertex[place] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("spec", "alpha", "b"),
    [
        # sigma = z + a2 z^2 + a3 z^3 + a4 z^4 + a5 z^5: <s^2> = K + 3 (a2^2 + 2 a3) K^2 + 15 (a3^2 + 2 a5 + 2 a2 a4) K^3
        ("tanh", 2.0, 15 * (1 / 9 + 4 / 15)),
        ("sin", 1.0, 15 * (1 / 36 + 2 / 120)),
        (inverse_sinh, 1.0, 15 * (1 / 36 + 2 * 3 / 40)),
        (bump, 3.0, 15 * (1 / 4 + 2 / 8)),
        (lopsided, 2.0 - 3 / 16, 15 * (1 / 9 + 4 / 15 + 2 * 0.25 * (-2 / 3) * 0.25)),
    ],
)
def test_taylor_coefficients_by_hand(spec, alpha, b):
    member = follow(spec, critical(spec))
    assert member.alpha == pytest.approx(alpha, rel=1e-9)
    assert member.beta == pytest.approx(b / alpha**2, rel=1e-9)
    assert member.log_coefficient() == pytest.approx(1 - member.beta, abs=0.01)


def member(name, strength, power=1.0, beta=0.5, end=0.0):
    """V/(nu K^2 l) = 1 + strength (log l/l)^power + end, with the coefficient 1 - beta told."""
    depths = np.unique(np.concatenate([np.geomspace(1, DEPTHS[-1], 200).round().astype(np.int64), DEPTHS]))
    l_ = depths.astype(float)
    curve = 1.0 + strength * (np.log(l_) / l_) ** power + end
    return Member(name, 1.0, beta, 2 / 3, 1.0, depths, np.ones(len(depths)), curve)


@pytest.mark.parametrize(
    ("members", "part", "verdict"),
    [
        ([member("a", 0.5), member("b", -0.5, beta=1.5)], "spread falls as log(L)/L", "agrees"),
        ([member("a", 0.5, 0.4), member("b", -0.5, 0.4)], "spread falls as log(L)/L", "disagrees"),
        ([member("a", 0.5), member("b", -0.5, beta=1.5)], "what is left is known", "agrees"),
        ([member("a", 0.5), member("b", -0.5, beta=1.2)], "what is left is known", "disagrees"),
        ([member("a", 0.5), member("b", 0.1, beta=0.9)], "smooth members at 10,000", "agrees"),
        ([member("a", 0.5), member("b", 0.1, end=0.02)], "smooth members at 10,000", "disagrees"),
    ],
)
def test_rule_of_flows(members, part, verdict):
    verdicts, _ = judge_flows(members)
    assert verdicts[part] == verdict


def test_a_kinked_member_off_its_value_disagrees():
    kinked = Member("k", math.nan, math.nan, 2 / 3, 2.0, np.array(DEPTHS), np.ones(5), np.full(5, 1.05))
    verdicts, _ = judge_flows([member("a", 0.5), member("b", 0.2, beta=0.8), kinked])
    assert verdicts["kinked members at 10,000"] == "disagrees"


def ensemble(name, width, value, mean, stderr=0.001):
    return Ensemble(name, width, (8,), np.array([value]), np.array([stderr]), np.array([1.0]), mean, stderr, 1.0)


@pytest.mark.parametrize(
    ("wide", "near", "converge"),
    [
        ((1.01, 1.02), "agrees", "agrees"),
        ((1.2, 1.02), "disagrees", "agrees"),
        ((1.1, 1.02), "inconclusive", "agrees"),
        ((1.01, 1.4), "agrees", "disagrees"),
        ((1.01, 1.3), "agrees", "inconclusive"),
    ],
)
def test_rule_of_networks(wide, near, converge):
    found = [ensemble("a", 32, 1.0, 1.0), ensemble("b", 32, 1.0, 1.3)]
    found += [ensemble("a", 256, 1.0, 1.0), ensemble("b", 256, *wide)]
    verdicts, numbers = judge_networks(found)
    assert verdicts == {"networks lie on the limit": near, "networks of all members converge": converge}
    assert spread_of(found[:2])[0] == pytest.approx(math.log(1.3))
    assert numbers["limit"] == 1.0


def test_scale_invariant_class_is_one_curve():
    verdict, found = _scale_invariant()
    assert verdict == "agrees"
    assert found["relu"]["nu"] == 5.0
    assert found["identity"]["nu"] == found["abs"]["nu"] == 2.0


@pytest.mark.slow
def test_small_run(tmp_path):
    result = run_experiment("universality", tmp_path / "a", size="small", seed=1)
    assert result["verdict"] in ("agrees", "inconclusive")
    assert {"tanh", "sin", "erf", "arctan"} < set(result["numbers"]["smooth_members"])
    again = run_experiment("universality", tmp_path / "b", size="small", seed=1)
    assert again["numbers"] == result["numbers"]
