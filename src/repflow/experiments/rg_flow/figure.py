"""The figure of the experiment on the renormalisation group flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from repflow.experiments.intervals import Z95
from repflow.experiments.rg_flow.one_input import Running

_GREY = "#808890"


def rg_flow_figure(
    relu: Running, tanh: Running, off: Running, diagram: Sequence[Running], couplings: Sequence[Mapping[str, Any]]
) -> Any:
    """The flow diagram with sampled trajectories, growth and memory against depth, exponents on the digits."""
    from plotly.subplots import make_subplots

    from repflow.figures import PALETTE, template
    from repflow.figures.theme import SYMBOLS

    titles = [
        f"flow of (K, V/nK²): tanh, arrows n = {diagram[1].width}",
        "growth: n Var G/K²",
        "memory of the kernel after 16 layers",
        "exponents on the digits",
    ]
    figure = make_subplots(2, 2, subplot_titles=titles, horizontal_spacing=0.11, vertical_spacing=0.16)
    _arrows(figure, diagram[1].width)
    for number, run in enumerate(diagram):
        colour = PALETTE[number]
        figure.add_scatter(
            x=run.kernel,
            y=run.predicted,
            mode="lines",
            line={"color": colour, "width": 1.5},
            showlegend=False,
            row=1,
            col=1,
        )
        figure.add_scatter(
            x=run.kernel,
            y=run.ratio,
            mode="markers",
            marker={"color": colour, "size": 7, "symbol": SYMBOLS[number]},
            name=f"sampled, n = {run.width}",
            row=1,
            col=1,
        )
    for number, run in enumerate((relu, tanh, off)):
        look = {"color": PALETTE[3 + number], "size": 7, "symbol": SYMBOLS[3 + number]}
        line = {"color": PALETTE[3 + number], "width": 1.5}
        after = run.hidden >= run.origin
        panels = (
            (1, 2, run.hidden, run.ratio * run.width, run.ratio_stderr * run.width, run.predicted * run.width),
            (2, 1, run.hidden[after], run.memory[after], run.memory_stderr[after], run.memory_predicted[after]),
        )
        for row, column, x, y, error, theory in panels:
            seen = y > 2.0 * error  # what is lost in noise has no logarithm
            figure.add_scatter(x=x, y=theory, mode="lines", line=line, showlegend=False, row=row, col=column)
            figure.add_scatter(
                x=x[seen],
                y=y[seen],
                mode="markers",
                marker=look,
                error_y={"type": "data", "array": Z95 * error[seen], "thickness": 1},
                name=run.name,
                showlegend=row == 1,
                row=row,
                col=column,
            )
    measured = [row for row in couplings if row["measured"] is not None]
    for number, activation in enumerate(("tanh", "relu")):
        chosen = [row for row in measured if row["activation"] == activation]
        figure.add_scatter(
            x=[row["over_octave"] for row in chosen],
            y=[row["measured"] for row in chosen],
            text=[f"{row['coupling']}" for row in chosen],
            textposition="top left" if number else "bottom right",
            mode="markers+text",
            marker={"color": PALETTE[4 - number], "size": 9, "symbol": SYMBOLS[4 - number]},
            error_y={"type": "data", "array": [Z95 * row["stderr"] for row in chosen], "thickness": 1},
            name=f"digits, {activation}",
            showlegend=False,
            row=2,
            col=2,
        )
    ends = [min(row["over_octave"] for row in measured) - 0.5, 1.6]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"width": 1, "color": _GREY}, showlegend=False, row=2, col=2)
    figure.update_layout(template=template(), height=820, autosize=True, margin_t=40, legend_y=-0.09)
    figure.update_xaxes(type="log", title_text="K", row=1, col=1)
    figure.update_yaxes(type="log", title_text="V/(n K²)", row=1, col=1)
    figure.update_xaxes(type="log", title_text="hidden layers l − 1", row=1, col=2)
    figure.update_yaxes(type="log", row=1, col=2)
    figure.update_xaxes(type="log", title_text="hidden layers l − 1", row=2, col=1)
    figure.update_yaxes(type="log", range=[-2.0, 0.15], row=2, col=1)
    figure.update_xaxes(title_text="predicted", range=[ends[0] - 0.4, ends[1]], row=2, col=2)
    return figure.update_yaxes(title_text="sampled", row=2, col=2)


def _arrows(figure: Any, width: int) -> None:
    """Unit arrows along one layer's step from a grid of points, in the plane of logarithms."""
    from repflow.criticality import flow_diagram

    K, r = np.geomspace(0.008, 1.4, 10), np.geomspace(1.2e-3, 0.6, 9)
    step = flow_diagram("tanh", 1.0, 0.0, width, K, r)
    across = np.broadcast_to(np.log(step.next_kernel / K)[:, None], step.next_ratio.shape)
    up = np.log(step.next_ratio / r)
    size = np.hypot(across / np.ptp(np.log(K)), up / np.ptp(np.log(r)))
    scale = 0.055 / size
    x, y, sizes = [], [], []
    for i in range(len(K)):
        for j in range(len(r)):
            x += [K[i], K[i] * float(np.exp(across[i, j] * scale[i, j])), None]
            y += [r[j], r[j] * float(np.exp(up[i, j] * scale[i, j])), None]
            sizes += [0, 7, 0]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": _GREY, "width": 1},
        marker={"symbol": "arrow", "angleref": "previous", "size": sizes, "color": _GREY},
        opacity=0.6,
        hoverinfo="skip",
        showlegend=False,
        row=1,
        col=1,
    )
