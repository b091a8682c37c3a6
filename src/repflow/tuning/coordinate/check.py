"""``coordinate_check``: does each layer of a real model change in training as its plan predicts?"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repflow.empirical.call import output_of
from repflow.isolation import random_state_kept
from repflow.tuning.coordinate.changes import StepChanges, Use, train_step, uses_of, without_dropout
from repflow.tuning.coordinate.exponents import exponents
from repflow.tuning.coordinate.losses import loss_function
from repflow.tuning.coordinate.prediction import expected_features, predictions, widening
from repflow.tuning.coordinate.problems import (
    Advice,
    Problem,
    drift_problems,
    exponent_problems,
    initialisation_problems,
    readout_problem,
    step_problems,
)
from repflow.tuning.coordinate.result import CoordinateCheck, typical
from repflow.tuning.coordinate.steps import (
    OptimizerLike,
    compare_steps,
    known_family,
    make_optimizer,
    planned_optimizer,
)
from repflow.tuning.optimizers import Family
from repflow.tuning.parameters import OTHER, check_model, root_mean_square
from repflow.tuning.plan import Plan
from repflow.tuning.wrapping import parameters_by_name, whole


@dataclass(frozen=True)
class _Setting:
    """What stays the same over sizes."""

    x: Any
    y: Any
    loss: Callable[[Any, Any], Tensor]
    optimizer: OptimizerLike
    lr: float
    weight_decay: float
    steps: int
    seeds: int
    initialize: bool
    tolerance: float


@dataclass(frozen=True)
class _Run:
    """One size, measured: arrays as in :class:`CoordinateCheck`."""

    names: tuple[str, ...]
    roles: tuple[str, ...]
    own: np.ndarray
    total: np.ndarray
    predicted: np.ndarray
    losses: np.ndarray
    problems: list[Problem]
    optimizer: str
    family: Family | None
    notes: list[str]


def coordinate_check(
    model: nn.Module,
    plan: Plan,
    batch: Any,
    loss_fn: Callable[[Any, Any], Tensor] | None = None,
    make: Callable[[int, int], nn.Module] | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
    steps: int = 5,
    *,
    optimizer: OptimizerLike = "sgd",
    lr: float = 1.0,
    weight_decay: float = 0.0,
    seeds: int = 4,
    initialize: bool = True,
    tolerance: float = 2.0,
) -> CoordinateCheck:
    """Train copies of a model for a few steps and compare the change of each layer with theory; name what drifts.

    In the first step the change of a layer by its own parameters, its inputs held, has a prediction for chains of
    linear and elementwise layers (:mod:`repflow.tuning.coordinate.theory`). For other models nothing is predicted, and
    steps, decay, skipped parameters and exponents are checked.

    Parameters
    ----------
    model
        The model that the plan was made for; it stays as it is. Dropout is off in the check.
    plan
        From :func:`repflow.tune`.
    batch
        (x, y), the batch of every step; x as for ``tune``. Theory takes memory as the square of its rows.
    loss_fn
        ``loss_fn(output, y)``; None for the plan's loss.
    make
        ``make(width, depth)`` builds the model at other sizes, for the fitted exponents; ``depth`` as you like, it is
        what the exponents refer to.
    sizes
        Pairs (width, depth) for ``make``, two or more.
    steps
        Steps of training.
    optimizer
        ``"sgd"``, ``"adam"`` or ``"adamw"``, or the class, with the plan's groups; or a function of a model that
        returns your own optimiser; a function of two arguments gets the plan of that model too, which at other sizes is
        another.
    lr
        In the plan's unit; with an optimiser of your own, the one that you mean it to have.
    weight_decay
        As for ``plan.param_groups``; with an optimiser of your own, the one that you mean it to have.
    seeds
        Copies, each with its own draw.
    initialize
        Draw the copies anew by the plan; False takes the model's weights as they are, one copy, and checks their size.
    tolerance
        Factor by which a layer's first change, its geometric mean over seeds, may differ from the prediction, which is
        that of a wide network; at finite width times exp(r_L).

    Returns
    -------
    CoordinateCheck
        ``.problems``, ``.assert_ok()``, ``.table()``, ``.figure()``.

    Raises
    ------
    ValueError, TypeError
        An argument is not of the form above, the model is not the plan's, or the loss is not finite.

    Examples
    --------
    >>> rf.coordinate_check(model, plan, (x, y), optimizer="adam").assert_ok()   # doctest: +SKIP
    """
    if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
        raise TypeError(f"batch must be a pair (x, y), got {type(batch).__name__}")
    for name, value in (("steps", steps), ("seeds", seeds)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
    if not tolerance > 1:
        raise ValueError(f"tolerance must be above 1, got {tolerance!r}")
    if not lr > 0:
        raise ValueError(f"lr must be above 0, got {lr!r}")
    pairs = _checked_sizes(make, sizes)
    loss = loss_fn if loss_fn is not None else loss_function(plan.loss)
    setting = _Setting(
        batch[0],
        batch[1],
        loss,
        optimizer,
        lr,
        weight_decay,
        steps,
        seeds if initialize else 1,
        initialize,
        tolerance,
    )
    with random_state_kept():
        bare = whole(model)
        check_model(bare, plan.parameters)
        run = _measure(bare, plan, setting)
        table: list[dict[str, Any]] = []
        problems = list(run.problems)
        for width, depth in pairs:
            assert make is not None
            size, found = _measure_size(make, plan, setting, width, depth)
            table.append(size)
            if not run.problems:  # else the same would be found again at every size
                problems += [replace(problem, where=f"{problem.where} at {width} x {depth}") for problem in found]
    fits = exponents(table) if table else []
    if fits:
        spans = [max(values) / min(values) for values in zip(*pairs, strict=True)]
        problems += exponent_problems(fits, (spans[0], spans[1]), tolerance)
    return CoordinateCheck(
        names=run.names,
        roles=run.roles,
        own=run.own,
        total=run.total,
        predicted=run.predicted,
        losses=run.losses,
        problems=tuple(problems),
        sizes=tuple(table),
        exponents=tuple(fits),
        optimizer=run.optimizer,
        lr=float(lr),
        tolerance=float(tolerance),
        notes=tuple(run.notes),
    )


def _checked_sizes(make: Any, sizes: Any) -> list[tuple[int, int]]:
    if (make is None) != (sizes is None):
        raise ValueError("make and sizes belong together: give both or neither")
    if make is None:
        return []
    if not callable(make):
        raise TypeError(f"make must be a function (width, depth) -> module, got {type(make).__name__}")
    try:
        pairs = [(int(width), int(depth)) for width, depth in sizes]
    except (TypeError, ValueError):
        raise ValueError(f"sizes must be pairs (width, depth), got {sizes!r}") from None
    if len(set(pairs)) < 2 or min(min(pair) for pair in pairs) < 1:
        raise ValueError(f"sizes must hold two or more different pairs of whole numbers from 1, got {sizes!r}")
    return pairs


def _measure_size(
    make: Callable[[int, int], nn.Module], plan: Plan, setting: _Setting, width: int, depth: int
) -> tuple[dict[str, Any], list[Problem]]:
    """One of the other sizes: changes of the first step by layer, measured and predicted, and what was found."""
    module = make(width, depth)
    if not isinstance(module, nn.Module):
        raise TypeError(f"make must return an nn.Module, got {type(module).__name__} for ({width}, {depth})")
    own_plan = plan.transfer_to(module, setting.x, setting.y)
    run = _measure(module, own_plan, setting)
    first = _typical(run.own[:, 0])
    # What the model itself holds acts on its output, which is no feature.
    hidden = [index for index, role in enumerate(run.roles) if role != "head" and run.names[index]]
    totals = _typical(run.total[:, 0][:, hidden])
    measured = not np.isfinite(run.predicted[hidden]).all()
    size = {
        "width": width,
        "depth": depth,
        "layers": list(run.names),
        "roles": list(run.roles),
        "own": [float(value) for value in first],
        "last": [float(value) for value in _typical(run.own[:, -1])],
        "predicted": [float(value) if np.isfinite(value) else None for value in run.predicted],
        # As kappa counts it: all hidden layers of a chain, the last features of any other model.
        "features": float(totals[-1] if measured else np.sqrt((totals**2).sum())),
        "expected": expected_features(own_plan, run.family, run.predicted[hidden]),
        "problems": [str(problem) for problem in run.problems],
    }
    return size, run.problems


def _measure(model: nn.Module, plan: Plan, setting: _Setting) -> _Run:
    names = [entry.name for entry in plan.parameters if entry.role != OTHER]
    own, total, losses = [], [], []
    problems: list[Problem] = []
    notes: list[str] = []
    uses: list[Use] = []
    kind, known = "", None
    head = _head_name(plan)
    predicted: dict[str, float] = {}
    absolute: set[str] = {head} if head is not None else set()
    for seed in range(setting.seeds):
        twin = without_dropout(copy.deepcopy(model))
        if setting.initialize:
            plan.initialize_(twin, torch.Generator().manual_seed(seed))
        optimizer = make_optimizer(setting.optimizer, plan, twin, setting.lr, setting.weight_decay)
        if seed == 0:
            kind, known = type(optimizer).__name__, known_family(optimizer)
            uses, problems, predicted, notes = _first_look(twin, plan, setting, optimizer, names)
        changes: list[StepChanges] = []
        for _ in range(setting.steps):
            _, change = train_step(twin, optimizer, setting.x, setting.y, setting.loss, names)
            if not math.isfinite(change.loss):
                raise ValueError(f"the loss is {change.loss} at step {len(changes) + 1}: the check cannot go on")
            changes.append(change)
        scale = np.array(
            [
                [1.0 if use.name in absolute else size for use, size in zip(uses, change.size, strict=True)]
                for change in changes
            ]
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            own.append(np.array([change.own for change in changes]) / scale)
            total.append(np.array([change.total for change in changes]) / scale)
        losses.append([change.loss for change in changes])
    layers = tuple(use.name for use in uses)
    theory = np.array([predicted.get(name, math.nan) for name in layers])
    measured = np.array(own)
    excused = _excused(problems, layers)
    factor = setting.tolerance * widening(plan)
    problems = problems + drift_problems(layers, list(_typical(measured[:, 0])), list(theory), excused, factor)
    return _Run(
        layers,
        tuple(_role(use, plan) for use in uses),
        measured,
        np.array(total),
        theory,
        np.array(losses),
        problems,
        kind,
        None if known is None else known[0],
        notes,
    )


def _first_look(
    model: nn.Module, plan: Plan, setting: _Setting, optimizer: torch.optim.Optimizer, names: list[str]
) -> tuple[list[Use], list[Problem], dict[str, float], list[str]]:
    """Layers, findings about single parameters, and the predicted changes, for the first copy before it trains."""
    with torch.no_grad():
        uses, output = uses_of(model, setting.x, names)
    called = {f"{use.name}.{name}" if use.name else name for use in uses for name in use.parameters}
    advice = [
        Advice(entry.name, entry.role, entry.new_std, math.prod(entry.shape), entry.trainable and entry.role != OTHER)
        for entry in plan.parameters
    ]
    notes: list[str] = []
    problems: list[Problem] = []
    if not setting.initialize:
        sizes = {name: root_mean_square(p) for name, p in parameters_by_name(model).items()}
        problems += initialisation_problems(sizes, advice)
    family = known_family(optimizer)
    reference = None
    if family is None:
        notes.append(f"the plan has no rates for {type(optimizer).__name__}: steps and changes are not compared")
    else:

        def reference(twin: nn.Module) -> torch.optim.Optimizer:
            return planned_optimizer(plan, twin, *family, setting.lr, setting.weight_decay)

    def user(twin: nn.Module) -> torch.optim.Optimizer:
        return make_optimizer(setting.optimizer, plan, twin, setting.lr, setting.weight_decay)

    def backward(twin: nn.Module) -> None:
        _, output = uses_of(twin, setting.x, names)
        setting.loss(output, setting.y).backward()

    # A parameter of the plan that is frozen now has no place in the plan's groups: they are made for those that learn.
    problems += step_problems(compare_steps(model, user, reference, backward), advice, called, family is not None)
    problems += readout_problem(_head_name(plan) or "output", _readout_factor(uses, output, _head_name(plan)))
    predicted: dict[str, float] = {}
    if family is not None:
        network = plan.network
        if network is None:
            notes.append("the plan has no theory of this model's layers: changes are measured, not compared")
        else:
            planned = planned_optimizer(plan, model, *family, setting.lr, setting.weight_decay)
            batch = (setting.x, setting.y)
            shape = output_of(output).shape
            predicted = predictions(plan, network, planned, family[0], model, batch, setting.loss, shape)
    return uses, problems, predicted, notes


def _typical(changes: np.ndarray) -> np.ndarray:
    """Geometric mean over seeds, shape (layers,)."""
    return np.array([typical(column) for column in changes.T])


def _head_name(plan: Plan) -> str | None:
    """Name of the layer that gives the output."""
    for entry in plan.parameters:
        if entry.role == "head weight":
            return entry.name.rpartition(".")[0]
    return None


def _role(use: Use, plan: Plan) -> str:
    """``"input"``, ``"hidden"``, ``"head"``, or whatever the plan calls the first parameter of a layer."""
    prefix = f"{use.name}." if use.name else ""
    by_name = {entry.name: entry.role for entry in plan.parameters}
    role = by_name[prefix + use.parameters[0]]
    return role.rsplit(" ", 1)[0] if role.endswith((" weight", " bias")) else role


def _readout_factor(uses: list[Use], output: Any, head: str | None) -> float | None:
    """What the forward pass multiplies the last layer's output by; None where it does something else with it."""
    last = next((use for use in uses if use.name == head), None)
    if last is None or len(last.calls) != 1:
        return None
    given, made = output_of(output).detach().double().flatten(), last.calls[0].output.double().flatten()
    if given.shape != made.shape or not bool((made != 0).any()):
        return None
    factor = float((given @ made) / (made @ made))
    rest = given - factor * made
    return factor if float(rest.norm()) <= 1e-4 * float(given.norm()) else None


def _excused(problems: list[Problem], layers: tuple[str, ...]) -> set[str]:
    """Layers whose change has a cause that was found: their own parameters', or one that reaches all layers."""
    spread = {"readout", "initialisation"}
    if any(p.kind in spread or (p.kind == "skipped" and "never calls" in p.message) for p in problems):
        return set(layers)
    return {problem.where.rpartition(".")[0] for problem in problems}
