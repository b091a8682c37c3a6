"""What a coordinate check finds fault with: named findings, each with its remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from repflow.tuning.coordinate.steps import ParameterStep

#: A step or a decay is another than the plan's beyond this relative difference.
_SAME = 0.05
#: Least share lost in one step that counts as decay: less is rounding.
_LEAST_DECAY = 1e-9
#: Standard errors that the size of a tensor of draws may be off.
_DRAW_ERRORS = 5.0


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes
    ----------
    kind
        ``"skipped"``, ``"weight decay"``, ``"rate"``, ``"initialisation"``, ``"readout"``, ``"drift"`` (a layer that
        changes by another amount than predicted) or ``"exponent"`` (a change that moves with width or depth).
    where
        Name of the parameter or layer.
    message
        What was found.
    remedy
        What to do.
    """

    kind: str
    where: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}; {self.remedy}"


@dataclass(frozen=True)
class Advice:
    """What the plan says of one parameter: its name, role, standard deviation, entries, and whether it should learn."""

    name: str
    role: str
    std: float
    count: int
    learns: bool


def step_problems(
    steps: Sequence[ParameterStep], advice: Sequence[Advice], called: set[str], compared: bool
) -> list[Problem]:
    """Parameters that are skipped, decay otherwise than planned, or learn at another rate.

    Parameters
    ----------
    steps
        From :func:`~repflow.tuning.coordinate.steps.compare_steps`.
    advice
        One for each parameter of the plan.
    called
        Names of parameters whose module ran in the forward pass.
    compared
        Whether the plan has a rule for this optimiser, so that rates can be compared.
    """
    by_name = {step.name: step for step in steps}
    problems = []
    for entry in advice:
        step = by_name[entry.name]
        if not entry.learns:
            continue
        found = _skipped(step, entry.name in called) or (
            (_decay_problem(step) or _rate_problem(step) or _too_much_decay(step)) if compared else None
        )
        if found is not None:
            problems.append(found)
    return problems


def _skipped(step: ParameterStep, called: bool) -> Problem | None:
    def problem(message: str, remedy: str) -> Problem:
        return Problem("skipped", step.name, message, remedy)

    if step.frozen:
        return problem("is frozen and never learns", "requires_grad_(True), or make the plan with it frozen")
    if step.gradient is None and not called:
        return problem(
            "is skipped: the forward pass never calls its layer, so that it has no gradient",
            "call the layer in forward, or remove it from the model",
        )
    if step.gradient is None:
        return problem("has no gradient: something behind its layer cuts the graph", "look for detach() or no_grad()")
    if not step.held:
        return problem(
            "is skipped: the optimiser does not have it", "build the optimiser from plan.param_groups(model, ...)"
        )
    if step.gradient == 0.0:
        return problem(
            "has a gradient of exactly zero in the first step, so that its layer does not learn",
            "look for a layer behind it whose weights are zero, or an activation that is dead on this batch",
        )
    if step.step == 0.0:
        return problem("does not move in the first step", "give its group a learning rate above zero")
    return None


def _decay_problem(step: ParameterStep) -> Problem | None:
    larger = max(abs(step.decay), abs(step.planned_decay))
    settings = (step.weight_decay, step.planned_weight_decay)
    same_setting = None in settings or _close(*settings)  # type: ignore[arg-type]
    if (larger <= _LEAST_DECAY or _close(step.decay, step.planned_decay)) and same_setting:
        return None
    if not same_setting:
        what = f"weight decay is {step.weight_decay:.3g}, the plan has {step.planned_weight_decay:.3g}"
    else:
        what = f"weight decay takes {step.decay:.2g} of it in a step, the plan takes {step.planned_decay:.2g}"
    if step.planned_decay <= _LEAST_DECAY and not step.planned_weight_decay:
        remedy = (
            "set weight_decay=0.0 in its group (an optimiser's own default may have slipped in), or pass the decay "
            "that you mean to plan.param_groups(weight_decay=...) and to this check"
        )
    else:
        remedy = "take plan.param_groups(weight_decay=...), which keeps rate times decay the same in every group"
    if step.decay != 0.0 and abs(step.planned_decay) > _LEAST_DECAY:
        what += f" ({step.decay / step.planned_decay:.3g} times as much a step)"
    return Problem("weight decay", step.name, what, remedy)


def _too_much_decay(step: ParameterStep) -> Problem | None:
    """Decay as planned, yet faster than learning."""
    if step.decay <= _LEAST_DECAY or step.decay * step.size <= step.step:
        return None
    return Problem(
        "weight decay",
        step.name,
        f"weight decay takes {step.decay:.2g} of it in a step, more than the gradient moves it "
        f"({step.step / step.size:.2g})",
        "divide weight_decay by ten or more: weights that shrink faster than they learn end at zero",
    )


def _rate_problem(step: ParameterStep) -> Problem | None:
    if step.planned_step <= 0 or _close(step.step, step.planned_step):
        return None
    factor = step.step / step.planned_step
    return Problem(
        "rate",
        step.name,
        f"its first step is {factor:.3g} times the plan's",
        f"divide the learning rate of its group by {factor:.3g}, or take plan.param_groups(model, ...)",
    )


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= _SAME * max(abs(a), abs(b))


def initialisation_problems(sizes: dict[str, float], advice: Sequence[Advice]) -> list[Problem]:
    """Parameters whose root mean square is not the plan's standard deviation; ``sizes`` has it by name."""
    problems = []
    for entry in advice:
        size = sizes[entry.name]
        if not entry.learns or abs(size - entry.std) <= entry.std * (_DRAW_ERRORS / math.sqrt(2 * entry.count) + 0.01):
            continue
        head = entry.role.startswith("head")
        text = f"its entries have size {size:.3g}, the plan draws {entry.std:.3g}"
        if entry.std > 0:
            text += f": {'the readout is' if head else 'they are'} {size / entry.std:.3g} times as large"
        problems.append(
            Problem("readout" if head else "initialisation", entry.name, text, "call plan.initialize_(model)")
        )
    return problems


def readout_problem(name: str, factor: float | None) -> list[Problem]:
    """The forward pass multiplies what the last layer gives; None where output and last layer differ otherwise."""
    if factor is None or abs(factor - 1.0) <= 1e-3:
        return []
    return [
        Problem(
            "readout",
            name,
            f"the forward pass multiplies its output by {factor:.3g}, which the plan does not know of",
            "remove the factor: the plan's standard deviation and rates of the head hold the scale of the readout",
        )
    ]


def drift_problems(
    names: Sequence[str],
    measured: Sequence[float],
    predicted: Sequence[float],
    excused: set[str],
    tolerance: float,
) -> list[Problem]:
    """Layers that change in the first step by more than ``tolerance`` times the prediction, or less than one over it.

    Layers in ``excused`` have a finding already that explains it.
    """
    problems = []
    for name, value, theory in zip(names, measured, predicted, strict=True):
        if name in excused or not theory > 0 or not math.isfinite(theory):
            continue
        ratio = value / theory
        if not 1 / tolerance <= ratio <= tolerance:
            problems.append(
                Problem(
                    "drift",
                    name,
                    f"changes by {value:.3g} in the first step, predicted {theory:.3g} ({ratio:.3g} times)",
                    "its rate is the plan's: look at what scales its inputs or its gradient in the forward pass, or at "
                    "a batch unlike the data of the plan",
                )
            )
    return problems


def exponent_problems(rows: Sequence[dict[str, Any]], spans: tuple[float, float], tolerance: float) -> list[Problem]:
    """Relative changes that move with width or depth otherwise than predicted, by a factor above ``tolerance`` over the
    sizes given.

    Parameters
    ----------
    rows
        From :func:`~repflow.tuning.coordinate.exponents.exponents`; those without a prediction are left alone.
    spans
        Largest width over the smallest, and the same for depth.
    tolerance
        Above 1.
    """
    problems = []
    for row in rows:
        if row["quantity"] != "relative":
            continue
        for axis, span in zip(("width", "depth"), spans, strict=True):
            value, expected = row[axis], row[f"predicted_{axis}"]
            if value is None or expected is None:
                continue
            if abs(value - expected) * math.log(span) > math.log(tolerance):
                problems.append(
                    Problem(
                        "exponent",
                        row["what"],
                        f"its relative change goes as {axis}^{value:.2f}, expected {axis}^{expected:.2f}",
                        f"its rate or its draws do not follow {axis} as planned: give every size the groups and the "
                        "initialisation of its own plan",
                    )
                )
    return problems
