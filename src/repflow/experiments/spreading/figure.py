"""The figure of the experiment on spreading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repflow.experiments.spreading.covering import spread
from repflow.experiments.spreading.light_cone import THRESHOLD

if TYPE_CHECKING:
    from repflow.experiments.spreading.covering import Scan
    from repflow.experiments.spreading.light_cone import Cone


def spreading_figure(cone: Cone, scans: Mapping[str, Scan]) -> Any:
    """C over distance and time with the front and the bound, and covering times against N with their fits."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from repflow.figures import PALETTE, template
    from repflow.figures.theme import SEQUENTIAL, SYMBOLS

    spins = len(cone.arrivals) + 1
    left = f"C(r, t) in an open chain of {spins} spins"
    figure = make_subplots(1, 2, subplot_titles=[left, "time to cover N spins"], horizontal_spacing=0.17)
    distance = np.arange(1, spins)
    figure.add_trace(
        go.Heatmap(
            x=distance,
            y=cone.times,
            z=cone.values,
            zmin=0,
            zmax=1,
            colorscale=SEQUENTIAL,
            colorbar={"thickness": 12, "x": 0.425, "outlinewidth": 0},
            hovertemplate="r = %{x}, t = %{y:.2f}: C = %{z:.3f}<extra></extra>",
        ),
        1,
        1,
    )
    fit = cone.front.offset + distance / cone.front.velocity
    error = {"type": "data", "array": cone.errors, "thickness": 1.5}
    white = {"size": 8, "color": "#FFFFFF", "line": {"width": 1, "color": "#000000"}}
    name = f"front C = 1/2: v = {cone.front.velocity:.2f}"
    figure.add_trace(
        go.Scatter(x=distance, y=cone.arrivals, mode="markers", marker=white, error_y=error, name=name), 1, 1
    )
    figure.add_trace(go.Scatter(x=distance, y=fit, mode="lines", line={"color": "#FFFFFF"}, showlegend=False), 1, 1)
    bound = f"Lieb-Robinson bound: v = {cone.lieb_robinson:.2f}"
    figure.add_trace(
        go.Scatter(
            x=distance, y=cone.bound_arrivals, mode="lines", line={"color": PALETTE[4], "dash": "dash"}, name=bound
        ),
        1,
        1,
    )
    for index, (model, scan) in enumerate(scans.items()):
        logs, found = scan.log_times[THRESHOLD], scan.fit()
        n = np.asarray(scan.sizes, dtype=np.float64)
        mean = np.array([np.mean(entry) for entry in logs])
        errors = [math.exp(m) * (spread(entry) or 0.0) for m, entry in zip(mean, logs)]
        colour = {"color": PALETTE[index % len(PALETTE)]}
        label = f"{model}: N<sup>{found.value:.2f}</sup>"
        bars = {"type": "data", "array": errors, "thickness": 1.5}
        marker = {"size": 8, "symbol": SYMBOLS[index % len(SYMBOLS)], **colour}
        figure.add_trace(go.Scatter(x=n, y=np.exp(mean), mode="markers", marker=marker, error_y=bars, name=label), 1, 2)
        curve = found.amplitude * n**found.value
        figure.add_trace(go.Scatter(x=n, y=curve, mode="lines", line={"width": 1.5, **colour}, showlegend=False), 1, 2)
    figure.update_layout(template=template(), height=520, autosize=True, margin_t=50)
    figure.update_xaxes(title_text="distance r", row=1, col=1)
    figure.update_yaxes(title_text="time t", range=[0, float(cone.times[-1])], row=1, col=1)
    figure.update_xaxes(title_text="number of spins N", type="log", tickvals=[4, 5, 6, 8, 10, 12, 16], row=1, col=2)
    figure.update_yaxes(title_text="covering time", type="log", tickvals=[0.25, 0.5, 1, 2, 4, 8, 16], row=1, col=2)
    return figure
