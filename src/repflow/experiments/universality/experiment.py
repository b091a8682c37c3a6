"""Activations of one class are one theory in the deep: what tells them apart is a few Taylor coefficients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from repflow.activation import activation_names, as_activation
from repflow.experiments.intervals import Z95
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.universality.members import DEPTHS, Member, class_members, follow
from repflow.experiments.universality.networks import RATIO, Ensemble, sample_networks, spread_of
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict

CLAIM = (
    "Critical activations of one class flow to one theory: with alpha, their Taylor coefficient, taken out, alpha K "
    "and V/K^2 of all smooth members of the K* = 0 class run on one curve with depth, and those of the scale-invariant "
    "class on another."
)
#: Range of the slope of the spread against log(L)/L; bounds at the last depth; of the coefficient of log(l)/l.
SLOPES, LAST, COEFFICIENT = (0.8, 1.2), 0.01, 0.05
#: How far Var G/K^2 of the ensembles may lie from the universal value, and members from each other.
APART = 0.1
_SIZES: dict[Size, tuple[tuple[int, ...], int]] = {  # hidden widths, networks
    "small": ((32, 64, 128), 3_000),
    "default": ((32, 64, 128, 256), 10_000),
    "large": ((32, 64, 128, 256, 512), 100_000),
}


@experiment("universality", CLAIM)
def universality(size: Size, seed: int, tell: Tell) -> Outcome:
    """Follow K and V of every critical activation to layer 10,000, and measure networks of four of them.

    With F(K) = K (1 - alpha K + beta alpha^2 K^2 - ...), alpha and beta from Taylor coefficients at 0, a smooth member
    of the K* = 0 class has alpha K l -> 1 - (1 - beta) log(l)/l and V/(2/3 K^2 l) -> 1 + (1 - beta) log(l)/l. Members:
    all registered ones of the class, and five callables.

    Rule. (1) Smooth members: the spread of V/(K^2 l) over members (largest less smallest, over 2/3) falls with depth as
    (log(L)/L)^s with s within [0.8, 1.2] from L = 100 to 10,000, and at 10,000 every alpha K l and V/(2/3 K^2 l) lies
    within 1% of 1. (2) What is left is known: the fitted coefficient of log(l)/l is 1 - beta to 0.05 for every smooth
    member. (3) Members with a kink at 0: V/(nu K^2 l) within 1% of 1 at 10,000, nu from the two slopes. (4)
    Scale-invariant members: V/(nu K^2 (l - 1)) = 1 to 1e-9 in every layer, with nu = 6 (a_-^4 + a_+^4)/(a_-^2 +
    a_+^2)^2 - 1. (5) Networks of tanh, sin, erf and arctan at L/n = 1/4: at the largest width the 95% interval of Var
    G/K^2 lies within 10% of the limit of deep and wide networks that all share; and alpha L E[G] spreads less over
    members there than at the smallest width: the log of the ratio of the largest to the smallest falls, by an interval
    above 0. Parts (1) to (4) have
    no error and agree or disagree; "agrees" where all agree, "disagrees" where one disagrees, else "inconclusive".
    """
    widths, networks = _SIZES[size]
    tell("flows to layer 10,000", 0.0)
    members = [follow(spec, found) for spec, found in class_members()]
    verdicts, numbers = judge_flows(members)
    tell("scale-invariant class", 0.3)
    verdicts["scale-invariant members"], numbers["scale_invariant"] = _scale_invariant()
    tell("networks", 0.4)
    found = sample_networks(widths, networks, seed, tell)
    some, entry = judge_networks(found)
    verdicts |= some
    numbers |= {"networks": entry, "verdicts": dict(verdicts)}
    tell("verdict", 1.0)
    return Outcome(
        verdict=combined_verdict(list(verdicts.values())),
        numbers=numbers,
        table=_table(members, found),
        figure=_figure(members, found),
        configuration={"widths": list(widths), "networks": networks, "L/n": RATIO, "depths": list(DEPTHS)},
    )


def judge_flows(members: Sequence[Member]) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """Parts (1) to (3) of the rule."""
    smooth, kinked = ([m for m in members if m.smooth is flag] for flag in (True, False))
    spreads = []
    for depth in DEPTHS:
        values = [float(m.vertex[m.depths == depth][0]) for m in smooth]
        spreads.append(max(values) - min(values))
    x = np.log(np.log(DEPTHS) / np.asarray(DEPTHS, dtype=np.float64))
    slope = float(np.polyfit(x, np.log(spreads), 1)[0])
    off = {m.name: max(abs(float(m.kernel[-1]) - 1.0), abs(float(m.vertex[-1]) - 1.0)) for m in smooth}
    kinks = {m.name: abs(float(m.vertex[-1]) - 1.0) for m in kinked}
    coefficients = {m.name: {"fitted": m.log_coefficient(), "predicted": 1.0 - m.beta} for m in smooth}
    known = all(abs(c["fitted"] - c["predicted"]) <= COEFFICIENT for c in coefficients.values())
    verdicts: dict[str, Verdict] = {
        "spread falls as log(L)/L": "agrees" if SLOPES[0] <= slope <= SLOPES[1] else "disagrees",
        "smooth members at 10,000": "agrees" if max(off.values()) <= LAST else "disagrees",
        "what is left is known": "agrees" if known else "disagrees",
        "kinked members at 10,000": "agrees" if max(kinks.values(), default=0.0) <= LAST else "disagrees",
    }
    return verdicts, {
        "smooth_members": [m.name for m in smooth],
        "alpha": {m.name: m.alpha for m in smooth},
        "spread": dict(zip(map(str, DEPTHS), spreads, strict=True)),
        "slope_against_log(L)/L": slope,
        "off_at_last_depth": off,
        "kinked_off_at_last_depth": kinks,
        "coefficient_of_log(l)/l": coefficients,
    }


def _scale_invariant() -> tuple[Verdict, dict[str, Any]]:
    """Part (4): the vertex of every registered scale-invariant activation, with nu from its slopes."""
    from repflow.criticality import typical_behaviour

    names = [*(name for name in activation_names() if name != "monomial"), "leaky_relu:0.2", "leaky_relu:0.5"]
    found = {}
    for name in names:
        slopes = as_activation(name).slopes
        if slopes is None:
            continue
        square, fourth = slopes[0] ** 2 + slopes[1] ** 2, slopes[0] ** 4 + slopes[1] ** 4
        nu = 6.0 * fourth / square**2 - 1.0
        path = typical_behaviour(name, 2.0 / square, 0.0, 1.0, 50)
        off = np.abs(path.vertex[1:] / (nu * path.kernel[1:] ** 2 * np.arange(1, 50)) - 1.0)
        found[name] = {"nu": nu, "largest_deviation": float(off.max())}
    largest = max(entry["largest_deviation"] for entry in found.values())
    return ("agrees" if largest <= 1e-9 else "disagrees"), found


def judge_networks(found: Sequence[Ensemble]) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """Part (5) of the rule."""
    narrow, wide = min(e.width for e in found), max(e.width for e in found)
    near: list[Verdict] = []
    numbers: dict[str, Any] = {
        "limit": float(found[0].limit[-1]),
        "alpha_L_mean_limit": found[0].mean_limit,
        "members": [],
    }
    for entry in found:
        value, error, limit = float(entry.value[-1]), float(entry.stderr[-1]), float(entry.limit[-1])
        interval = [(value - Z95 * error) / limit, (value + Z95 * error) / limit]
        numbers["members"].append(
            {
                "name": entry.name,
                "width": entry.width,
                "over_limit": value / limit,
                "interval": interval,
                "alpha_L_mean": entry.mean,
                "alpha_L_mean_stderr": entry.mean_stderr,
            }
        )
        if entry.width == wide:
            near.append(interval_verdict(interval[0], interval[1], (1.0 - APART, 1.0 + APART)))
    ends = {n: spread_of([e for e in found if e.width == n]) for n in (narrow, wide)}
    gap = ends[narrow][0] - ends[wide][0]
    error = Z95 * math.hypot(ends[narrow][1], ends[wide][1])
    numbers["spread_of_members"] = {str(n): {"value": v, "stderr": e} for n, (v, e) in ends.items()}
    numbers["spread_falls_by"] = [gap - error, gap + error]
    return {
        "networks lie on the limit": combined_verdict(near),
        "networks of all members converge": interval_verdict(gap - error, gap + error, (0.0, 1e9)),
    }, numbers


def _table(members: Sequence[Member], found: Sequence[Ensemble]) -> dict[str, list[Any]]:
    rows: list[tuple[Any, ...]] = []
    for m in members:
        for depth in (10, *DEPTHS):
            place = int(np.argmin(np.abs(m.depths - depth)))
            rows.append(
                ("flow", m.name, None, int(m.depths[place]), float(m.kernel[place]), float(m.vertex[place]), None)
            )
    for e in found:
        for h, value, error, limit in zip(e.hidden, e.value, e.stderr, e.limit, strict=True):
            rows.append(("networks", e.name, e.width, h + 1, None, float(value / limit), float(error / limit)))
    names = ("what", "activation", "width", "layer", "kernel_over_predicted", "vertex_over_predicted", "stderr")
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def _figure(members: Sequence[Member], found: Sequence[Ensemble]) -> Any:
    from repflow.experiments.universality.figure import universality_figure

    return universality_figure(members, found)
