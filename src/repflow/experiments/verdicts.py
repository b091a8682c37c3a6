"""Verdicts from intervals, and of a claim from those of its parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Verdict = Literal["agrees", "disagrees", "inconclusive"]


def interval_verdict(low: float, high: float, accepted: tuple[float, float]) -> Verdict:
    """``agrees`` where [low, high] lies inside the accepted range, ``disagrees`` where outside, else ``inconclusive``.

    An interval that is not a pair of finite numbers in order is inconclusive: nothing was measured.
    """
    if not low <= high or abs(low) == float("inf") or abs(high) == float("inf"):
        return "inconclusive"
    if accepted[0] <= low and high <= accepted[1]:
        return "agrees"
    if high < accepted[0] or low > accepted[1]:
        return "disagrees"
    return "inconclusive"


def combined_verdict(parts: Iterable[Verdict]) -> Verdict:
    """``agrees`` where all parts agree, ``disagrees`` where one disagrees, else ``inconclusive``; so without a part."""
    verdicts = list(parts)
    if "disagrees" in verdicts:
        return "disagrees"
    return "agrees" if verdicts and all(verdict == "agrees" for verdict in verdicts) else "inconclusive"
