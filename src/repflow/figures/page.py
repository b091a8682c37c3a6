"""From figures to HTML that needs nothing else: fragments, the plotting library to inline, and a whole page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Pixels above the plot in which Plotly's row of buttons and a line of text below it fit.
_BUTTONS = 64
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@cache
def plotly_js() -> str:
    """plotly.js to inline in a page: its cartesian bundle, which draws scatter, bar, heat map, contour, histogram."""
    return resources.files("repflow.figures").joinpath("vendor", "plotly-cartesian.min.js").read_text(encoding="utf-8")


def figure_config(name: str) -> dict[str, Any]:
    """Plotly's configuration: the camera button saves SVG under ``name``, and nothing offers to upload the figure."""
    return {
        "displaylogo": False,
        "responsive": True,
        "showSendToCloud": False,
        "toImageButtonOptions": {"format": "svg", "filename": name},
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    }


def figure_html(figure: Figure, div_id: str, label: str | None = None) -> str:
    """One figure as an HTML fragment, without plotly.js.

    Parameters
    ----------
    figure
        Its traces must be of kinds that the inlined bundle draws.
    div_id
        Id of the element, and name of the SVG file that a reader saves: a letter, then letters, digits, "_" and "-".
    label
        What the figure shows, for readers who cannot see it.
    """
    import plotly.io

    if not _ID.fullmatch(div_id):
        raise ValueError(f"div_id must be a letter, then letters, digits, '_' and '-', got {div_id!r}")
    drawn = _below_buttons(figure)
    body = plotly.io.to_html(
        drawn,
        config=figure_config(div_id),
        include_plotlyjs=False,
        include_mathjax=False,
        full_html=False,
        div_id=div_id,
        default_height=f"{drawn.layout.height or 380}px",
    )
    spoken = "" if label is None else f' aria-label="{escape(label, quote=True)}"'
    return f'<div class="rf-figure" role="figure"{spoken}>{body}</div>'


def _below_buttons(figure: Figure) -> Figure:
    """The figure, with room for the buttons above the titles of its panels, if it has such."""
    titled = any(note.yref == "paper" and (note.y or 0) >= 1 for note in figure.layout.annotations)
    top = figure.layout.margin.t or figure.layout.template.layout.margin.t or 0
    if not titled or top >= _BUTTONS:
        return figure
    moved = type(figure)(figure)
    height = figure.layout.height
    moved.update_layout(margin_t=_BUTTONS, height=None if height is None else height + _BUTTONS - top)
    return moved


def figure_page(figures: Figure | Mapping[str, Figure], title: str, caption: str = "", table: str = "") -> str:
    """A whole HTML page that opens offline, with plotly.js in it.

    Parameters
    ----------
    figures
        One figure, or several by the ids of their elements.
    title, caption
        Heading and the paragraph under it, plain text.
    table
        HTML to stand below the figures, from :func:`table_html` for instance.
    """
    from repflow.figures.templating import page_environment, render_page

    several = figures if isinstance(figures, Mapping) else {"figure": figures}
    return render_page(
        page_environment(),
        "figure.html.j2",
        title=title,
        caption=caption,
        figures={name: figure_html(figure, name) for name, figure in several.items()},
        table=table,
    )
