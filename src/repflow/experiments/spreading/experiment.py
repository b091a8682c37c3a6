"""Complexity out of simple laws: how fast a disturbance spreads is decided by who interacts with whom."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.spreading.covering import K, Scan, scan_sizes, scan_squares, spread
from repflow.experiments.spreading.light_cone import THRESHOLD, Cone, follow_front
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict

if TYPE_CHECKING:
    from repflow.theories.quantum.covering import Exponent
    from repflow.theories.quantum.light_cone import Front

CLAIM = (
    "With one normalisation for all, the time in which a disturbance at one spin covers a system of N spins grows as N "
    "in a local chain, inside a light cone slower than the Lieb-Robinson bound; not at all where every interaction "
    "is present; and in between for two-body interactions of all with all."
)
#: Accepted exponents of t against N, and the least R^2 of the front.
LOCAL, GENERIC, STRAIGHT = (0.85, 1.15), (-0.1, 0.1), 0.98


@dataclass(frozen=True)
class Sizes:
    """What is run: spins of the light cone with its random states, and by model N with the number of instances."""

    cone: int
    cone_states: int
    cone_step: float
    instances: Mapping[str, Mapping[int, int]]
    squares: tuple[tuple[int, int], ...]
    states: int = 2


_SIZES: dict[Size, Sizes] = {
    "small": Sizes(
        8,
        8,
        0.25,
        {
            "local": dict.fromkeys((4, 6, 8, 10), 1),
            "k-local": {5: 16, 6: 16, 7: 12, 8: 8},
            "generic": {5: 8, 6: 8, 7: 6, 8: 4},
            "local, random": {4: 8, 6: 8, 8: 6},
        },
        ((2, 2), (2, 3), (3, 3)),
    ),
    "default": Sizes(
        10,
        4,
        0.25,
        {
            "local": dict.fromkeys((4, 6, 8, 10, 12), 1),
            "k-local": {5: 16, 6: 16, 7: 12, 8: 10, 9: 8, 10: 6},
            "generic": {5: 8, 6: 8, 7: 6, 8: 6, 9: 4, 10: 2},
            "local, random": {4: 12, 6: 12, 8: 8, 10: 3},
        },
        ((2, 2), (2, 3), (3, 3), (3, 4)),
    ),
    "large": Sizes(
        14,
        2,
        0.5,
        {
            "local": dict.fromkeys((4, 6, 8, 10, 12, 14), 1),
            "k-local": {5: 32, 6: 32, 7: 32, 8: 16, 9: 12, 10: 12, 11: 6, 12: 4},
            "generic": {5: 16, 6: 16, 7: 12, 8: 8, 9: 6, 10: 4, 11: 2, 12: 1},
            "local, random": {4: 32, 6: 32, 8: 16, 10: 12, 12: 3},
        },
        ((2, 2), (2, 3), (3, 3), (3, 4), (4, 4)),
    ),
}


@experiment("spreading", CLAIM)
def spreading(size: Size, seed: int, tell: Tell) -> Outcome:
    """Follow C(t) = 1/2 <|[W_i(t), V_j]|^2> at infinite temperature in four kinds of Hamiltonians, all normalised.

    Normalisation: the sum of J^2 over the terms that touch a spin, averaged over spins, is 1. Models: "local" is the
    mixed-field Ising ring of even N, whose farthest spin is N/2 away; "k-local" has all Pauli strings on two spins, all
    with all, with Gaussian couplings; "generic" has Gaussian couplings on all 4^N strings (a matrix of the Gaussian
    unitary ensemble). The covering time is the first at which the least of C_ij over all spins j, averaged over Pauli
    matrices at both ends, reaches 1/2, half of the value of a scrambled operator; exponents are those of t ~ N^p by
    least squares of mean log t. The light cone is that of Z on the end spin of an open chain, averaged over V = x, y,
    z.

    Rule: five parts. (1) Front: R^2 of the times at which C reaches 1/2 against distance, the far end left out, exceeds
    0.98; below it disagrees. (2) Velocity: agrees where its 95% interval lies below the Lieb-Robinson velocity of the
    chain and no C exceeds the bound at its distance and time; disagrees where the interval lies above or a C exceeds;
    else inconclusive. (3) Local and (4) generic: agree where the 95% interval of the exponent lies within [0.85, 1.15]
    and [-0.1, 0.1], disagree where it lies outside, else inconclusive. (5) k-local: agrees where its interval lies
    strictly between the generic and the local exponent, disagrees where it lies outside of them, and is inconclusive
    where it contains one of the two. "agrees" where all agree, "disagrees" where one disagrees, else "inconclusive".
    Reported without a verdict: the mixed-field Ising model on square lattices (N^(1/2) is expected; sizes below
    4 x 4 have too few distances to tell), the ring with random couplings, and the local ring at other thresholds.
    """
    plan = _SIZES[size]
    work = _Work(tell, plan)
    work.tick(f"light cone of {plan.cone} spins", plan.cone)
    cone = follow_front(plan.cone, plan.cone_step, plan.cone_states, seed)
    scans = {
        name: scan_sizes(name, instances, plan.states, seed, work.tick) for name, instances in plan.instances.items()
    }
    squares = scan_squares(plan.squares, plan.states, seed, work.tick)
    parts, numbers = judge(cone.front, cone.lieb_robinson, cone.violations, {n: s.fit() for n, s in scans.items()})
    numbers |= {
        "cone": {"threshold": THRESHOLD, "spins": plan.cone, "states": plan.cone_states},
        "bound_arrivals": cone.bound_arrivals.tolist(),
        "local_by_threshold": {str(level): _words(scans["local"].fit(level)) for level in scans["local"].log_times},
        "square_lattice": _words(squares.fit()),
    }
    work.tell("verdict", 1.0)
    from repflow.experiments.spreading.figure import spreading_figure

    return Outcome(
        verdict=combined_verdict(list(parts.values())),
        numbers=numbers,
        table=_table(cone, {**scans, "square lattice": squares}),
        figure=spreading_figure(cone, {**scans, "square lattice": squares}),
        configuration={
            "threshold": THRESHOLD,
            "k": K,
            "normalisation": "sum of J^2 over the terms that touch a spin, mean over spins, = 1",
            "instances": {
                name: {str(N): count for N, count in entry.items()} for name, entry in plan.instances.items()
            },
            "square_lattices": [list(shape) for shape in plan.squares],
            "random_states": plan.states,
        },
    )


class _Work:
    """Counts what is done, weighing each instance by its matrices, and says so."""

    def __init__(self, tell: Tell, plan: Sizes) -> None:
        self.tell = tell
        everything = [N for entry in plan.instances.values() for N, count in entry.items() for _ in range(count)]
        everything += [math.prod(shape) for shape in plan.squares] + [plan.cone]
        self._total, self._done = sum(map(self._weight, everything)), 0.0

    @staticmethod
    def _weight(N: int) -> float:
        return 4.0 ** min(N, 12)  # larger systems are sparse

    def tick(self, what: str, N: int) -> None:
        """Say what begins now."""
        self.tell(what, min(self._done / self._total, 1.0))
        self._done += self._weight(N)


def judge(
    front: Front, lieb_robinson: float, violations: int, fits: Mapping[str, Exponent]
) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """The five parts of the rule of :func:`spreading`, and the numbers that they follow from."""
    local, generic, between = (fits[name] for name in ("local", "generic", "k-local"))
    straight: Verdict = "agrees" if front.r_squared > STRAIGHT else "disagrees"
    parts: dict[str, Verdict] = {
        "front": straight if math.isfinite(front.r_squared) else "inconclusive",
        "velocity": "disagrees" if violations else interval_verdict(front.low, front.high, (0.0, lieb_robinson)),
        "local": interval_verdict(local.low, local.high, LOCAL),
        "generic": interval_verdict(generic.low, generic.high, GENERIC),
        "k-local": between_verdict(between, generic.value, local.value),
    }
    numbers: dict[str, Any] = {f"{name}_verdict": verdict for name, verdict in parts.items()}
    numbers |= {
        "front_r_squared": front.r_squared,
        "velocity": front.velocity,
        "velocity_interval": [front.low, front.high],
        "lieb_robinson_velocity": lieb_robinson,
        "bound_exceeded": violations,
        "exponents": {name: _words(fit) for name, fit in fits.items()},
        "accepted": {"local": list(LOCAL), "generic": list(GENERIC), "front_r_squared": STRAIGHT},
    }
    if parts["k-local"] == "inconclusive":
        numbers["k_local_reason"] = (
            f"the interval [{between.low:.3f}, {between.high:.3f}] of the k-local exponent contains the generic "
            f"{generic.value:.3f} or the local {local.value:.3f}; more instances or sizes would narrow it"
        )
    return parts, numbers


def between_verdict(fit: Exponent, below: float, above: float) -> Verdict:
    """``agrees`` where the interval lies strictly between two estimates, ``disagrees`` where outside of them."""
    if not all(map(math.isfinite, (fit.low, fit.high, below, above))) or not below < above:
        return "inconclusive"
    if below < fit.low and fit.high < above:
        return "agrees"
    return "disagrees" if fit.high < below or fit.low > above else "inconclusive"


def _words(fit: Exponent) -> dict[str, Any]:
    return {
        "exponent": fit.value,
        "interval": [fit.low, fit.high],
        "amplitude": fit.amplitude,
        "r_squared": {"t against N": fit.linear, "t against log N": fit.logarithmic, "log t against log N": fit.power},
    }


def _table(cone: Cone, scans: Mapping[str, Scan]) -> dict[str, list[Any]]:
    columns = ("part", "model", "N", "distance", "instances", "time", "relative_stderr")
    rows: list[tuple[Any, ...]] = []
    spins = len(cone.arrivals) + 1
    for r, (time, error) in enumerate(zip(cone.arrivals, cone.errors), start=1):
        rows.append(("light cone", "open chain", spins, r, 1, float(time), float(error / time)))
    for name, scan in scans.items():
        for N, logs in zip(scan.sizes, scan.log_times[THRESHOLD]):
            rows.append(("covering", name, N, None, len(logs), math.exp(float(np.mean(logs))), spread(logs)))
    return {name: [row[index] for row in rows] for index, name in enumerate(columns)}
