"""What commands print: JSON on stdout and nothing else, or tables; and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repflow.experiments.registry import Tell


#: Least width of a column of words; numbers are never folded.
MIN_TEXT = 8


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object; numbers that are not finite are null."""
    from repflow.reporting.output import finite

    print(json.dumps(finite(value), indent=2, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A title and a table on stdout: numbers to the right and whole, wider than the terminal where they must be."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[_cell(entry) for entry in row] for row in rows]
    numeric = [bool(rows) and all(isinstance(row[index], int | float) for row in rows) for index in range(len(columns))]
    console = Console()
    widths = [_width(column, [row[index] for row in cells], fold=False) for index, column in enumerate(columns)]
    if _total(widths) > console.width:
        widths = [
            _width(column, [row[index] for row in cells], fold=True) if numeric[index] else MIN_TEXT
            for index, column in enumerate(columns)
        ]
    # Wider than the terminal where numbers would not be whole otherwise.
    console.width = max(console.width, _total(widths))
    table = Table()
    for column, width, number in zip(columns, widths, numeric):
        table.add_column(
            Text(column), justify="right" if number else "left", overflow="fold", width=width if number else None
        )
    for row in cells:
        table.add_row(*map(Text, row))
    print(title)
    console.print(table)


def _total(widths: Sequence[int]) -> int:
    """Width of a table: each column has padding left and right, and a border; and there is the first border."""
    return sum(widths) + 3 * len(widths) + 1


def _width(column: str, cells: Sequence[str], fold: bool) -> int:
    """Width that a column needs, its head folded between words or not."""
    head = max(map(len, column.split()), default=1) if fold else len(column)
    return max([head, *map(len, cells)])


def _cell(entry: Any) -> str:
    return f"{entry:.5g}" if isinstance(entry, float) else str(entry)


def say(text: str = "") -> None:
    """A line on stdout, without markup."""
    print(text)


def be_printable() -> None:
    """Let a character that the encoding of a stream lacks, as in a pipe of Windows, become a question mark."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


@contextmanager
def telling(progress: bool | None) -> Iterator[Tell]:
    """A function that shows a message and the share done, as one bar on stderr, or nothing."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda message, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=1.0)
        yield lambda message, share: bar.update(task, description=message, completed=share)
