"""The figure of the experiment on universality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from repflow.experiments.intervals import Z95

if TYPE_CHECKING:
    from repflow.experiments.universality.members import Member
    from repflow.experiments.universality.networks import Ensemble


def universality_figure(members: Sequence[Member], found: Sequence[Ensemble]) -> Any:
    """K and V of all members against depth, what is left of their differences, and networks on the common curve."""
    from plotly.subplots import make_subplots

    from repflow.criticality import double_scaling
    from repflow.figures import PALETTE, template
    from repflow.figures.theme import DASHES, SYMBOLS

    titles = ["kernel: α K l", "fluctuation: V/(⅔ K² l)", "coefficient of log(l)/l", "networks: Var G/K²"]
    figure = make_subplots(2, 2, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=0.16)
    smooth = [m for m in members if m.smooth]
    for number, m in enumerate(smooth):
        look = {"color": PALETTE[number % len(PALETTE)], "width": 1.7, "dash": DASHES[number // len(PALETTE)]}
        some = m.depths >= 3
        for column, values in ((1, m.kernel), (2, m.vertex)):
            figure.add_scatter(
                x=m.depths[some],
                y=values[some],
                mode="lines",
                line=look,
                name=m.name,
                showlegend=column == 1,
                legendgroup=m.name,
                row=1,
                col=column,
            )
        figure.add_scatter(
            x=[1.0 - m.beta],
            y=[m.log_coefficient()],
            mode="markers",
            marker={"color": look["color"], "size": 9, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            name=m.name,
            showlegend=False,
            row=2,
            col=1,
        )
    ends = [min(1.0 - m.beta for m in smooth), max(1.0 - m.beta for m in smooth)]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"width": 1, "color": "#808890"}, showlegend=False, row=2, col=1
    )
    tau = np.geomspace(0.02, max(h / e.width for e in found for h in e.hidden), 30)
    curve = [law.variance for law in double_scaling(tau)]
    figure.add_scatter(
        x=tau, y=curve, mode="lines", line={"width": 1.5, "color": "#808890"}, name="n → ∞ at fixed L/n", row=2, col=2
    )
    names = [m.name for m in smooth]
    widths = sorted({e.width for e in found})
    for e in found:
        number = names.index(e.name)
        figure.add_scatter(
            x=[h / e.width for h in e.hidden],
            y=e.value,
            mode="markers",
            marker={"color": PALETTE[number % len(PALETTE)], "size": 7, "symbol": SYMBOLS[widths.index(e.width)]},
            error_y={"type": "data", "array": Z95 * e.stderr, "thickness": 1},
            name=f"{e.name}, n = {e.width}",
            showlegend=False,
            row=2,
            col=2,
        )
    figure.update_layout(template=template(), height=760, autosize=True, margin_t=40, legend_y=-0.1)
    figure.update_xaxes(type="log", title_text="layer l", row=1)
    figure.update_xaxes(title_text="1 − β, from Taylor coefficients", row=2, col=1)
    figure.update_yaxes(title_text="fitted", row=2, col=1)
    figure.update_xaxes(type="log", title_text="L/n", row=2, col=2)
    return figure.update_yaxes(type="log", row=2, col=2)
