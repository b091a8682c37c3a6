"""A constant factor in a forward pass, as a hook that can be removed: for what no initialisation and no rate can say.

A factor a behind a linear map moves into the map itself. W' = a W gives the same network, step by step, when

    std' = a std,    SGD: lr' = a^2 lr,    Adam, AdamW: lr' = a lr, eps' = eps/a,    AdamW: decay' = decay/a,

(the abc-symmetry, Yang and Hu 2011.14522), so a plan needs no factors and adds none. What is left are tensors that have
one size and one rate for two tasks, and outputs behind which no tensor stands; docs/residual.md lists them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def scale_output(module: nn.Module, factor: float) -> RemovableHandle:
    """Multiply what a module returns by a constant, without touching its parameters or its code.

    Parameters
    ----------
    module
        Any module that returns a floating tensor, or a tuple or list whose first entry is one (attention layers return
        their weights behind their output). Only that tensor is multiplied.
    factor
        Finite. Factors of several calls multiply.

    Returns
    -------
    RemovableHandle
        ``handle.remove()`` takes the factor off this module. The handle belongs to this module alone: a deepcopy keeps
        the factor, and its own can be removed only through the copy's ``_forward_hooks``.

    Raises
    ------
    TypeError
        ``module`` or ``factor`` is of another type; at the call, an output that is none of the above.
    ValueError
        ``factor`` is not finite.

    Notes
    -----
    A state_dict knows nothing of it: whoever loads one sets the factor again. :func:`repflow.tune` measures a module
    without its hooks; the factor is no part of a plan. ``torch.compile`` compiles the factor in if it is set before
    the first call, and by default does not look again: set and remove factors before compiling.

    Examples
    --------
    CompleteP's 1/depth on the branches of a residual network (2505.01618):

    >>> branches = nn.ModuleList(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.Tanh()) for _ in range(4))
    >>> handles = [scale_output(branch, 1 / len(branches)) for branch in branches]
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise TypeError(f"factor must be a number, got {type(factor).__name__}")
    if not math.isfinite(factor):
        raise ValueError(f"factor must be finite, got {factor}")
    return module.register_forward_hook(_Factor(float(factor)))


class _Factor:
    """The hook: an object rather than a closure, so that modules that hold it can be copied."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if _floating(output):
            return output * self.factor
        if isinstance(output, tuple | list) and output and _floating(output[0]):
            first = output[0] * self.factor
            if hasattr(output, "_replace"):  # a named tuple is built from its fields
                return type(output)(first, *output[1:])
            return type(output)((first, *output[1:]))
        raise TypeError(
            f"the output of {type(module).__name__} must be a floating tensor, or a tuple or list that starts with "
            f"one, to be scaled; got {type(output).__name__}"
        )


def _floating(value: Any) -> bool:
    return isinstance(value, Tensor) and (
        value.is_floating_point() or value.dtype in (torch.complex64, torch.complex128)
    )
