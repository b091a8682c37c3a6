"""The optimisers that rates are known for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from repflow.tuning import constants


@dataclass(frozen=True)
class Family:
    """An optimiser by name, and whether its step is a sign rather than a gradient."""

    name: str
    adaptive: bool


_FAMILIES = {"sgd": Family("sgd", False), "adam": Family("adam", True), "adamw": Family("adamw", True)}


def momentum_factor(momentum: float) -> float:
    """Rate with momentum m over the rate without: (1 - m)^p between that of the first step, p = 0, and that of the
    steps that momentum adds up, p = 1.
    """
    return (1 - momentum) ** constants.MOMENTUM_POWER


def family_of(optimizer: Any, momentum: float = 0.0) -> Family:
    """The family of a name, a ``torch.optim`` class or an instance.

    Raises
    ------
    ValueError, TypeError
        No rule is known for it, or ``momentum`` is outside [0, 1), or not 0 for Adam.
    """
    family = _named(optimizer)
    number = isinstance(momentum, (int, float)) and not isinstance(momentum, bool)
    if not (number and 0 <= momentum < 1):
        raise ValueError(f"momentum must lie in [0, 1), got {momentum!r}")
    if momentum and family.adaptive:
        raise ValueError(f"momentum is for SGD, got {momentum!r} for {family.name}, which has its betas")
    return family


def _named(optimizer: Any) -> Family:
    if isinstance(optimizer, str):
        name = optimizer.lower()
    elif isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer):
        name = optimizer.__name__.lower()
    elif isinstance(optimizer, torch.optim.Optimizer):
        name = type(optimizer).__name__.lower()
    else:
        raise TypeError(f"optimizer must be a name or a torch.optim class, got {optimizer!r}")
    if name not in _FAMILIES:
        raise ValueError(f"optimizer {name!r} has no rule; known are {', '.join(_FAMILIES)}")
    return _FAMILIES[name]
