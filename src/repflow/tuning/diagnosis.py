"""``diagnose``: what is measured on a model in the draws of its plan, module by module."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from repflow.empirical import Measurement, measure
from repflow.empirical.call import as_call
from repflow.empirical.draw import Pull
from repflow.empirical.twin import Parameters, Twin
from repflow.isolation import random_state_kept
from repflow.tuning.initial import Initial, draw_all
from repflow.tuning.modules import ROWS
from repflow.tuning.parameters import OTHER, check_model
from repflow.tuning.plan import Plan
from repflow.tuning.targets import check_loss
from repflow.tuning.vectors import output_vectors
from repflow.tuning.wrapping import whole


def diagnose(
    model: nn.Module,
    x: Any,
    y: Any = None,
    plan: Plan | None = None,
    loss: str | None = None,
    draws: int = 8,
    rows: int = ROWS,
    seed: int = 0,
) -> Measurement:
    """Kernels, susceptibilities, gradients, tangent kernels and changes a step, for each module with parameters.

    No model is refused for what it is made of: a part that fails is named in ``failures``, and the rest of the table
    is still there. The model stays as it is.

    Parameters
    ----------
    model
        Of any kind.
    x, y
        As for :func:`repflow.tune`.
    plan
        Whose :meth:`~repflow.Plan.initialize_` makes the draws. None: the weights as they are, measured once.
    loss
        As for :func:`repflow.tune`; None: the plan's, or ``"mse"``.
    draws
        Of the plan's initialisation.
    rows
        Of the data, at most, evenly spaced.
    seed
        Of everything random.

    Returns
    -------
    Measurement

    Raises
    ------
    TypeError, ValueError
        An argument is not of the form above, or the plan is of another model.
    """
    loss = loss or (plan.loss if plan is not None else "mse")
    check_loss(loss)
    model = whole(model)
    with random_state_kept():
        twin = Twin(model)
        pull, axis = _pull(twin, x, y, rows, loss)
        if plan is None:
            return measure(model, x, pull, rows=rows, seed=seed, axis=axis)
        check_model(model, plan.parameters)
        initial = {
            entry.name: Initial(entry.new_std, entry.new_mean, entry.keep or entry.role == OTHER or not entry.trainable)
            for entry in plan.parameters
            if entry.tied_to is None
        }

        def initialize(generator: torch.Generator) -> Parameters:
            return draw_all(initial, twin.parameters, generator)

        return measure(model, x, pull, draws, initialize, rows, seed, axis)


def _pull(twin: Twin, x: Any, y: Any, rows: int, loss: str) -> tuple[Pull | None, int]:
    """The loss's derivative at outputs of zero; none where the forward pass fails, and ``measure`` says why."""
    whole_call = as_call(x)
    call, index = whole_call.cast(twin.dtype).evenly(rows)
    try:
        with torch.no_grad():
            output = twin.call(twin.parameters, call)
    except Exception:  # whatever it is, the measurement names it
        return None, -1
    outputs = output_vectors(output, y, index, whole_call.rows, loss)
    return outputs.pull, outputs.axis
