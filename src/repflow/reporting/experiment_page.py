"""The page of one experiment: claim, verdict, figure, numbers, the rule, and the data to take away."""

from __future__ import annotations

import csv
import inspect
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repflow.reporting.page import environment

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

#: The tone in which a verdict is set; what did not run has none.
TONES = {"agrees": "good", "disagrees": "bad", "inconclusive": "note"}
# An underscore stands between words, but for those of symbols.
_UNDERSCORE = re.compile(r"\b(C_W|C_b|n_L|r_L|N_D)(?![a-z])|_")
# Rows of the table that the page shows; the file has all.
_SHOWN_ROWS = 12
# Rows of numbers after which the rest is folded away.
_OPEN_ROWS = 16


@dataclass(frozen=True)
class Caption:
    """What a page says of an experiment beside its own result.

    Attributes
    ----------
    title
        Its name as a heading.
    see
        What to see in the figure.
    key
        The numbers that matter most, by label: the keys that lead to each in ``numbers``.
    """

    title: str
    see: str
    key: Mapping[str, tuple[str | int, ...]]

    def numbers(self, result: Mapping[str, Any]) -> dict[str, str]:
        """The key numbers of a result, as text; those that it lacks are left out."""
        found = {label: _follow(result["numbers"], path) for label, path in self.key.items()}
        return {label: value_text(value) for label, value in found.items() if value is not None}


def plain_caption(name: str) -> Caption:
    """The caption of an experiment that has none: its name, and nothing more."""
    return Caption(name.replace("-", " ").capitalize(), "", {})


def experiment_page(result: Mapping[str, Any], table: str, figure: Figure, caption: Caption) -> str:
    """The page of an experiment; it needs nothing but itself.

    Parameters
    ----------
    result
        What ``result.json`` holds.
    table
        The data behind the figure, as CSV with a header.
    figure
        The figure.
    caption
        What to say beside it.
    """
    from repflow.figures import figure_html, render_page, table_html

    rows = list(csv.reader(io.StringIO(table)))
    head, body = rows[0], rows[1:]
    numbers = list(flat(result["numbers"]))
    return render_page(
        environment(),
        "experiment.html.j2",
        result=result,
        caption=caption,
        tone=TONES.get(result["verdict"], "note"),
        key=caption.numbers(result),
        numbers=numbers,
        folded=len(numbers) > _OPEN_ROWS,
        figure=figure_html(figure, "figure", caption.title),
        rule=rule_paragraphs(result["rule"]),
        command=command_of(result),
        table=table_html(head, [[_cell(text) for text in row] for row in body[:_SHOWN_ROWS]]),
        shown=min(len(body), _SHOWN_ROWS),
        rows=len(body),
        csv=table,
        json=json.dumps(result, indent=2) + "\n",
        configuration=dict(flat(result["configuration"])),
    )


def command_of(result: Mapping[str, Any]) -> str:
    """The command line that makes a result again; options at their defaults are left out."""
    parts = ["repflow experiment", result["experiment"]]
    if result["size"] != "default":
        parts.append(f"--size {result['size']}")
    if result["seed"] != 0:
        parts.append(f"--seed {result['seed']}")
    return " ".join([*parts, f"--out {result['experiment']}/"])


def rule_paragraphs(rule: str) -> list[str]:
    """The docstring of an experiment, a paragraph each, without line breaks."""
    return [" ".join(part.split()) for part in inspect.cleandoc(rule).split("\n\n") if part.strip()]


def flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Nested numbers as lines of (name, text); short lists of plain values stay on one line."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from flat(entry, (*path, _UNDERSCORE.sub(lambda found: found[1] or " ", str(key))))
    elif isinstance(value, list) and any(isinstance(entry, Mapping | list) for entry in value):
        for index, entry in enumerate(value, start=1):
            yield from flat(entry, (*path, str(index)))
    else:
        yield " / ".join(path), value_text(value)


def value_text(value: Any) -> str:
    """A number, a list of numbers, or anything else, as short text."""
    if value is None:
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "\u2212") if abs(value) < 10**15 else f"{value:.4g}"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "\u2212")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {value_text(entry)}" for key, entry in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(value_text(entry) for entry in value) + "]"
    return str(value)


def _follow(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _cell(text: str) -> Any:
    """A cell of the CSV as a number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
