"""The figure of the experiment parameter-sharing: couplings of three kinds on one chart, and test errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from repflow.experiments.parameter_sharing.couplings import chart_curves

#: Most couplings that the chart shows.
TOP = 1e13
_GREY = "#808890"
_DASH = {"spins": "solid", "outputs": "dash", "weights": "dot"}
_TITLE = {
    "spins": "couplings of spins",
    "outputs": "of a network's outputs",
    "weights": "networks: weights (dotted), test error",
    "controls": "controls",
}
#: Mean, low and high end.
Interval = tuple[float, float, float]


def sharing_figure(
    errors: Mapping[str, Sequence[tuple[int, Interval, Interval]]],
    controls: Mapping[str, tuple[int, Interval]],
    couplings: Sequence[Mapping[str, Any]],
    channels: int,
    canvas: int,
    outputs: int,
) -> Any:
    """Left the chart of couplings, right the test errors.

    Parameters
    ----------
    errors
        By network: training images, and mean, low and high end of the error at seen and at unseen positions.
    controls
        By network: training images and the error at seen positions.
    couplings
        Numbers counted in the arrays of the flow: ``what``, ``inputs``, ``counted``.
    channels, canvas, outputs
        Of the networks: channels of each hidden layer, pixels of the canvas, classes.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from repflow.figures import PALETTE, template
    from repflow.figures.theme import SYMBOLS

    figure = make_subplots(
        1,
        2,
        subplot_titles=["how many numbers a theory takes", "shifted digits: test error, 95% intervals"],
        horizontal_spacing=0.1,
    )
    left: dict[str, Any] = {"row": 1, "col": 1}
    right: dict[str, Any] = {"row": 1, "col": 2}
    groups = {kind: {"legendgroup": kind, "legendgrouptitle": {"text": title}} for kind, title in _TITLE.items()}
    # A network has one colour in both panels, and its line in the legend is that of the right one.
    colour = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(errors)}
    numbers: dict[str, int] = {}
    for curve in chart_curves(channels, outputs):
        number = numbers.get(curve.kind, 0)
        numbers[curve.kind] = number + 1
        shown = [(x, y) for x, y in zip(curve.size, curve.count) if y <= TOP]
        figure.add_trace(
            go.Scatter(
                x=[x for x, _ in shown],
                y=[y for _, y in shown],
                name=curve.name,
                mode="lines",
                line={
                    "width": 2,
                    "dash": _DASH[curve.kind],
                    "color": colour.get(curve.name, PALETTE[number % len(PALETTE)]),
                },
                showlegend=curve.name not in colour,
                **groups[curve.kind],
            ),
            **left,
        )
    # As the curves: those of order 1 are the kernel's and the vertex's.
    counted = {(row["what"], row["inputs"]): row["counted"] for row in couplings}
    inputs = sorted({N for _, N in counted})
    figure.add_trace(
        go.Scatter(
            x=[*inputs, *inputs],
            y=[counted["kernel", N] for N in inputs] + [counted["kernel", N] + counted["vertex", N] for N in inputs],
            name="counted in rf.flow",
            mode="markers",
            marker={"size": 7, "color": _GREY, "symbol": "x"},
            **groups["outputs"],
        ),
        **left,
    )
    for number, (name, rows) in enumerate(errors.items()):
        parts = ([seen for _, seen, _ in rows], "solid"), ([unseen for _, _, unseen in rows], "dash")
        for values, dash in parts:
            figure.add_trace(
                go.Scatter(
                    x=[count for count, _, _ in rows],
                    y=[mean for mean, _, _ in values],
                    error_y=_bars(values),
                    name=name,
                    mode="lines+markers",
                    line={"width": 2, "dash": dash, "color": colour[name]},
                    marker={"size": 7, "symbol": SYMBOLS[number % len(SYMBOLS)]},
                    showlegend=dash == "solid",
                    **groups["weights"],
                ),
                **right,
            )
    line = {"width": 2, "dash": "dash", "color": _GREY}
    figure.add_trace(
        go.Scatter(x=[None], y=[None], name="at positions not seen", mode="lines", line=line, **groups["weights"]),
        **right,
    )
    for number, (name, (count, error)) in enumerate(controls.items(), start=len(errors)):
        figure.add_trace(
            go.Scatter(
                x=[count],
                y=[error[0]],
                error_y=_bars([error]),
                name=name,
                mode="markers",
                marker={"size": 9, "color": PALETTE[number % len(PALETTE)], "symbol": SYMBOLS[number % len(SYMBOLS)]},
                **groups["controls"],
            ),
            **right,
        )
    figure.add_vline(x=canvas, line={"width": 1, "dash": "dot", "color": _GREY}, **left)
    figure.update_layout(template=template(), height=660, autosize=True, margin={"t": 40})
    figure.update_xaxes(type="log", title="spins, inputs, or pixels", **left)
    figure.update_yaxes(type="log", title="couplings", range=[-0.3, math.log10(TOP)], **left)
    ticks = sorted({row[0] for rows in errors.values() for row in rows})
    figure.update_xaxes(type="log", title="training images", tickvals=ticks, **right)
    return figure.update_yaxes(title="test error", range=[0.0, 1.0], **right)


def _bars(values: Sequence[Interval]) -> dict[str, Any]:
    """Error bars from mean, low and high end."""
    return {
        "type": "data",
        "array": [high - mean for mean, _, high in values],
        "arrayminus": [mean - low for mean, low, _ in values],
        "thickness": 1.5,
    }
