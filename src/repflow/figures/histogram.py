"""A measured distribution against densities that theory gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from repflow.figures.theme import DASHES, GREEN, PURPLE, SKY, VERMILLION, new_figure

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Those of the palette that stand out from the bars.
_LINES = (VERMILLION, GREEN, PURPLE)


def histogram(
    edges: ArrayLike,
    counts: ArrayLike,
    densities: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    x_title: str,
    y_title: str = "probability density",
    title: str | None = None,
    name: str = "ensemble",
    total: float | None = None,
    log_y: bool = False,
    height: int = 380,
) -> Figure:
    """Bars of measured density under curves of predicted ones.

    Parameters
    ----------
    edges
        Bin edges, ascending, shape (B + 1,).
    counts
        Samples in each bin, shape (B,). Bars are counts / (total * width) high, with the error bars of Poisson counts.
    densities
        ``name: (x, density)``, each pair of one length.
    total
        Number of samples, if some fell outside the bins; by default the sum of ``counts``.
    log_y
        Logarithmic density, where the tails show.

    Raises
    ------
    ValueError
        Shapes don't fit, edges don't ascend, or counts are negative or all zero.
    """
    import plotly.graph_objects as go

    bins, number = np.asarray(edges, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if bins.ndim != 1 or number.shape != (len(bins) - 1,):
        raise ValueError(f"counts must have one entry fewer than edges, got {number.shape} and {bins.shape}")
    if not (np.diff(bins) > 0).all():
        raise ValueError("edges must ascend")
    if (number < 0).any() or not number.sum() > 0:
        raise ValueError("counts must not be negative, and not all be zero")
    width = np.diff(bins)
    scale = 1.0 / ((number.sum() if total is None else float(total)) * width)
    figure = new_figure(x_title, y_title, title, log_y=log_y, height=height)
    figure.add_trace(
        go.Bar(
            x=0.5 * (bins[1:] + bins[:-1]),
            y=np.where(number > 0, number * scale, np.nan),
            width=width,
            name=name,
            marker={"color": SKY, "opacity": 0.55, "line": {"width": 0}},
            error_y={"type": "data", "array": np.sqrt(number) * scale, "thickness": 1, "width": 0, "color": "#808890"},
        )
    )
    for index, (label, (x, density)) in enumerate(densities.items()):
        position, value = np.asarray(x, dtype=np.float64), np.asarray(density, dtype=np.float64)
        if position.ndim != 1 or position.shape != value.shape:
            raise ValueError(f"densities[{label!r}] has x of shape {position.shape} and values of shape {value.shape}")
        figure.add_trace(
            go.Scatter(
                x=position,
                y=value,
                name=label,
                mode="lines",
                line={"width": 2, "dash": DASHES[index % len(DASHES)], "color": _LINES[index % len(_LINES)]},
            )
        )
    return figure
