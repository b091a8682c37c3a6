"""The experiment on averages over labelings: its rule on made-up numbers, and a small run."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest

from repflow.experiments.no_free_lunch import (
    Row,
    _chance_part,
    _exact_part,
    _match_part,
    _monte_carlo_part,
    in_errors,
    judge,
    learners_of,
)
from repflow.experiments.registry import find_experiment
from repflow.theories.labels import ExactAverage, Memorisation, NearestNeighbour, exact_average

NAMES = ["a", "b", "c"]


def row(means, sds=0.03, draws=400, matching="a", family="family", seed=0):
    """Accuracies with exactly these means and standard deviations, independent of one another."""
    noise = np.random.default_rng(seed).standard_normal((len(means), draws))
    noise -= noise.mean(axis=1, keepdims=True)
    noise /= noise.std(axis=1, ddof=1, keepdims=True)
    sds = np.broadcast_to(sds, len(means))
    return Row(family, 10, 20, np.array(means)[:, None] + sds[:, None] * noise, matching)


def test_exact_rule():
    right = [exact_average(Memorisation(), 2), exact_average(NearestNeighbour(), 2)]
    verdict, numbers = _exact_part(right)
    assert verdict == "agrees"
    entry = numbers["exact"]["memorisation"]
    assert entry["by_training_images"] == ["1/2"] * 4
    assert (entry["splits_at_one_half"], entry["splits"], entry["fits"]) == (15, 15, 81)
    assert Fraction(entry["worst_labeling"]) < Fraction(1, 2) < Fraction(entry["best_labeling"])
    # One hit more for one labeling and one split.
    hits = right[1].hits.copy()
    hits[3, 1] += 1
    assert _exact_part([right[0], ExactAverage("b", 2, 81, hits)])[0] == "disagrees"
    # Splits of one size that are off in opposite directions: every size at 1/2, but not every split.
    hits[3, 2] -= 1
    wrong = ExactAverage("b", 2, 81, hits)
    assert wrong.by_size == [Fraction(1, 2)] * 4
    assert _exact_part([wrong])[0] == "disagrees"


# Simultaneous intervals of three learners: 2.4 standard errors at 95%, 3.6 at 99.9%.
@pytest.mark.parametrize(
    ("means", "sd", "verdict"),
    [
        ([0.5, 0.501, 0.499], 0.03, "agrees"),  # standard error 0.0015
        ([0.5, 0.5, 0.5], 0.045, "inconclusive"),  # half-width 0.0054
        ([0.5, 0.5045, 0.5], 0.03, "inconclusive"),  # three standard errors
        ([0.5, 0.506, 0.5], 0.03, "disagrees"),  # four
        ([0.494, 0.5, 0.5], 0.03, "disagrees"),
        ([0.5, 0.51, 0.5], 0.1, "inconclusive"),  # two of them, but wide
    ],
)
def test_monte_carlo_rule(means, sd, verdict):
    found, numbers = _monte_carlo_part(NAMES, row(means, sd))
    assert found == verdict
    entry = numbers["monte_carlo"]["b"]
    assert entry["mean"] == pytest.approx(means[1])
    assert entry["stderr"] == pytest.approx(sd / 20)
    assert entry["half_width"] == pytest.approx(2.404 * sd / 20, rel=2e-3)
    alone = entry["interval_alone"]
    assert alone[1] - alone[0] == pytest.approx(2 * 1.966 * sd / 20, rel=2e-3)
    assert numbers["largest_half_width"] == pytest.approx(entry["half_width"])


# The standard error of a difference of two is 0.0015 sqrt(2) = 0.0021.
@pytest.mark.parametrize(
    ("means", "matching", "verdict"),
    [
        ([0.9, 0.6, 0.6], "a", "agrees"),
        ([0.6, 0.612, 0.55], "b", "agrees"),
        ([0.6, 0.606, 0.55], "b", "inconclusive"),
        ([0.6, 0.598, 0.55], "b", "inconclusive"),
        ([0.6, 0.59, 0.55], "b", "disagrees"),
    ],
)
def test_match_rule(means, matching, verdict):
    good = row([0.5, 0.5, 0.9], matching="c", family="good")
    found, numbers = _match_part(NAMES, [good, row(means, matching=matching, seed=1)])
    assert found == verdict
    entry = numbers["families"]["family"]
    assert entry["matching"] == matching
    other = "a" if matching == "b" else entry["over"]
    assert entry["over"] == other
    lead = means[NAMES.index(matching)] - means[NAMES.index(other)]
    assert entry["smallest_lead"] == pytest.approx(lead / 0.0021, rel=0.2)
    assert numbers["families"]["good"]["smallest_lead"] > 100
    assert entry["half_width"]["c"] == pytest.approx(1.966 * entry["stderr"]["c"], rel=1e-3)


def test_match_is_judged_draw_by_draw():
    # Both follow the luck of the draw; their difference does not.
    luck = np.random.default_rng(0).standard_normal(100) * 0.1
    small = np.random.default_rng(1).standard_normal(100) * 1e-3
    together = Row("family", 10, 20, np.array([0.61 + luck, 0.6 + luck + small]), "a")
    verdict, numbers = _match_part(["a", "b"], [together])
    assert verdict == "agrees"
    assert numbers["families"]["family"]["smallest_lead"] > 50


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ([0.49, 0.4, 0.5], "agrees"),
        ([0.502, 0.5, 0.5], "agrees"),  # 1.3 standard errors
        ([0.505, 0.5, 0.5], "inconclusive"),  # 3.3
        ([0.51, 0.5, 0.5], "disagrees"),
    ],
)
def test_chance_rule(means, verdict):
    found, numbers = _chance_part(NAMES, [row([0.7, 0.8, 0.9], family="learned"), row(means)])
    assert found == verdict
    assert numbers["at_chance"]["a"]["family"] == "family"
    assert numbers["at_chance"]["a"]["errors_above_chance"] == pytest.approx((means[0] - 0.5) / 0.0015)


def test_no_spread_counts_as_certain():
    assert in_errors(0.1, 0.0) == math.inf
    assert in_errors(-0.1, 0.0) == -math.inf
    assert in_errors(0.0, 0.0) == 0.0
    assert in_errors(0.3, 0.1) == pytest.approx(3.0)


def test_all_four_parts_are_asked():
    exact = [exact_average(Memorisation(), 2)]
    good = [row([0.9, 0.6, 0.5]), row([0.5, 0.5, 0.9], matching="c")]
    verdicts, _ = judge(NAMES, exact, row([0.5, 0.5, 0.5], matching=None), good)
    assert verdicts == dict.fromkeys(("exact", "monte_carlo", "match", "chance"), "agrees")


def test_learners_have_names_of_their_own_and_each_family_its_learner():
    from repflow.experiments.no_free_lunch import _families

    names = [learner.name for learner in learners_of(9, (3, 3))]
    assert len(set(names)) == len(names) == 11
    assert {matching for _, matching in _families()} < set(names)
    assert all(2 * family.parameters <= 256 for family, _ in _families())


@pytest.mark.slow
def test_small_run():
    outcome = find_experiment("no-free-lunch").run("small", 1, lambda message, share: None)
    numbers = outcome.numbers
    json.dumps(numbers)
    assert numbers["first_pixels_beyond_1e80"] == 9
    assert numbers["exact_verdict"] == numbers["match_verdict"] == numbers["chance_verdict"] == "agrees"
    assert numbers["monte_carlo_verdict"] in ("agrees", "inconclusive")
    assert outcome.verdict == numbers["monte_carlo_verdict"]
    assert all(entry["by_training_images"] == ["1/2"] * 4 for entry in numbers["exact"].values())
    assert len(numbers["exact"]) == 11
    assert numbers["families"]["parity of 5 to 9 pixels"]["nonzero_couplings"] == 1.0
    assert numbers["families"]["2-local"]["training_images"] == 72
    assert len({len(column) for column in outcome.table.values()}) == 1
    again = find_experiment("no-free-lunch").run("small", 1, lambda message, share: None)
    assert again.table == outcome.table
