"""The figure and the table of the experiment on physics learning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Row = dict[str, Any]


def table(
    curves: Sequence[Row], sparse: Sequence[Row], ising: Sequence[Row], gain: Sequence[Row]
) -> Mapping[str, Sequence[Any]]:
    """One row for each point of the figure: x, y with its standard error, and y expected."""
    rows: list[tuple[Any, ...]] = []
    rows += [("unseen error", r["class"], r["share"], r["error"], r["stderr"], r["expected"]) for r in curves]
    for r in sparse:
        of = f"s = {r['nonzero']}"
        rows.append(("l1 experiments", of, r["candidates"], r["experiments"], r["stderr"], None))
    rows += [("inverse Ising error", "local", r["samples"], r["error"], r["stderr"], r["expected"]) for r in ising]
    rows += [("gain by sharing", "open chain", r["links"], r["ratio"], r["stderr"], r["expected"]) for r in gain]
    names = ("what", "of", "x", "y", "stderr", "expected")
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def figure(
    curves: Sequence[Row], sparse: Sequence[Row], ising: Sequence[Row], gain: Sequence[Row], numbers: Row
) -> Figure:
    """The error on the unseen against experiments over parameters, and the three scalings beside it."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from repflow.figures import PALETTE, new_figure
    from repflow.figures.theme import SYMBOLS

    chart = make_subplots(
        3,
        2,
        specs=[[{"rowspan": 3}, {}], [None, {}], [None, {}]],
        column_widths=[0.58, 0.42],
        horizontal_spacing=0.1,
        vertical_spacing=0.17,
        subplot_titles=[
            "error on configurations not seen / variance",
            f"experiments for l1: a + {numbers['sparse_slope']:.2f} s log M",
            f"inverse Ising, error of a coupling: samples^{numbers['ising_exponent']:.3f}",
            f"gain by sharing one coupling: links^{numbers['gain_exponent']:.2f}",
        ],
    )

    def draw(
        row: int, column: int, points: Sequence[Row], names: Sequence[str], mark: Mapping[str, Any], shown: str = ""
    ) -> None:
        x, y, error, expected = ([point[name] for point in points] for name in names)
        style = {"color": mark["color"], "width": 1.5}
        curve = go.Scatter(x=x, y=expected, mode="lines", line=style, showlegend=False)
        bars = {"type": "data", "array": error, "thickness": 1.5}
        dots = go.Scatter(x=x, y=y, error_y=bars, mode="markers", name=shown, showlegend=bool(shown))
        chart.add_traces([curve, dots.update(marker={"size": 7, **mark})], rows=row, cols=column)

    for k, name in enumerate(dict.fromkeys(row["class"] for row in curves)):
        some = [row for row in curves if row["class"] == name]
        shown = f"{name}: {some[0]['parameters']} couplings"
        draw(1, 1, some, ("share", "error", "stderr", "expected"), {"color": PALETTE[k]}, shown)
    for k, nonzero in enumerate(dict.fromkeys(row["nonzero"] for row in sparse)):
        some = [row for row in sparse if row["nonzero"] == nonzero]
        slope = numbers["sparse_slope"] * nonzero
        middle = sum(row["experiments"] - slope * math.log(row["candidates"]) for row in some) / len(some)
        some = [row | {"line": middle + slope * math.log(row["candidates"])} for row in some]
        mark = {"color": PALETTE[4], "symbol": SYMBOLS[k]}
        draw(1, 2, some, ("candidates", "experiments", "stderr", "line"), mark, f"s = {nonzero} of M couplings")
    draw(2, 2, ising, ("samples", "error", "stderr", "expected"), {"color": PALETTE[1]})
    draw(3, 2, gain, ("links", "ratio", "stderr", "links"), {"color": PALETTE[0]})
    plain = new_figure("", "", None, True, True, 620)
    chart.update_layout(
        template=plain.layout.template, height=620, legend=plain.layout.legend, legend_y=-0.14, margin_t=56
    )
    chart.update_annotations(font_size=13)
    chart.update_xaxes(title="independent experiments / parameters", range=[-0.03, 2.05], row=1, col=1)
    chart.update_yaxes(range=[-0.03, 1.25], row=1, col=1)
    small = {"size": 11}
    for row, title in ((1, "candidates M"), (2, "samples"), (3, "links")):
        chart.update_xaxes(title={"text": title, "standoff": 2, "font": small}, tickfont=small, row=row, col=2)
        chart.update_yaxes(tickfont=small, row=row, col=2)
    ticks = {"type": "log", "tickmode": "array"}
    candidates = sorted({row["candidates"] for row in sparse})
    chart.update_xaxes(**ticks, tickvals=candidates, row=1, col=2)
    samples = [row["samples"] for row in ising]
    chart.update_xaxes(**ticks, tickvals=samples, ticktext=[f"{n:,}" for n in samples], row=2, col=2)
    chart.update_yaxes(**ticks, tickvals=[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1], row=2, col=2)
    links = [row["links"] for row in gain]
    chart.update_xaxes(**ticks, tickvals=links, row=3, col=2)
    return chart.update_yaxes(**ticks, tickvals=[4, 8, 16, 32, 64, 128], row=3, col=2)
