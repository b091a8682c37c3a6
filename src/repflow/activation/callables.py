"""A callable as an activation: checked to be elementwise, breakpoints and derivatives found from its values."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repflow.activation.function import GRID, Activation
from repflow.breakpoints import find_breakpoints


def path_of(target: Any) -> str:
    """Import path of a function, or of the class of an instance."""
    owner = target if hasattr(target, "__qualname__") else type(target)
    module = getattr(owner, "__module__", None) or "builtins"
    return f"{module}:{owner.__qualname__}"


def _check_elementwise(name: str, function: Callable[[Tensor], Tensor]) -> None:
    def call(z: Tensor) -> Tensor:
        try:
            with torch.no_grad():
                value = function(z)
        except Exception as error:  # a user's function may raise anything: the message has to name it
            raise ValueError(f"activation {name!r} failed on a float64 tensor: {error}") from error
        if not isinstance(value, Tensor):
            raise TypeError(f"activation {name!r} must return a tensor, it returned {type(value).__name__}")
        return value

    values = call(GRID.clone())
    if values.shape != GRID.shape:
        raise ValueError(
            f"activation {name!r} is not elementwise: it maps shape {tuple(GRID.shape)} to {tuple(values.shape)}"
        )
    if values.dtype != torch.float64:
        raise TypeError(f"activation {name!r} returns {values.dtype} for a float64 input; keep the input's precision")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"activation {name!r} is not finite on [-6, 6]")
    alone = torch.cat([call(z.reshape(1)) for z in GRID])
    permutation = torch.randperm(len(GRID), generator=torch.Generator().manual_seed(0))
    square = call(GRID[permutation][:96].reshape(8, 12))
    expected = alone[permutation][:96].reshape(8, 12)
    if not (torch.allclose(alone, values, atol=1e-12) and torch.allclose(square, expected, atol=1e-12)):
        raise ValueError(
            f"activation {name!r} is not elementwise: a value depends on other entries, or differs between calls"
        )


def from_callable(name: str, function: Callable[[Tensor], Tensor]) -> Activation:
    """An unregistered activation; raises ValueError or TypeError if the function is not elementwise and finite."""
    _check_elementwise(name, function)

    def values(z: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        with torch.no_grad():
            return np.asarray(function(torch.as_tensor(z)).numpy(), dtype=np.float64)

    breakpoints = find_breakpoints(values)
    activation = Activation(name, function, breakpoints, None, False)
    if not _autograd_agrees(activation):
        activation = Activation(name, function, breakpoints, None, False, differentiable=False)
    slopes = _homogeneous_slopes(activation)
    return Activation(name, function, breakpoints, slopes, False, activation.differentiable)


def _autograd_agrees(activation: Activation) -> bool:
    """Whether automatic differentiation gives the derivative of the values (it may be detached, or a surrogate)."""
    points = GRID + 0.0137
    for kink in activation.kinks:
        points = points[(points - kink).abs() > 0.01]
    step = 1e-5
    for order in (1, 2):
        try:
            automatic = activation.derivative(points, order)
            ahead, behind = (activation.derivative(points + shift, order - 1) for shift in (step, -step))
        except RuntimeError:
            return False
        difference = (ahead - behind) / (2 * step)
        if not torch.allclose(automatic, difference, rtol=1e-3, atol=1e-5 * (1 + float(difference.abs().max()))):
            return False
    return True


def _homogeneous_slopes(activation: Activation) -> tuple[float, float] | None:
    low, zero, high = activation(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)).tolist()
    linear = torch.where(GRID < 0, -low * GRID, high * GRID)
    if any(abs(kink) > 1e-9 for kink in activation.kinks):  # linear on the grid, but not beyond it: ReLU6
        return None
    if zero == 0.0 and (low, high) != (0.0, 0.0) and torch.allclose(activation(GRID), linear, rtol=1e-13, atol=1e-13):
        return (-low, high)
    return None


def import_callable(path: str) -> Any:
    """What an import path names; a class is called without arguments."""
    remedy = f"pass it as activations={{{path!r}: function}} to load()"
    module, _, qualname = path.partition(":")
    if "<" in qualname or not qualname:
        raise ValueError(f"activation {path!r} is a lambda or local function, which no import path reaches; {remedy}")
    try:
        target: Any = importlib.import_module(module)
        for part in qualname.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"activation {path!r} cannot be imported ({error}); {remedy}") from error
    if isinstance(target, type):
        try:
            target = target()
        except TypeError as error:
            raise ValueError(f"activation {path!r} needs arguments to be built again; {remedy}") from error
    return target
