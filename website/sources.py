"""Pages of the source files that the documentation links to, so that the site needs no repository beside it."""

from __future__ import annotations

import ast
import posixpath
import re
from html import escape
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

from website.links import SOURCES, source_page

LINK = re.compile(r"\]\((?:\.\./)*(?P<path>[^)\s#]+)[^)\s]*\)")

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{path} - repflow</title>
<style>
:root {{ color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --line: #e3e7eb; --link: #0065a0; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #14171c; --ink: #e6e9ed; --line: #2b3139; --link: #56b4e9; }}
}}
body {{ margin: 0 auto; max-width: 68rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
a {{ color: var(--link); }}
h1 {{ font: 600 1.1rem ui-monospace, Menlo, Consolas, monospace; }}
pre {{ font: 13px/1.45 ui-monospace, Menlo, Consolas, monospace; overflow-x: auto; }}
pre a {{ color: inherit; text-decoration: none; }}
.highlight {{ border: 1px solid var(--line); border-radius: 4px; padding: 0 .8rem; }}
td.linenos {{ padding-right: 1rem; opacity: .6; }}
{light}
@media (prefers-color-scheme: dark) {{
{dark}
}}
</style>
</head>
<body>
<p><a href="{home}">repflow: documentation</a></p>
<h1>{path}</h1>
{body}
</body>
</html>
"""


def _formatter(style: str) -> HtmlFormatter:
    return HtmlFormatter(style=style, lineanchors="L", linespans="line", cssclass="highlight")


def _page(place: str, path: str, body: str) -> str:
    home = posixpath.relpath("index.html", posixpath.dirname(place))
    light = _formatter("default").get_style_defs(".highlight")
    dark = _formatter("github-dark").get_style_defs(".highlight")
    return PAGE.format(path=escape(path), home=home, body=body, light=light, dark=dark)


def _summary(file: Path) -> str:
    """The first sentence of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n")[0].replace("\n", " ")


def linked(root: Path) -> list[str]:
    """The source files and folders that pages link to, from the repository's root; a folder comes with its files."""
    pages = [
        *sorted((root / "docs").rglob("*.md")),
        *(root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ]
    found = {
        match["path"].rstrip("/")
        for page in pages
        for match in LINK.finditer(page.read_text(encoding="utf-8"))
        if match["path"].startswith(SOURCES) and (root / match["path"]).exists()
    }
    for folder in [path for path in found if (root / path).is_dir()]:
        found |= {file.relative_to(root).as_posix() for file in (root / folder).glob("*.py")}
    return sorted(found)


def write_sources(root: Path, site: Path) -> int:
    """Write the page of every linked file into the site; returns their number."""
    paths = linked(root)
    for path in paths:
        file, place = root / path, source_page(path)
        if file.is_dir():
            items = "".join(
                f'<li><a href="{escape(inside.name)}.html">{escape(inside.name)}</a>: {escape(_summary(inside))}</li>\n'
                for inside in sorted(file.glob("*.py"))
            )
            body = f"<ul>\n{items}</ul>"
        else:
            try:
                lexer = get_lexer_for_filename(file.name)
            except ClassNotFound:
                lexer = TextLexer()
            body = highlight(file.read_text(encoding="utf-8"), lexer, _formatter("default"))
        target = site / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_page(place, path, body), encoding="utf-8")
    return len(paths)
