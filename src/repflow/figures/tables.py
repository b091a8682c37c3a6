"""Plain tables as HTML, as text, and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from numbers import Integral, Real
from typing import Any


def table_html(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str | None = None, digits: int = 4
) -> str:
    """An HTML table that scrolls sideways where it is wider than the page; its look is in ``theme_css()``.

    Parameters
    ----------
    columns
        Headings.
    rows
        Cells, as many in each row as there are columns: numbers are right-aligned and shown with ``digits`` significant
        digits, ``None`` is a dash, anything else is shown as its text, escaped.
    caption
        Text above the table.

    Raises
    ------
    ValueError
        A row has another number of cells than there are columns.
    """
    body = []
    numeric = [True] * len(columns)
    for number, row in enumerate(rows):
        cells = list(row)
        if len(cells) != len(columns):
            raise ValueError(f"rows[{number}] has {len(cells)} cells, there are {len(columns)} columns")
        numeric = [so_far and (cell is None or _is_number(cell)) for so_far, cell in zip(numeric, cells, strict=True)]
        body.append(cells)
    numeric = [so_far and bool(body) for so_far in numeric]

    def cell(tag: str, text: str, index: int, scope: str = "") -> str:
        right = ' class="rf-number"' if numeric[index] else ""
        return f"<{tag}{scope}{right}>{text}</{tag}>"

    head = "".join(cell("th", escape(name), index, ' scope="col"') for index, name in enumerate(columns))
    lines = [
        "<tr>" + "".join(cell("td", _shown(value, digits), index) for index, value in enumerate(row)) + "</tr>"
        for row in body
    ]
    title = "" if caption is None else f"<caption>{escape(caption)}</caption>"
    return (
        f'<div class="rf-scroll"><table class="rf-table">{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


#: Forms that a result's ``table(format)`` takes; ``"dict"`` is its plain data.
TABLE_FORMATS = ("text", "markdown", "html", "dict")


def check_table_format(kind: str) -> None:
    """Raise ValueError unless it is one of TABLE_FORMATS."""
    if kind not in TABLE_FORMATS:
        raise ValueError(f"format must be one of {', '.join(TABLE_FORMATS)}, got {kind!r}")


def table_text(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of text with columns of one width, headings first."""
    lines = [columns, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def table_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the cells are not escaped."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [columns, ("---",) * len(columns), *rows])


def _is_number(value: Any) -> bool:
    # isinstance of Real takes NumPy's scalars too.
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: Any, digits: int) -> str:
    if value is None:
        return "\u2013"
    if not _is_number(value):
        return escape(str(value))
    if isinstance(value, Integral):
        return str(int(value)).replace("-", "\u2212")
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "\u221e" if number > 0 else "\u2212\u221e"
    return f"{number:.{digits}g}".replace("-", "\u2212")
