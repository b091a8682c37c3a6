"""One parameter of a plan, and the parameters of a model that it is applied to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ParameterPlan:
    """Advice for one parameter tensor.

    Attributes
    ----------
    name
        As in ``model.named_parameters(remove_duplicate=False)``.
    role
        ``"input weight"``, ``"hidden weight"``, ``"head weight"``, or the same with bias.
    layer
        l, from 1 to L.
    shape
        Of the tensor.
    old_std, new_std
        Root mean square of the entries as they are, and as advised.
    sgd, adam
        Learning rate at lr = 1.0.
    gradient
        Predicted root mean square of an entry's gradient at the start.
    trace, eigenvalue
        Share of the tangent kernel's trace, and of the sum over groups of the largest eigenvalues.
    set_by
        What set the rate of SGD, in words.
    trainable
        Whether it required a gradient when tuned.
    tied_to
        The earlier parameter that it is, or None.
    """

    name: str
    role: str
    layer: int
    shape: tuple[int, ...]
    old_std: float
    new_std: float
    sgd: float
    adam: float
    gradient: float
    trace: float
    eigenvalue: float
    set_by: str
    trainable: bool = True
    tied_to: str | None = None


def check_model(model: nn.Module, parameters: Sequence[ParameterPlan]) -> dict[str, nn.Parameter]:
    """The model's parameters by name, after a check that they are the plan's.

    Raises
    ------
    TypeError
        ``model`` is not an ``nn.Module``.
    ValueError
        A parameter is missing, has another shape, or is not in the plan.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
    found = dict(model.named_parameters(remove_duplicate=False))
    for entry in parameters:
        if entry.name not in found:
            raise ValueError(f"model has no parameter {entry.name!r}, which the plan has; tune this model, or transfer the plan")
        shape = tuple(found[entry.name].shape)
        if shape != entry.shape:
            raise ValueError(
                f"parameter {entry.name!r} has shape {shape}, the plan was made for {entry.shape}; use plan.transfer_to(model, x)"
            )
    extra = sorted(set(found) - {entry.name for entry in parameters})
    if extra:
        raise ValueError(f"model has parameters that are not in the plan: {', '.join(extra)}")
    return found


def draw(parameter: nn.Parameter, std: float, generator: torch.Generator | None) -> None:
    """Overwrite with Gaussian draws of this standard deviation, made on the CPU in float32 or wider."""
    with torch.no_grad():
        if std == 0:
            parameter.zero_()
            return
        dtype = parameter.dtype if parameter.dtype in (torch.float32, torch.float64) else torch.float32
        normal = torch.randn(parameter.shape, generator=generator, dtype=dtype) * std
        parameter.copy_(normal)


def root_mean_square(tensor: Tensor) -> float:
    """Of the entries; NaN for a tensor on the meta device."""
    if tensor.is_meta:
        return float("nan")
    return float(tensor.detach().double().square().mean().sqrt()) if tensor.numel() else 0.0
