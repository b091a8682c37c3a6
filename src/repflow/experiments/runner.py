"""The one runner of all experiments: time it, then write ``result.json``, ``figure.html`` and ``table.csv``."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repflow import __version__
from repflow.experiments.registry import SIZES, Outcome, Size, Tell, find_experiment
from repflow.reporting.output import check_directory, finite
from repflow.results import atomic_write_text


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
        Directory, made where it is missing. ``figure.html`` and ``table.csv`` are written first and ``result.json``
        last, each in one step: where there is a result, it is whole.
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
            "rule": found.rule,
            "configuration": outcome.configuration,
            "size": size,
            "seed": seed,
            "seconds": round(seconds, 3),
            "version": __version__,
            "files": {"figure": "figure.html", "table": "table.csv"},
        }
    )
    _write(directory, result, outcome)
    return result


def _write(directory: Path, result: Mapping[str, Any], outcome: Outcome) -> None:
    from repflow.figures import figure_page

    page = figure_page(outcome.figure, title=f"{result['experiment']}: {result['verdict']}", caption=result["claim"])
    atomic_write_text(directory / "figure.html", page)
    atomic_write_text(directory / "table.csv", as_csv(outcome.table))
    atomic_write_text(directory / "result.json", json.dumps(result, indent=2, allow_nan=False) + "\n")


def as_csv(table: Mapping[str, Sequence[Any]]) -> str:
    """Columns of equal length as CSV text with a header; floats with all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()
