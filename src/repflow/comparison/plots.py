"""Figures of a comparison, through :mod:`repflow.figures`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from repflow.comparison.quantities import QUANTITIES
from repflow.comparison.rule import SIGMAS

if TYPE_CHECKING:
    from repflow.comparison.result import Comparison

# Scores beyond this are drawn here; the text of the point holds the number.
_CLIP = 50.0


def comparison_figures(comparison: Comparison) -> dict[str, Any]:
    """For each quantity its z-scores against depth, and its single-input components against depth.

    Returns
    -------
    dict
        Plotly figures: ``z_mean_kernel`` and ``mean_kernel``, and so on for each quantity; of those that one layer has
        alone, the differentials, ``z_...`` only.
    """
    found: dict[str, Any] = {}
    for quantity in comparison.quantities:
        title = QUANTITIES[quantity].title
        entries = [entry for entry in comparison if entry.quantity == quantity]
        found[f"z_{quantity}"] = _scores(entries, title)
        if len(entries) > 1 or comparison.depth == 1:
            found[quantity] = _against_depth(entries, title, len(comparison.widths) == 2, comparison.order)
    return found


def _scores(entries: list[Any], title: str) -> Any:
    from repflow import figures

    layers = np.concatenate([np.full(len(entry.theory), entry.layer) for entry in entries])
    scores = {
        "without tolerance": np.concatenate([entry.z for entry in entries]),
        "beyond tolerance": np.concatenate([entry.z_beyond for entry in entries]),
    }
    places = [",".join(map(str, index)) for entry in entries for index in entry.index.tolist()]
    labels = {
        name: [f"({place}) z = {value:.3g}" for place, value in zip(places, values)] for name, values in scores.items()
    }
    return figures.z_scores(
        layers,
        {name: np.clip(values, -_CLIP, _CLIP) for name, values in scores.items()},
        x_title="layer",
        y_title="(measured - theory) / standard error",
        title=f"Deviation of the {title}",
        threshold=SIGMAS,
        labels=labels,
    )


def _against_depth(entries: list[Any], title: str, coefficient: bool, order: int) -> Any:
    from repflow import figures

    diagonal = [(entry.index == entry.index[:, :1]).all(axis=1) for entry in entries]
    theory, measured, stderr = (
        np.array([getattr(entry, name)[keep].mean() for entry, keep in zip(entries, diagonal)])
        for name in ("theory", "measured", "stderr")
    )
    # In the two-width form the first layer has no coefficient: it is compared as it is, and not drawn among the others.
    first = 1 if coefficient else 0
    power = "n" if order == 1 else f"n^{order}"
    return figures.lines(
        np.array([entry.layer for entry in entries[first:]]),
        {"theory": theory[first:]},
        # the mean error of the components bounds the error of their mean, correlated as they are
        {"ensemble": (measured[first:], stderr[first:])},
        x_title="layer",
        y_title=f"coefficient of 1/{power}" if coefficient else title,
        title=f"Diagonal of the {title}, mean over inputs",
    )
