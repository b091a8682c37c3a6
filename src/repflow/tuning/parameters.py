"""One parameter of a plan, and the parameters of a model that it is applied to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from repflow.graph.chain import Chain, mean_square
from repflow.network import Network
from repflow.tuning import constants
from repflow.tuning.rates import GroupRate, Rates
from repflow.tuning.wrapping import overwrite, parameters_by_name


@dataclass(frozen=True)
class ParameterPlan:
    """Advice for one parameter tensor.

    Attributes
    ----------
    name
        As in ``model.named_parameters(remove_duplicate=False)``.
    role
        ``"input weight"``, ``"hidden weight"``, ``"head weight"``, or the same with bias; ``"other"`` for a frozen
        parameter outside the linear layers, which the plan leaves alone. In a measured plan also ``"embedding"``,
        ``"branch weight"`` (the last of a residual branch), ``"gain"``, and ``"free"`` for what is kept as it is.
    layer
        l, from 1 to L, the first one that uses it; 0 for ``"other"``.
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
        What set the rates, in words: the limit of SGD and the group's share; the relative change of the layer by a
        step of Adam.
    trainable
        Whether it required a gradient when tuned.
    tied_to
        The earlier parameter that it is, or None.
    new_mean
        Mean of the draws: 1 for the gain of a norm.
    keep
        Whether :meth:`repflow.Plan.initialize_` leaves its values as they are.
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
    new_mean: float = 0.0
    keep: bool = False


OTHER = "other"


def parameter_plans(
    model: nn.Module, chain: Chain, network: Network, found: Rates, notes: list[str]
) -> tuple[ParameterPlan, ...]:
    """One entry for each parameter name of the model, in the model's order.

    A parameter that several layers share learns at the lowest of their rates; its parts of the tangent kernel and its
    gradients add up.

    Raises
    ------
    ValueError
        A trainable parameter belongs to no linear layer of the chain.
    """
    uses: dict[int, list[ParameterPlan]] = {}
    for number, (step, layer) in enumerate(zip(chain.layers, network.layers, strict=True)):
        for kind, parameter, rate in (
            ("weight", step.linear.weight, found.weights[number]),
            ("bias", step.linear.bias, found.biases[number]),
        ):
            if parameter is not None:
                std = (layer.C_W / layer.n_in) ** 0.5 if kind == "weight" else layer.C_b**0.5
                uses.setdefault(id(parameter), []).append(
                    _entry(kind, number, network.depth, parameter, std, rate, found)
                )
    entries: list[ParameterPlan] = []
    first: dict[int, str] = {}
    for name, parameter in parameters_by_name(model).items():
        key = id(parameter)
        if key not in uses:
            entry = _other(name, parameter)
        else:
            entry = _merged(uses[key])
            if len(uses[key]) > 1 and key not in first:
                layers = " and ".join(str(use.layer) for use in uses[key])
                notes.append(f"{name} is shared by layers {layers}: theory takes their draws as independent")
        entries.append(replace(entry, name=name, tied_to=first.get(key)))
        first.setdefault(key, name)
    return tuple(entries)


def _entry(
    kind: str, number: int, depth: int, parameter: Tensor, std: float, rate: GroupRate | None, found: Rates
) -> ParameterPlan:
    place = "head" if number == depth - 1 else "input" if number == 0 else "hidden"
    rate = rate or GroupRate(0.0, 0.0, 0.0, 0.0, 0.0)
    return ParameterPlan(
        name="",
        role=f"{place} {kind}",
        layer=number + 1,
        shape=tuple(parameter.shape),
        old_std=root_mean_square(parameter),
        new_std=std,
        sgd=rate.sgd,
        adam=rate.adam,
        gradient=rate.gradient,
        trace=rate.trace,
        eigenvalue=rate.eigenvalue,
        set_by=_reason(kind, place, found, rate.step) if parameter.requires_grad else "frozen",
        trainable=parameter.requires_grad,
    )


def _reason(kind: str, place: str, found: Rates, step: float) -> str:
    """What set a group's rates: under SGD its share of the largest eigenvalue and the limit on all, under Adam its
    step.
    """
    limit = "feature change" if found.binding == "features" else "edge of stability"
    weights = constants.HEAD_SHARE if place == "head" else 1.0
    share = Fraction(constants.BIAS_SHARE if kind == "bias" else weights).limit_denominator(10_000)
    return f"{limit}, share {share}; Adam: step {step:.2g}"


def _merged(uses: list[ParameterPlan]) -> ParameterPlan:
    return replace(
        uses[0],
        sgd=min(use.sgd for use in uses),
        adam=min(use.adam for use in uses),
        gradient=math.sqrt(sum(use.gradient**2 for use in uses)),
        trace=sum(use.trace for use in uses),
        eigenvalue=sum(use.eigenvalue for use in uses),
    )


def _other(name: str, parameter: nn.Parameter) -> ParameterPlan:
    if parameter.requires_grad:
        raise ValueError(
            f"model has the parameter {name!r}, which is no weight or bias of a linear layer on the path to the "
            "output: theory has no rate for it; freeze it (requires_grad_(False)) or remove it"
        )
    size = root_mean_square(parameter)
    return ParameterPlan(
        name, OTHER, 0, tuple(parameter.shape), size, size, 0.0, 0.0, 0.0, 0.0, 0.0, "left alone", trainable=False
    )


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
    found = parameters_by_name(model)
    for entry in parameters:
        if entry.name not in found:
            raise ValueError(
                f"model has no parameter {entry.name!r}, which the plan has; tune this model, or transfer the plan"
            )
        shape = tuple(found[entry.name].shape)
        if shape != entry.shape:
            raise ValueError(
                f"parameter {entry.name!r} has shape {shape}, the plan was made for {entry.shape}; "
                "use plan.transfer_to(model, x)"
            )
    extra = sorted(set(found) - {entry.name for entry in parameters})
    if extra:
        raise ValueError(f"model has parameters that are not in the plan: {', '.join(extra)}")
    return found


def draw(parameter: nn.Parameter, std: float, generator: torch.Generator | None, mean: float = 0.0) -> None:
    """Overwrite with Gaussian draws of this standard deviation and mean, made on the CPU in float32 or wider."""
    with torch.no_grad():
        if std == 0:
            parameter.fill_(mean)
            return
        dtype = parameter.dtype if parameter.dtype in (torch.float32, torch.float64) else torch.float32
        normal = torch.randn(parameter.shape, generator=generator, dtype=dtype) * std + mean
        overwrite(parameter, normal)


def root_mean_square(tensor: Tensor) -> float:
    """Of the entries; NaN for a tensor on the meta device."""
    return math.nan if tensor.is_meta else math.sqrt(mean_square(tensor))
