"""Figures and tables: arrays in, Plotly figures and HTML out.

Plotly itself is imported when the first figure is made, not with this package.
"""

from repflow.figures.histogram import histogram
from repflow.figures.lines import add_references, lines, z_scores
from repflow.figures.maps import matrix, phase_diagram
from repflow.figures.page import figure_config, figure_html, figure_page, plotly_js
from repflow.figures.tables import TABLE_FORMATS, check_table_format, table_html, table_markdown, table_text
from repflow.figures.templating import MARKS, page_environment, render_page, symbols
from repflow.figures.theme import PALETTE, new_figure, template, theme_css, theme_script

__all__ = [
    "MARKS",
    "PALETTE",
    "TABLE_FORMATS",
    "add_references",
    "check_table_format",
    "figure_config",
    "figure_html",
    "figure_page",
    "histogram",
    "lines",
    "matrix",
    "new_figure",
    "page_environment",
    "phase_diagram",
    "plotly_js",
    "render_page",
    "symbols",
    "table_html",
    "table_markdown",
    "table_text",
    "template",
    "theme_css",
    "theme_script",
    "z_scores",
]
