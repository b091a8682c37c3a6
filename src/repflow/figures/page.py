"""From figures to HTML that needs nothing else: fragments, the plotting library to inline, and a whole page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from repflow.figures.theme import FONT, theme_css, theme_script

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

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
    body = plotly.io.to_html(
        figure,
        config=figure_config(div_id),
        include_plotlyjs=False,
        include_mathjax=False,
        full_html=False,
        div_id=div_id,
        default_height=f"{figure.layout.height or 380}px",
    )
    spoken = "" if label is None else f' aria-label="{escape(label, quote=True)}"'
    return f'<div class="rf-figure" role="figure"{spoken}>{body}</div>'


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
    several = figures if isinstance(figures, Mapping) else {"figure": figures}
    fragments = "\n".join(figure_html(figure, name) for name, figure in several.items())
    paragraph = f"<p>{escape(caption)}</p>" if caption else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{theme_css()}body{{margin:0 auto;max-width:1100px;padding:1.5rem 1rem;font-family:{FONT}}}
body{{background:var(--rf-paper);color:var(--rf-ink)}}
h1{{font-size:1.4rem}}
p{{color:var(--rf-muted);line-height:1.5}}
</style>
<script>{plotly_js()}</script>
</head>
<body>
<h1>{escape(title)}</h1>
{paragraph}
{fragments}
{table}
<script>
{theme_script()}</script>
</body>
</html>
"""
