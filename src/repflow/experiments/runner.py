"""The one runner of all experiments: time it, then write ``result.json`` beside its page, figure and table.

A page can be drawn again from the other files, without a run: see :func:`draw_page`.
"""

from __future__ import annotations

import csv
import inspect
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repflow import __version__
from repflow.experiments.gallery_captions import caption_of
from repflow.experiments.registry import SIZES, Outcome, Size, Tell, find_experiment
from repflow.reporting.output import check_directory, finite
from repflow.results import atomic_write_text

#: Where the result is, and the files beside it, as ``result.json`` names them.
RESULT = "result.json"
FILES = {"figure": "figure.html", "table": "table.csv", "data": "figure.json"}


def _silent(message: str, share: float) -> None:
    """Say nothing."""


def run_experiment(
    name: str, out: str | Path, size: Size = "default", seed: int = 0, tell: Tell = _silent
) -> dict[str, Any]:
    """Run one claim end to end and write what it found.

    Parameters
    ----------
    name
        One of :func:`repflow.experiments.experiments`.
    out
        Directory, made where it is missing. An earlier result is removed, ``table.csv``, ``figure.json`` (Plotly's own
        form) and ``figure.html`` are written, and ``result.json`` last, each in one step: where there is a result, all
        of it is there, and of one run.
    size
        ``"small"`` (seconds), ``"default"`` (below two minutes) or ``"large"``.
    seed
        Seed of everything random.
    tell
        Told what is going on.

    Returns
    -------
    dict
        What ``result.json`` holds: ``experiment``, ``claim``, ``rule``, ``verdict``, ``numbers``, ``configuration``,
        ``size``, ``seed``, ``seconds``, ``version``, ``files``. Numbers that are not finite are null.

    Raises
    ------
    ValueError
        The experiment or the size is unknown, or the seed is negative.
    OSError
        ``out`` cannot be written; checked before any work.
    """
    found = find_experiment(name)
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number of 0 or more, got {seed!r}")
    directory = Path(out)
    check_directory(directory)
    start = time.perf_counter()
    outcome = found.run(size, seed, tell)
    seconds = time.perf_counter() - start
    result = finite(
        {
            "experiment": found.name,
            "claim": found.claim,
            "verdict": outcome.verdict,
            "numbers": outcome.numbers,
            "rule": inspect.cleandoc(found.rule),
            "configuration": outcome.configuration,
            "size": size,
            "seed": seed,
            "seconds": round(seconds, 3),
            "version": __version__,
            "files": dict(FILES),
        }
    )
    _write(directory, result, outcome)
    return result


def _write(directory: Path, result: Mapping[str, Any], outcome: Outcome) -> None:
    from repflow.reporting.experiment_page import experiment_page

    table = as_csv(outcome.table)
    page = experiment_page(result, table, outcome.figure, caption_of(result["experiment"]))
    (directory / RESULT).unlink(missing_ok=True)
    atomic_write_text(directory / FILES["table"], table)
    atomic_write_text(directory / FILES["data"], str(outcome.figure.to_json()))
    atomic_write_text(directory / FILES["figure"], page)
    atomic_write_text(directory / RESULT, json.dumps(result, indent=2, allow_nan=False) + "\n")


def draw_page(directory: str | Path) -> None:
    """Write ``figure.html`` again, from ``result.json``, ``table.csv`` and ``figure.json`` beside it."""
    from plotly.io import from_json

    from repflow.reporting.experiment_page import experiment_page

    place = Path(directory)
    result = json.loads((place / RESULT).read_text(encoding="utf-8"))
    table = (place / FILES["table"]).read_text(encoding="utf-8")
    figure = from_json((place / FILES["data"]).read_text(encoding="utf-8"))
    page = experiment_page(result, table, figure, caption_of(result["experiment"]))
    atomic_write_text(place / FILES["figure"], page)


def as_csv(table: Mapping[str, Sequence[Any]]) -> str:
    """Columns of equal length as CSV text with a header; floats with all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()
