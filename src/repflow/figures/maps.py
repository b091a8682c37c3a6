"""Values over a plane: a phase diagram with a network on it, or a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.figures.theme import DIVERGING, GREEN, ORANGE, PURPLE, SEQUENTIAL, SYMBOLS, VERMILLION, new_figure

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def phase_diagram(
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    *,
    x_title: str,
    y_title: str,
    value_title: str,
    title: str | None = None,
    midpoint: float | None = None,
    limits: tuple[float, float] | None = None,
    level: float | None = None,
    level_name: str | None = None,
    marked: Mapping[str, tuple[float, float]] | None = None,
    height: int = 440,
) -> Figure:
    """Heat map of a quantity over two parameters, with one level drawn as a line and some points marked.

    Parameters
    ----------
    x, y
        Ascending, shapes (P,) and (Q,): C_b and C_W, for instance.
    values
        Shape (Q, P): ``values[j, i]`` at ``(x[i], y[j])``. NaN, where there is nothing to show, stays blank.
    midpoint
        Use two colours that meet here, blue below and vermillion above; by default one scale from low to high.
    limits
        Values beyond these two get the colours of the ends.
    level
        Draw the contour of this value, the critical line for instance.
    level_name
        Its name in the legend.
    marked
        Points ``name: (x, y)``.
    """
    import plotly.graph_objects as go

    columns, rows, table = _plane(x, y, values)
    figure = new_figure(x_title, y_title, title, height=height)
    colours: dict[str, Any] = {"colorscale": SEQUENTIAL}
    if limits is not None:
        low, high = limits
        if not low < high:
            raise ValueError(f"limits must ascend, got {limits}")
        colours |= {"zmin": low, "zmax": high}
    if midpoint is not None:
        finite = table[np.isfinite(table)]
        ends = limits or ((float(finite.min()), float(finite.max())) if finite.size else (midpoint, midpoint))
        reach = max(abs(ends[0] - midpoint), abs(ends[1] - midpoint)) or 1.0
        colours = {
            "colorscale": [list(stop) for stop in DIVERGING],
            "zmin": midpoint - reach,
            "zmax": midpoint + reach,
        }
    hover = f"{x_title} %{{x:.4g}}<br>{y_title} %{{y:.4g}}<br>{value_title} %{{z:.4g}}<extra></extra>"
    figure.add_trace(
        go.Heatmap(
            x=columns,
            y=rows,
            z=table,
            **colours,
            colorbar={"title": {"text": value_title, "side": "right"}, "thickness": 14, "outlinewidth": 0},
            hovertemplate=hover,
        )
    )
    if level is not None:
        # A contour line's legend entry would show a scale; a line of the same look stands for it.
        figure.add_trace(
            go.Contour(
                x=columns,
                y=rows,
                z=table,
                contours={"start": level, "end": level, "size": 1, "coloring": "none"},
                line={"color": GREEN, "width": 3},
                showscale=False,
                showlegend=False,
                hoverinfo="skip",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="lines",
                line={"color": GREEN, "width": 3},
                name=level_name or f"{value_title} = {level:g}",
            )
        )
    fills = (VERMILLION, PURPLE, ORANGE)
    for index, (name, (column, row)) in enumerate((marked or {}).items()):
        figure.add_trace(
            go.Scatter(
                x=[float(column)],
                y=[float(row)],
                name=name,
                mode="markers",
                cliponaxis=False,
                marker={
                    "size": 14,
                    "symbol": SYMBOLS[(index + len(SYMBOLS) - 1) % len(SYMBOLS)],
                    "color": fills[index % len(fills)],
                    "line": {"width": 1.5, "color": "#FFFFFF"},
                },
                hovertemplate=f"{name}<br>{x_title} %{{x:.6g}}<br>{y_title} %{{y:.6g}}<extra></extra>",
            )
        )
    # The map fills its frame, unless a marked point lies outside.
    points = np.array(list((marked or {}).values()), dtype=np.float64).reshape(-1, 2)
    figure.update_xaxes(range=_range(columns, points[:, 0]))
    figure.update_yaxes(range=_range(rows, points[:, 1]))
    return figure


def _range(axis: NDArray[np.float64], points: NDArray[np.float64]) -> list[float]:
    steps = np.diff(axis) if len(axis) > 1 else np.ones(1)
    low, high = axis[0] - 0.5 * steps[0], axis[-1] + 0.5 * steps[-1]
    margin = 0.03 * (high - low)
    outside = points[np.isfinite(points) & ((points < low) | (points > high))]
    if outside.size:
        low, high = min(low, outside.min() - margin), max(high, outside.max() + margin)
    return [float(low), float(high)]


def matrix(
    values: ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    value_title: str,
    title: str | None = None,
    midpoint: float | None = None,
    height: int = 380,
) -> Figure:
    """A matrix as a heat map with its first row on top: a kernel over pairs of inputs."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"values must be a matrix, got shape {table.shape}")
    rows, columns = table.shape
    if labels is not None and (rows != columns or len(labels) != rows):
        raise ValueError(f"labels has {len(labels)} entries, values has shape {table.shape}")
    figure = phase_diagram(
        np.arange(columns),
        np.arange(rows),
        table,
        x_title="input",
        y_title="input",
        value_title=value_title,
        title=title,
        midpoint=midpoint,
        height=height,
    )
    figure.update_yaxes(range=[rows - 0.5, -0.5], scaleanchor="x", constrain="domain")
    figure.update_xaxes(constrain="domain")
    names = [str(index) for index in range(max(rows, columns))] if labels is None else list(labels)
    if max(rows, columns) <= 32:
        figure.update_xaxes(tickvals=list(range(columns)), ticktext=names[:columns])
        figure.update_yaxes(tickvals=list(range(rows)), ticktext=names[:rows])
    return figure


def _plane(x: ArrayLike, y: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    columns, rows = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    table = np.asarray(values, dtype=np.float64)
    for name, axis in (("x", columns), ("y", rows)):
        if axis.ndim != 1 or (np.diff(axis) <= 0).any():
            raise ValueError(f"{name} must be one-dimensional and ascend, got shape {axis.shape}")
    if table.shape != (len(rows), len(columns)):
        raise ValueError(f"values must have shape (len(y), len(x)) = ({len(rows)}, {len(columns)}), got {table.shape}")
    return columns, rows, table
