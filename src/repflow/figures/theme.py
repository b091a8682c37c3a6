"""The look of every figure: colours that the colour-blind can tell apart, in light and in dark.

Figures are drawn with transparent ground. The page's CSS variables hold the colours of ink and grid for light and dark,
and one script (:func:`theme_script`) gives them to every plot when it appears and when the reader's preference changes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from plotly.graph_objects.layout import Template

# Okabe and Ito's palette for colour-blind readers. Its black and yellow vanish on one of the grounds; sky blue and
# orange are too faint on white for a line, so they come last and fill areas.
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")

SEQUENTIAL = "Cividis"
# Through a light grey, so that the middle shows on both grounds.
DIVERGING = ((0.0, BLUE), (0.5, "#E8E8E8"), (1.0, VERMILLION))

LIGHT = {"paper": "#FFFFFF", "ink": "#1B1F24", "muted": "#5B6470", "grid": "#E3E7EB", "line": "#AEB6BF"}
DARK = {"paper": "#14171C", "ink": "#E6E9ED", "muted": "#9AA4AF", "grid": "#2B3139", "line": "#59636F"}

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@cache
def template() -> Template:
    """The Plotly template of repflow's figures, in the light colours until a page's script says otherwise."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": LIGHT["grid"],
        "zerolinecolor": LIGHT["line"],
        "linecolor": LIGHT["line"],
        "tickcolor": LIGHT["line"],
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 10},
        "exponentformat": "power",
    }
    return go.layout.Template(
        layout={
            "colorway": list(PALETTE),
            "font": {"family": FONT, "size": 13, "color": LIGHT["ink"]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": axis,
            "yaxis": axis,
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                # Under the axis title: however many rows it needs on a phone, it pushes the margin and nothing else.
                "y": -0.21,
                "yanchor": "top",
                "bgcolor": "rgba(0,0,0,0)",
            },
            "title": {"x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 15}},
            "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
            "hovermode": "closest",
            "hoverlabel": {"align": "left"},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": LIGHT["muted"], "activecolor": LIGHT["ink"]},
            "bargap": 0,
        }
    )


def new_figure(
    x_title: str, y_title: str, title: str | None = None, log_x: bool = False, log_y: bool = False, height: int = 380
) -> Figure:
    """An empty figure in repflow's look, as wide as its container."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(template=template(), height=height, autosize=True)
    if title is not None:
        figure.update_layout(title_text=title, margin_t=54)
    figure.update_xaxes(title_text=x_title, type="log" if log_x else "linear")
    figure.update_yaxes(title_text=y_title, type="log" if log_y else "linear")
    return figure


def theme_css() -> str:
    """CSS of the colours as variables ``--rf-paper`` and so on, light and dark, and of figures and tables."""

    def variables(colours: dict[str, str]) -> str:
        return "".join(f"--rf-{name}:{value};" for name, value in colours.items())

    return f"""\
:root{{color-scheme:light dark;{variables(LIGHT)}}}
@media (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}
.rf-figure{{position:relative;width:100%;min-width:0;margin:0}}
.rf-scroll{{overflow-x:auto;max-width:100%}}
.rf-table{{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem;color:var(--rf-ink)}}
.rf-table caption{{text-align:left;color:var(--rf-muted);padding-bottom:.4rem}}
.rf-table th,.rf-table td{{padding:.3rem .8rem;border-bottom:1px solid var(--rf-grid);text-align:left}}
.rf-table thead th{{border-bottom:1px solid var(--rf-line);font-weight:600}}
.rf-table .rf-number{{text-align:right;white-space:nowrap}}
"""


def theme_script() -> str:
    """JavaScript for the end of a page: gives every plot the page's colours, now and when they change."""
    return """\
(function () {
  "use strict";
  function recolour(plot) {
    var style = getComputedStyle(document.documentElement);
    function colour(name) { return style.getPropertyValue("--rf-" + name).trim(); }
    var update = {
      "paper_bgcolor": colour("paper"),
      "plot_bgcolor": colour("paper"),
      "font.color": colour("ink"),
      "modebar.bgcolor": "rgba(0,0,0,0)",
      "modebar.color": colour("muted"),
      "modebar.activecolor": colour("ink")
    };
    Object.keys(plot._fullLayout || {}).forEach(function (key) {
      if (!/^[xy]axis[0-9]*$/.test(key)) { return; }
      update[key + ".gridcolor"] = colour("grid");
      update[key + ".zerolinecolor"] = colour("line");
      update[key + ".linecolor"] = colour("line");
      update[key + ".tickcolor"] = colour("line");
    });
    return Plotly.relayout(plot, update);
  }
  function all() { document.querySelectorAll(".rf-figure .js-plotly-plot").forEach(recolour); }
  all();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
})();
"""
