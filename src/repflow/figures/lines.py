"""Curves with measured points: a quantity against depth, width, or anything else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.figures.theme import DASHES, PALETTE, SYMBOLS, new_figure

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def lines(
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    points: Mapping[str, tuple[ArrayLike, ArrayLike | None]] | None = None,
    *,
    x_title: str,
    y_title: str,
    title: str | None = None,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    references: Mapping[str, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    height: int = 380,
) -> Figure:
    """Curves (theory, say at orders 0 and 1) and points with error bars (the ensemble) over one x.

    Parameters
    ----------
    x
        Shape (M,): layers, widths, ...
    curves
        Values by name in the legend, each (M,); NaN leaves a gap.
    points
        ``name: (values, standard errors or None)``, each (M,); the bars are one standard error.
    bands
        ``name: (low, high)``, each (M,): shaded areas.
    references
        Horizontal lines by name, thresholds for instance.
    log_x, log_y
        Logarithmic axes. What is not positive does not show on them.

    Raises
    ------
    ValueError
        Something has another length than x.
    """
    import plotly.graph_objects as go

    position = _vector(x, "x")
    figure = new_figure(x_title, y_title, title, log_x, log_y, height)
    # Curves and points take colours from the front of the palette, bands from its end.
    for index, (name, (low, high)) in enumerate((bands or {}).items()):
        # One closed outline: down one edge and back up the other.
        edge = np.concatenate(
            [_vector(low, f"bands[{name!r}]", position), _vector(high, f"bands[{name!r}]", position)[::-1]]
        )
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([position, position[::-1]]),
                y=edge,
                name=name,
                mode="lines",
                line={"width": 0},
                fill="toself",
                fillcolor=_faint(PALETTE[-1 - index % len(PALETTE)]),
                hoverinfo="skip",
            )
        )
    for index, (name, values) in enumerate(curves.items()):
        figure.add_trace(
            go.Scatter(
                x=position,
                y=_vector(values, f"curves[{name!r}]", position),
                name=name,
                mode="lines",
                line={"width": 2, "dash": DASHES[index % len(DASHES)], "color": PALETTE[index % len(PALETTE)]},
            )
        )
    for index, (name, (values, errors)) in enumerate((points or {}).items()):
        bars: dict[str, Any] = {"visible": False}
        if errors is not None:
            bars = {"type": "data", "array": _vector(errors, f"points[{name!r}] errors", position), "thickness": 1.5}
        figure.add_trace(
            go.Scatter(
                x=position,
                y=_vector(values, f"points[{name!r}]", position),
                name=name,
                mode="markers",
                error_y=bars,
                marker={
                    "size": 7,
                    "symbol": SYMBOLS[index % len(SYMBOLS)],
                    "color": PALETTE[(len(curves) + index) % len(PALETTE)],
                },
            )
        )
    add_references(figure, references)
    return figure


def add_references(figure: Figure, references: Mapping[str, float] | None) -> None:
    """Thin horizontal lines with their names at the right end."""
    for name, value in (references or {}).items():
        figure.add_hline(y=float(value), line={"width": 1, "dash": "dot", "color": "#808890"})
        # On a logarithmic axis Plotly wants an annotation's place as a power of ten, which add_hline does not do.
        place = math.log10(value) if figure.layout.yaxis.type == "log" else float(value)
        figure.add_annotation(
            text=name,
            font={"size": 11},
            x=1,
            xref="x domain",
            xanchor="right",
            y=place,
            yanchor="bottom",
            showarrow=False,
        )


def z_scores(
    positions: ArrayLike,
    scores: Mapping[str, ArrayLike],
    *,
    x_title: str,
    y_title: str = "z",
    title: str | None = None,
    threshold: float = 5.0,
    labels: Mapping[str, list[str]] | None = None,
    height: int = 380,
) -> Figure:
    """Deviations in units of their standard error, with the accepted range between two lines.

    Parameters
    ----------
    positions
        Shape (M,), the layer of each component, say. Points at one position are spread over 0.6 of a unit, in order.
    scores
        z by name in the legend, each (M,); NaN is left out.
    threshold
        Half the width of the accepted range.
    labels
        A text for each point, by the same names, shown when the reader points at it.
    """
    import plotly.graph_objects as go

    position = _vector(positions, "positions")
    figure = new_figure(x_title, y_title, title, height=height)
    figure.add_hrect(y0=-threshold, y1=threshold, fillcolor="#009E73", opacity=0.10, line_width=0, layer="below")
    spread = _spread(position)
    for index, (name, values) in enumerate(scores.items()):
        text = (labels or {}).get(name)
        if text is not None and len(text) != len(position):
            raise ValueError(f"labels[{name!r}] has {len(text)} entries, positions has {len(position)}")
        figure.add_trace(
            go.Scatter(
                x=spread,
                y=_vector(values, f"scores[{name!r}]", position),
                name=name,
                mode="markers",
                text=text,
                marker={
                    "size": 6,
                    "opacity": 0.75,
                    "symbol": SYMBOLS[index % len(SYMBOLS)],
                    "color": PALETTE[index % len(PALETTE)],
                },
            )
        )
    add_references(figure, {f"+{threshold:g}": threshold, f"\u2212{threshold:g}": -threshold})
    return figure


def _spread(position: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = position.copy()
    for value in np.unique(position):
        members = np.flatnonzero(position == value)
        if len(members) > 1:
            spread[members] += np.linspace(-0.3, 0.3, len(members))
    return spread


def _vector(values: ArrayLike, name: str, like: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {array.shape}")
    if like is not None and array.shape != like.shape:
        raise ValueError(f"{name} has {len(array)} entries, the x axis has {len(like)}")
    return array


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.25)"
