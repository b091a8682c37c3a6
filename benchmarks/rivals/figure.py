"""Loss against rate, one panel a method, minima marked."""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rivals import METHODS
from rivals.cells import ACTIVATIONS, OPTIMIZERS, Job
from rivals.report import label
from rivals.summary import Results
from training import Setting

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = 5
_BROWSER = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--virtual-time-budget=5000")


def figures(results: Results) -> dict[str, Figure]:
    """One figure an optimiser and activation that has results, by the ids of their elements."""
    found = {}
    for optimizer in OPTIMIZERS:
        for activation in ACTIVATIONS:
            figure = panels(results, activation, Setting(optimizer))
            if figure.data:
                found[f"{optimizer}-{activation}"] = figure
    return found


def panels(results: Results, activation: str, setting: Setting) -> Figure:
    """All cells of the digits with this activation: curves of the first seed; the best rate, with its three seeds."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from repflow.figures.theme import DASHES, PALETTE, template

    cells = [cell for cell in results.cells(setting, "digits") if cell.activation == activation]
    methods = [method for method in METHODS if any(results.optimum(Job(method, c, setting)) is not None for c in cells)]
    rows = max(1, math.ceil(len(methods) / COLUMNS))
    titles = [f"<b>{method}</b>" if method == "ours" else method for method in methods]
    figure = make_subplots(
        rows, COLUMNS, subplot_titles=titles, shared_yaxes="all", horizontal_spacing=0.02, vertical_spacing=0.3 / rows
    )
    named: set[str] = set()
    for index, method in enumerate(methods):
        place = {"row": index // COLUMNS + 1, "col": index % COLUMNS + 1}
        for number, cell in enumerate(cells):
            record = results.store.records.get(Job(method, cell, setting))
            if record is None or record.optimum is None or record.best is None:
                continue
            curve = {octave: loss for octave, loss in record.curve.items() if loss < math.inf}
            line = {"color": PALETTE[number % len(PALETTE)], "dash": DASHES[number // len(PALETTE) % len(DASHES)]}
            name = label(cell)
            figure.add_trace(
                go.Scatter(
                    x=list(curve),
                    y=list(curve.values()),
                    name=name,
                    legendgroup=name,
                    showlegend=name not in named,
                    mode="lines+markers",
                    line={**line, "width": 1.5},
                    marker={"size": 3},
                ),
                **place,
            )
            named.add(name)
            if record.best < math.inf:
                figure.add_trace(
                    go.Scatter(
                        x=[record.optimum],
                        y=[record.best],
                        name=f"{name}, best of {method}",
                        legendgroup=name,
                        showlegend=False,
                        mode="markers",
                        marker={"size": 10, "symbol": "diamond", "color": line["color"]},
                    ),
                    **place,
                )
        if method == "ours":
            figure.add_vline(x=0.0, line={"width": 1, "dash": "dot", "color": "#808890"}, **place)
    figure.update_layout(template=template(), height=110 + 280 * rows, autosize=True, margin={"t": 60, "b": 90})
    figure.update_layout(legend={"y": -0.3 / rows})
    figure.update_xaxes(title_text=None)
    figure.update_yaxes(type="log", exponentformat="power")
    for row in range(1, rows + 1):
        figure.update_yaxes(title_text="loss", row=row, col=1)
    for column in range(1, COLUMNS + 1):
        figure.update_xaxes(title_text="log2 of the rate", row=rows, col=column)
    return figure


def picture(figure: Figure, title: str, path: Path) -> bool:
    """A PNG of the figure by a headless Chromium; False where there is none."""
    from repflow.figures import figure_page

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(figure_page(figure, title), encoding="utf-8")
        size = f"--window-size=1200,{int(figure.layout.height) + 110}"
        shot = [browser, *_BROWSER, size, f"--screenshot={path.resolve()}", page.as_uri()]
        subprocess.run(shot, check=True, capture_output=True, timeout=120)
    return True
