"""Verdicts from intervals, and of a claim from its parts."""

import pytest

from repflow.experiments.verdicts import combined_verdict, interval_verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.5, 0.5, "agrees"),
        (-1.0, 1.0, "agrees"),
        (1.1, 2.0, "disagrees"),
        (-3.0, -1.1, "disagrees"),
        (0.5, 1.5, "inconclusive"),
        (-2.0, 2.0, "inconclusive"),
        (float("nan"), 0.0, "inconclusive"),
        (float("-inf"), float("inf"), "inconclusive"),
        (0.5, -0.5, "inconclusive"),
    ],
)
def test_interval_verdict(low, high, verdict):
    assert interval_verdict(low, high, (-1.0, 1.0)) == verdict


def test_verdicts_combine():
    assert combined_verdict(["agrees", "agrees"]) == "agrees"
    assert combined_verdict(["agrees", "inconclusive"]) == "inconclusive"
    assert combined_verdict(["inconclusive", "disagrees"]) == "disagrees"
    assert combined_verdict([]) == "inconclusive"
