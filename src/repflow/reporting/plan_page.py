"""A plan as one HTML page in the look of the report, for a person who is about to train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repflow.reporting.page import environment
from repflow.reporting.plan_words import plan_cards, plan_headline
from repflow.reporting.provenance import Timings, provenance
from repflow.tuning import Plan

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_CLASSES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
_HEADER = ("parameter", "role", "shape", "std now", "std new", "rate", "NTK trace", "NTK top", "set by")


def plan_page(
    plan: Plan,
    model: str,
    data: str,
    optimizer: str = "sgd",
    configuration: Mapping[str, Any] | None = None,
) -> str:
    """The page of a plan; it needs nothing but itself.

    Parameters
    ----------
    plan
        From :func:`repflow.tune`.
    model, data
        What was tuned and on what, in words.
    optimizer
        ``"sgd"``, ``"adam"`` or ``"adamw"``: whose rates are shown.
    configuration
        Options to record in the provenance.

    Raises
    ------
    ValueError
        The optimiser is another.
    """
    from repflow.figures import figure_html, render_page, table_html

    if optimizer not in _CLASSES:
        raise ValueError(f"optimizer must be one of {', '.join(_CLASSES)}, got {optimizer!r}")
    headline, tone = plan_headline(plan)
    recorded = provenance(dict(configuration or {}), Timings())
    figures = [
        {"key": key, "title": title, "caption": caption, "html": figure_html(figure, key, title)}
        for key, title, caption, figure in _charts(plan, optimizer)
    ]
    return render_page(
        environment(),
        "plan.html.j2",
        headline=headline,
        tone=tone,
        cards=plan_cards(plan, optimizer),
        plan=plan,
        model=model,
        data=data,
        optimizer=_CLASSES[optimizer],
        entries=f"{sum(int(np.prod(entry.shape)) for entry in plan.parameters if entry.tied_to is None):,}",
        table=table_html(_HEADER, _rows(plan, optimizer)),
        code=plan_code(optimizer),
        figures=figures,
        provenance={
            "Versions": {**recorded["versions"], "platform": recorded["platform"], "written": recorded["written"]},
            "Configuration": recorded["configuration"],
        },
        version=recorded["versions"]["repflow"],
    )


def plan_code(optimizer: str) -> str:
    """PyTorch code that applies ``plan.json`` to the model."""
    return "\n".join(
        [
            "import repflow as rf",
            "import torch",
            "",
            'plan = rf.load("plan.json")',
            "plan.initialize_(model)",
            f'groups = plan.param_groups(model, optimizer="{optimizer}", lr=1.0)',
            f"optimizer = torch.optim.{_CLASSES[optimizer]}(groups)",
        ]
    )


def _rows(plan: Plan, optimizer: str) -> list[tuple[Any, ...]]:
    return [
        (
            entry.name if entry.tied_to is None else f"{entry.name} (= {entry.tied_to})",
            entry.role,
            " × ".join(map(str, entry.shape)),
            entry.old_std,
            None if entry.keep else entry.new_std,
            _rate(entry, optimizer) if entry.trainable else None,
            f"{entry.trace:.1%}",
            f"{entry.eigenvalue:.1%}",
            entry.set_by,
        )
        for entry in plan.parameters
    ]


def _rate(entry: Any, optimizer: str) -> float:
    return float(entry.sgd if optimizer == "sgd" else entry.adam)


def _charts(plan: Plan, optimizer: str) -> list[tuple[str, str, str, Figure]]:
    """Rates, sizes and shares by parameter: (key, title, caption, figure)."""
    from repflow.figures import lines

    entries = [entry for entry in plan.parameters if entry.tied_to is None and entry.trainable]
    place = np.arange(1.0, len(entries) + 1)
    weights = np.array([len(entry.shape) > 1 for entry in entries], dtype=bool)

    def split(values: list[float]) -> dict[str, tuple[Any, None]]:
        array = np.array(values, dtype=np.float64)
        found = {"weights": (np.where(weights, array, np.nan), None)}
        if not weights.all():
            found["biases and gains"] = (np.where(weights, np.nan, array), None)
        return found

    def figure(points: dict[str, tuple[Any, None]], title: str, log: bool) -> Figure:
        return lines(place, {}, points, x_title="parameter, in the model's order", y_title=title, log_y=log)

    stds = {
        "now": (np.array([entry.old_std for entry in entries]), None),
        "as planned": (np.array([entry.new_std for entry in entries]), None),
    }
    return [
        (
            "rates",
            "Learning rates",
            f"Rate of each parameter with {_CLASSES[optimizer]} at lr = 1.0.",
            figure(split([_rate(entry, optimizer) for entry in entries]), "learning rate", True),
        ),
        (
            "sizes",
            "Initialisation",
            "Root mean square of each parameter's entries; those that start at zero do not show.",
            figure(stds, "standard deviation", True),
        ),
        (
            "shares",
            "Who moves the output",
            "Share of the tangent kernel's trace under SGD: how much of the output's change comes from each parameter.",
            figure(split([entry.trace for entry in entries]), "share of the trace", False),
        ),
        (
            "edge-shares",
            "Who uses up the stable rate",
            "Share of the tangent kernel's largest eigenvalues, which set the edge of stability.",
            figure(split([entry.eigenvalue for entry in entries]), "share of the largest eigenvalue", False),
        ),
    ]
