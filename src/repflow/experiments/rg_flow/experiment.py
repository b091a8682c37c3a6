"""Layers as steps of a renormalisation group: infinite width is an unstable fixed point, 1/n its relevant direction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repflow.experiments.intervals import Z95
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.rg_flow.digits import digits_couplings
from repflow.experiments.rg_flow.layer_step import rg_step
from repflow.experiments.rg_flow.one_input import Running, power, run_one_input
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict

CLAIM = (
    "Infinite width is an unstable fixed point of the layer-to-layer flow: at criticality V/(n K^2) grows as l/n from "
    "nothing, while changes of the kernel are marginal or irrelevant; off criticality everything runs exponentially, "
    "with the predicted correlation length."
)
#: How far an exponent may lie from the predicted one, and a length from the predicted, relatively.
EXPONENT_APART, LENGTH_APART = 0.1, 0.1
#: Hidden layers: first and last of the exponents.
EARLY, LATE = 16, 64
OFF_C_W, OFF_WIDTH = 1.2, 128
LEAST_P = 1e-3
KEPT = (1, 2, 4, 8, 16, 24, 32, 48, 64)
OFF_KEPT = (1, 2, 4, 8, 16, 18, 20, 22, 24, 28, 32, 64)


@dataclass(frozen=True)
class Plan:
    """Networks: tanh chains of one input, relu chains, the flow diagram's, tanh and relu on the digits, one step's."""

    tanh: int
    relu: int
    diagram: int
    digits: tuple[int, int]
    step: int


_SIZES: dict[Size, Plan] = {
    "small": Plan(4_000, 100_000, 1_000, (4_000, 1_500), 20_000),
    "default": Plan(16_000, 400_000, 4_000, (40_000, 30_000), 100_000),
    "large": Plan(160_000, 4_000_000, 40_000, (400_000, 300_000), 1_000_000),
}
TANH_WIDTH, RELU_WIDTH = 512, 4096
#: On the digits: activation and width, such that V/(n K^2) stays below a tenth.
DIGITS, DIGITS_LAYER = (("tanh", 256), ("relu", 1024)), 8
DIAGRAM_WIDTHS = (16, 64, 256)


@experiment("rg-flow", CLAIM)
def rg_flow(size: Size, seed: int, tell: Tell) -> Outcome:
    """Follow the Gram entry of one input through critical relu and tanh networks, and tanh off criticality (C_W = 1.2).

    Every network starts with no fluctuation at all: G^(1) = K^(1) is fixed. r = Var G/K^2 over networks is sampled
    after 1 to 64 hidden layers; relu's chains are drawn through the exact law of their layers' factors. So is the
    memory m(l): the regression coefficient of G^(l)/K^(l) on the same network's G/K after 16 hidden layers, by which a
    small relative change of the kernel is multiplied. Growth exponents are those between 16 and 64 hidden layers.

    Rule, with 95% intervals. (1) r grows with an exponent within 0.1 of 1 at criticality, for relu and for tanh: r = 0
    is unstable. (2) The memory's exponent is within 0.1 of 0 for relu (marginal) and of -1 for tanh (irrelevant). (3)
    Off criticality the memory is exponential: its rate from 16 to 24 hidden layers, by weighted least squares on log m,
    gives a correlation length within 10% of 1/|log chi_parallel(K*)|, and the exponent of r is within 0.1 of 0. (4) On
    three images of the digits (of the first 200 the shortest, a middle one and the longest), tanh and relu: from
    layer 4 to layer 8 the sampled exponents of the vertex, of the differences between norms and of those between
    directions lie within 0.1 of those that ``relevance`` predicts.
    (5) The step itself: integrating a layer out of sampled tanh networks (n = 8) gives mean, variance and third
    cumulant of the next layer's sample, with a chi-square p-value of 1e-3 or more. A part agrees where its interval
    lies inside, disagrees where outside; (5) disagrees below 1e-3. "agrees" where all agree, "disagrees" where one
    disagrees, else "inconclusive".
    """
    from repflow.criticality import chi_parallel, fixed_points

    plan = _SIZES[size]
    tell("relu chains", 0.0)
    relu = run_one_input("relu", "relu", 2.0, 1.0, RELU_WIDTH, KEPT, EARLY, plan.relu, (seed, 41))
    tell("tanh chains", 0.1)
    tanh = run_one_input("tanh", "tanh", 1.0, 1.0, TANH_WIDTH, KEPT, EARLY, plan.tanh, (seed, 42))
    tell("off criticality", 0.4)
    K_star = max(point.K for point in fixed_points("tanh", OFF_C_W, 0.0))
    chi = float(chi_parallel("tanh", K_star, OFF_C_W))
    off = run_one_input(
        "tanh off criticality", "tanh", OFF_C_W, K_star, OFF_WIDTH, OFF_KEPT, EARLY, plan.tanh, (seed, 43)
    )
    tell("flow diagram", 0.6)
    diagram = [
        run_one_input(f"n = {n}", "tanh", 1.0, 1.0, n, KEPT, EARLY, plan.diagram, (seed, 44, n)) for n in DIAGRAM_WIDTHS
    ]
    tell("digits", 0.7)
    couplings = [
        row
        for index, (activation, width) in enumerate(DIGITS)
        for row in digits_couplings(activation, width, DIGITS_LAYER, plan.digits[index], seed + 1_000_003 * index)
    ]
    tell("one step", 0.95)
    step = rg_step(8, 12, plan.step, (seed, 45))
    verdicts, numbers = judge(relu, tanh, off, chi)
    more, numbers["digits"] = judge_digits(couplings)
    verdicts |= more
    verdicts["one step of the group"] = "agrees" if step["p_value"] >= LEAST_P else "disagrees"
    numbers |= {"step": step, "verdicts": dict(verdicts)}
    return Outcome(
        verdict=combined_verdict(list(verdicts.values())),
        numbers=numbers,
        table=_table([relu, tanh, off, *diagram]),
        figure=_figure(relu, tanh, off, diagram, couplings),
        configuration={
            "tanh_width": TANH_WIDTH,
            "relu_width": RELU_WIDTH,
            "off_C_W": OFF_C_W,
            "off_width": OFF_WIDTH,
            "tanh_networks": plan.tanh,
            "relu_networks": plan.relu,
            "digits_networks": {name: count for (name, _), count in zip(DIGITS, plan.digits, strict=True)},
            "digits_widths": dict(DIGITS),
            "digits_layers": [DIGITS_LAYER // 2, DIGITS_LAYER],
        },
    )


def _around(value: float, error: float, centre: float, apart: float) -> tuple[Verdict, list[float]]:
    interval = [value - Z95 * error, value + Z95 * error]
    return interval_verdict(interval[0], interval[1], (centre - apart, centre + apart)), interval


def judge(relu: Running, tanh: Running, off: Running, chi: float) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """Parts (1) to (3) of the rule."""
    verdicts: dict[str, Verdict] = {}
    numbers: dict[str, Any] = {}
    for run, growth, memory in ((relu, 1.0, 0.0), (tanh, 1.0, -1.0), (off, 0.0, None)):
        ends = [run.at(EARLY), run.at(LATE)]
        places = run.hidden[ends].astype(np.float64)
        value, error = power(run.ratio[ends], run.ratio_stderr[ends], places)
        verdict, interval = _around(value, error, growth, EXPONENT_APART)
        verdicts[f"{run.name}: growth of r"] = verdict
        entry: dict[str, Any] = {
            "width": run.width,
            "growth_exponent": value,
            "growth_interval": interval,
            "growth_predicted_at_order_1": power(run.predicted[ends], np.zeros(2), places)[0],
            "mean_over_K_less_1": run.correction[ends].tolist(),
            "mean_over_K_less_1_stderr": run.correction_stderr[ends].tolist(),
            "mean_over_K_less_1_predicted": run.correction_predicted[ends].tolist(),
        }
        if memory is not None:
            value, error = power(run.memory[ends], run.memory_stderr[ends], places + 1.0)
            verdict, interval = _around(value, error, memory, EXPONENT_APART)
            verdicts[f"{run.name}: memory of the kernel"] = verdict
            entry |= {
                "memory_exponent": value,
                "memory_interval": interval,
                "memory_predicted": power(run.memory_predicted[ends], np.zeros(2), places + 1.0)[0],
            }
        numbers[run.name] = entry
    rate, error = memory_rate(off)
    predicted = -math.log(chi)
    interval = [predicted / (rate + Z95 * error), predicted / max(rate - Z95 * error, 1e-9)]
    verdicts["correlation length"] = interval_verdict(
        interval[0], interval[1], (1.0 / (1.0 + LENGTH_APART), 1.0 + LENGTH_APART)
    )
    numbers[off.name] |= {
        "xi_measured": 1.0 / rate,
        "xi_predicted": 1.0 / predicted,
        "xi_over_predicted": interval,
    }
    return verdicts, numbers


def memory_rate(run: Running) -> tuple[float, float]:
    """-d log m/dl just after the origin, through m = 1 there, by weighted least squares; and its standard error.

    Layers share networks: the error is that of the best single layer, which is larger than that of the fit.
    """
    some = (run.hidden > run.origin) & (run.hidden <= run.origin + 8)
    distance = (run.hidden[some] - run.origin).astype(np.float64)
    logs, error = -np.log(run.memory[some]), run.memory_stderr[some] / run.memory[some]
    weight = (distance / error) ** 2
    return float((weight * logs / distance).sum() / weight.sum()), float((error / distance).min())


def judge_digits(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Verdict], list[dict[str, Any]]]:
    """Part (4) of the rule."""
    verdicts: dict[str, Verdict] = {}
    shown = []
    for row in rows:
        entry = dict(row)
        if row["measured"] is not None:
            verdict, interval = _around(row["measured"], row["stderr"], row["over_octave"], EXPONENT_APART)
            verdicts[f"digits, {row['activation']}: {row['coupling']}"] = verdict
            entry |= {"interval": interval, "measured_verdict": verdict}
        shown.append(entry)
    return verdicts, shown


def _table(runs: Sequence[Running]) -> dict[str, list[Any]]:
    columns = (
        "hidden",
        "kernel",
        "predicted",
        "ratio",
        "ratio_stderr",
        "correction",
        "correction_stderr",
        "correction_predicted",
        "memory",
        "memory_stderr",
        "memory_predicted",
    )
    table: dict[str, list[Any]] = {
        "network": [run.name for run in runs for _ in run.hidden],
        "width": [run.width for run in runs for _ in run.hidden],
    }
    for column in columns:
        table[column] = [None if x != x else x for run in runs for x in getattr(run, column).tolist()]
    return table


def _figure(
    relu: Running, tanh: Running, off: Running, diagram: Sequence[Running], couplings: Sequence[Mapping[str, Any]]
) -> Any:
    from repflow.experiments.rg_flow.figure import rg_flow_figure

    return rg_flow_figure(relu, tanh, off, diagram, couplings)
