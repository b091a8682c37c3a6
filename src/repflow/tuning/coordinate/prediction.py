"""The predictions of a plan for its own model: which layer changes by how much in the first step, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from repflow.graph.chain import rows_of
from repflow.network import Network
from repflow.recursion.inputs import as_inputs
from repflow.tuning.coordinate.theory import LayerStep, predicted_changes
from repflow.tuning.couplings import gains_of
from repflow.tuning.optimizers import Family
from repflow.tuning.parameters import OTHER, ParameterPlan
from repflow.tuning.plan import Plan
from repflow.tuning.rates import feature_change
from repflow.tuning.wrapping import parameters_by_name


def predictions(
    plan: Plan,
    network: Network,
    planned: torch.optim.Optimizer,
    family: Family,
    model: nn.Module,
    batch: tuple[Any, Any],
    loss: Callable[[Any, Any], Tensor],
    shape: torch.Size,
) -> dict[str, float]:
    """The predicted first change of each layer, by name: relative to its size, and absolute for the head.

    Parameters
    ----------
    plan, network
        The plan, and its network.
    planned
        The plan's own optimiser of ``model``, which has the rates and the decay.
    family
        Its rule.
    batch, loss
        (x, y) and ``loss(output, y)``.
    shape
        Of the model's output on the batch.
    """
    settings = {id(p): group for group in planned.param_groups for p in group["params"]}
    found = parameters_by_name(model)
    layers: dict[int, dict[str, ParameterPlan]] = {}
    for entry in plan.parameters:
        if entry.role != OTHER and entry.tied_to is None:
            layers.setdefault(entry.layer, {})[entry.role.rsplit(" ", 1)[-1]] = entry
    steps, names = [], []
    for number in range(1, network.depth + 1):
        held = layers.get(number, {})
        groups = {kind: settings.get(id(found[entry.name])) for kind, entry in held.items()}
        weights, biases = groups.get("weight"), groups.get("bias")
        rates = tuple(group["lr"] if group else 0.0 for group in (weights, biases))
        decays = tuple(group["weight_decay"] if group else 0.0 for group in (weights, biases))
        if family.name == "adam":
            steps.append(LayerStep(rates[0], rates[1], coupled=(decays[0], decays[1])))
        else:
            steps.append(LayerStep(rates[0], rates[1], decay=rates[0] * decays[0]))
        first = next(iter(held.values()), None)
        names.append(None if first is None else first.name.rpartition(".")[0])
    x, y = batch
    rows = as_inputs(rows_of(x, network.widths[0]), network.widths[0], "cpu")
    targets = y.cpu() if isinstance(y, Tensor) else y
    sizes, changes = predicted_changes(
        network, rows, steps, lambda output: loss(output, targets), shape, family.adaptive
    )
    return {
        name: change if number == network.depth - 1 else change / size
        for number, (name, size, change) in enumerate(zip(names, sizes, changes, strict=True))
        if name is not None and size > 0
    }


def expected_features(plan: Plan, family: Family | None, changes: NDArray[np.float64]) -> float | None:
    """What the total change of all hidden layers should go as over sizes, up to a factor.

    kappa of the predicted changes; in a measured plan its own kappa, which the rates of Adam keep at one value. None
    for an optimiser that plans have no rates for.
    """
    if family is None or not len(changes):
        return None
    if np.isfinite(changes).all():
        network = plan.network
        rising = None if network is None or len(changes) != network.depth - 1 else gains_of(network)
        return feature_change([float(change) for change in changes], rising)
    return 1.0 if family.adaptive else plan.kappa


def widening(plan: Plan) -> float:
    """exp(r_L): what the next orders of 1/n may add to a prediction of infinite width."""
    return math.exp(min(plan.aspect_ratio.relative_variance or 0.0, 3.0))
