"""The first step of a user's optimiser beside the plan's own, parameter by parameter, on the same gradient.

Two steps say what an optimiser does without asking how it is made: one with the gradient, and one with a gradient of
zero, in which only weight decay moves a parameter.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from repflow.tuning.optimizers import Family, family_of
from repflow.tuning.plan import Plan
from repflow.tuning.wrapping import parameters_by_name

#: An optimiser, by the name of its rule, or as a function of the model, or of the model and its plan.
OptimizerLike = (
    str
    | type[torch.optim.Optimizer]
    | Callable[[nn.Module], torch.optim.Optimizer]
    | Callable[[nn.Module, Plan], torch.optim.Optimizer]
)
_CLASSES: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass(frozen=True)
class ParameterStep:
    """One parameter in the first step.

    Attributes
    ----------
    name
        Of the parameter.
    size
        rms of its entries.
    gradient
        rms of its gradient; None where it has none.
    held
        Whether the optimiser has it.
    frozen
        Whether it asks for no gradient.
    step, planned_step
        rms of the change by the gradient alone, weight decay apart, with the user's optimiser and with the plan's
        (0 without one).
    decay, planned_decay
        Share of the parameter that weight decay takes in the step.
    weight_decay, planned_weight_decay
        The setting itself; None where the optimiser has none of that name.
    """

    name: str
    size: float
    gradient: float | None
    held: bool
    frozen: bool
    step: float
    planned_step: float
    decay: float
    planned_decay: float
    weight_decay: float | None
    planned_weight_decay: float | None


def make_optimizer(
    optimizer: OptimizerLike, plan: Plan, model: nn.Module, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The user's optimiser of a model, or the plan's by name.

    Raises
    ------
    TypeError, ValueError
        It is neither, or holds none of the model's parameters.
    """
    if isinstance(optimizer, str) or (isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer)):
        family = family_of(optimizer)
        groups = plan.param_groups(model, lr=lr, optimizer=family.name, weight_decay=weight_decay)
        return _CLASSES[family.name](groups)
    if isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            "optimizer must be a name or a function of the model that returns an optimiser, got an optimiser: it holds "
            "the parameters of one model, and the check trains copies"
        )
    if not callable(optimizer):
        raise TypeError(f"optimizer must be 'sgd', 'adam', 'adamw' or a function of the model, got {optimizer!r}")
    make: Callable[..., Any] = optimizer
    made = make(model, plan) if _takes_plan(make) else make(model)
    if not isinstance(made, torch.optim.Optimizer):
        raise TypeError(f"optimizer must return a torch.optim.Optimizer, got {type(made).__name__}")
    ours = {id(parameter) for parameter in model.parameters()}
    if not ours & {id(parameter) for group in made.param_groups for parameter in group["params"]}:
        raise ValueError("optimizer returned one that holds no parameter of the model it was given")
    return made


def _takes_plan(make: Callable[..., Any]) -> bool:
    """Whether a function asks for two arguments."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters) == 2


def known_family(optimizer: torch.optim.Optimizer) -> tuple[Family, float] | None:
    """The rule of an optimiser, and its momentum; None where the plan has no rates for it."""
    momentum = float(optimizer.param_groups[0].get("momentum", 0.0) or 0.0)
    try:
        return family_of(optimizer, momentum), momentum
    except (TypeError, ValueError):
        return None


def planned_optimizer(
    plan: Plan, model: nn.Module, family: Family, momentum: float, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimiser that the plan advises."""
    groups = plan.param_groups(
        model, lr=lr, optimizer=family.name, weight_decay=weight_decay, **({"momentum": momentum} if momentum else {})
    )
    return _CLASSES[family.name](groups)


def compare_steps(
    model: nn.Module,
    user: Callable[[nn.Module], torch.optim.Optimizer],
    planned: Callable[[nn.Module], torch.optim.Optimizer] | None,
    backward: Callable[[nn.Module], None],
) -> list[ParameterStep]:
    """The first step of every parameter under both optimisers; the model itself stays as it is.

    Parameters
    ----------
    model
        At the start of training.
    user, planned
        Functions that make an optimiser of a model; None where the plan has no rule for the user's.
    backward
        Fills the gradients of a model.
    """
    twin = copy.deepcopy(model)
    twin.zero_grad(set_to_none=True)
    backward(twin)
    found = parameters_by_name(twin)
    gradients = {name: None if p.grad is None else p.grad.detach().clone() for name, p in found.items()}
    frozen = {name for name, p in found.items() if not p.requires_grad}
    mine = _moves(model, user, gradients)
    plans = _moves(model, planned, gradients) if planned is not None else {}
    steps = []
    for name, gradient in gradients.items():
        held, step, decay, setting = mine[name]
        _, planned_step, planned_decay, planned_setting = plans.get(name, (False, 0.0, 0.0, None))
        steps.append(
            ParameterStep(
                name,
                _rms(found[name].detach()),
                None if gradient is None else _rms(gradient),
                held,
                name in frozen,
                step,
                planned_step,
                decay,
                planned_decay,
                setting,
                planned_setting,
            )
        )
    return steps


def _moves(
    model: nn.Module, make: Callable[[nn.Module], torch.optim.Optimizer], gradients: dict[str, Tensor | None]
) -> dict[str, tuple[bool, float, float, float | None]]:
    """Whether a parameter is held, rms of its move by the gradient, its share lost to decay, its setting of decay."""
    moves = []
    for scale in (1.0, 0.0):
        twin = copy.deepcopy(model)
        optimizer = make(twin)
        found = parameters_by_name(twin)
        for name, parameter in found.items():
            gradient = gradients[name]
            parameter.grad = None if gradient is None else scale * gradient
        before = {name: parameter.detach().clone() for name, parameter in found.items()}
        optimizer.step()
        moves.append({name: parameter.detach() - before[name] for name, parameter in found.items()})
    settings = {
        id(parameter): group.get("weight_decay") for group in optimizer.param_groups for parameter in group["params"]
    }
    result = {}
    for name, parameter in found.items():
        full, idle = moves[0][name], moves[1][name]
        size = float((before[name].double() ** 2).sum())
        lost = -float((idle.double() * before[name].double()).sum()) / size if size else 0.0
        setting = settings.get(id(parameter))
        result[name] = (
            id(parameter) in settings,
            _rms(full - idle),
            lost,
            None if setting is None else float(setting),
        )
    return result


def _rms(tensor: Tensor) -> float:
    return float((tensor.double() ** 2).mean()) ** 0.5 if tensor.numel() else 0.0
