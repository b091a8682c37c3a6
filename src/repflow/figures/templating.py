"""One design for all pages: the base template, its parts, and the environment that every page is rendered in.

A room above adds templates of its own that extend ``base.html.j2``; the look is here, once. A page holds its styles,
its scripts and its data, so that it opens without a network connection.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from repflow.figures.theme import theme_css, theme_script

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

#: Marks that go with the tones of a verdict, so that none is told by colour alone.
MARKS = {"good": "✓", "note": "!", "bad": "✕"}

_SUBSCRIPT = re.compile(r"\b([rCNn])_([LWbD])\b")
_CODE = re.compile(r"``(.+?)``")


def symbols(text: str) -> Markup:
    """Escaped text with the subscripts of its symbols set as such: ``r_L`` and its like."""
    from markupsafe import Markup, escape

    return Markup(_SUBSCRIPT.sub(r"\1<sub>\2</sub>", str(escape(text))))


def prose(text: str) -> Markup:
    """Escaped text of a docstring, its code set as such."""
    from markupsafe import Markup, escape

    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


@cache
def page_environment(package: str | None = None) -> Environment:
    """Templates of a package beside those that all pages share.

    Parameters
    ----------
    package
        A package with a directory ``templates``; without one, the shared templates alone.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

    packages = ["repflow.figures"] if package is None else [package, "repflow.figures"]
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in packages]),
        autoescape=select_autoescape(["html", "j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["symbols"] = symbols
    environment.filters["prose"] = prose
    return environment


def render_page(environment: Environment, template: str, *, plots: bool = True, **context: Any) -> str:
    """A whole page from a template that extends ``base.html.j2``.

    Parameters
    ----------
    environment
        From :func:`page_environment`.
    template
        Its name.
    plots
        Whether there are figures to draw: plotly.js is in the page then.
    **context
        What the template asks for.
    """
    from repflow.figures.page import plotly_js

    return environment.get_template(template).render(
        **context,
        theme_css=theme_css(),
        theme_script=theme_script() if plots else "",
        plotly_js=plotly_js() if plots else "",
        marks=MARKS,
    )
