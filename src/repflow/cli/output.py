"""What commands print: JSON on stdout and nothing else, or tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repflow.experiments.registry import Tell


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object; numbers that are not finite are null."""
    from repflow.reporting.output import finite

    print(json.dumps(finite(value), indent=2, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A title and a table on stdout; numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(entry) for entry in row))
    print(title)
    Console().print(table)


def _cell(entry: Any) -> str:
    if isinstance(entry, float):
        return f"{entry:.5g}"
    return str(entry)


def say(text: str = "") -> None:
    """A line on stdout, without markup."""
    print(text)


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
