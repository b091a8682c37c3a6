"""A gallery as a page of the documentation, with its pictures and tables beside it.

``python -m repflow.experiments.gallery_docs GALLERY DOCS`` writes ``DOCS/gallery.md`` and the files in
``DOCS/gallery/`` from what ``repflow experiment run-all --out GALLERY`` has written; nothing is run.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repflow.experiments.gallery_captions import page_of
from repflow.figures import MARKS
from repflow.reporting.experiment_page import TONES
from repflow.results import atomic_write_text

_INTRODUCTION = """\
# Gallery

Every claim of the experiments, with its verdict, its figure and the command that makes it again. A verdict follows from
numbers by a rule that is stated beforehand: `repflow experiment list --json` prints all rules, and the page of each
result has its own. The tables are the data behind the figures, to six digits.

```sh
repflow experiment run-all --out gallery/
```

runs all of them and writes `gallery/index.html`, a page with the figures to zoom in; a second run keeps what is whole.
This page is made of its output, {settings}, by

```sh
python -m repflow.experiments.gallery_docs gallery/ docs/
```
"""


def write_docs(gallery: str | Path, docs: str | Path) -> Path:
    """Write the page and its files.

    Parameters
    ----------
    gallery
        A directory that ``repflow experiment run-all`` has written.
    docs
        Directory of ``gallery.md``.

    Returns
    -------
    Path
        Where the page is.

    Raises
    ------
    ValueError
        An experiment of the gallery has not run, or has no image.
    OSError
        Something cannot be read or written.
    """
    source, target = Path(gallery), Path(docs)
    found = json.loads((source / "gallery.json").read_text(encoding="utf-8"))
    for entry in found["experiments"]:
        if entry["verdict"] is None:
            raise ValueError(f"gallery: {entry['name']} has not run: {entry['reason']}")
        if entry["files"]["image"] is None:
            raise ValueError(f"gallery: {entry['name']} has no image: {' '.join(found['notes'])}")
    files = target / "gallery"
    files.mkdir(parents=True, exist_ok=True)
    for entry in found["experiments"]:
        for key, suffix in (("image", "png"), ("result", "json")):
            _copy(source / entry["files"][key], files / f"{entry['name']}.{suffix}")
        table = (source / entry["files"]["table"]).read_text(encoding="utf-8")
        atomic_write_text(files / f"{entry['name']}.csv", _shorter(table))
    text = "\n".join(
        [_INTRODUCTION.format(settings=_settings(found)), _overview(found), *map(_section, _entries(found))]
    )
    return atomic_write_text(target / "gallery.md", text)


def _entries(gallery: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(gallery["experiments"])


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)


def _shorter(table: str) -> str:
    """A CSV with floats of six digits, so that the repository stays small."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in csv.reader(io.StringIO(table)):
        writer.writerow([_digits(cell) for cell in row])
    return text.getvalue()


def _digits(cell: str) -> str:
    try:
        number = float(cell)
    except ValueError:
        return cell
    return cell if len(cell) <= 8 else f"{number:.6g}"


def _settings(gallery: Mapping[str, Any]) -> str:
    return (
        f"{gallery['size']} size, seed {gallery['seed']}, version {gallery['version']}, "
        f"{gallery['seconds'] / 60:.0f} minutes of running time in all"
    )


def _overview(gallery: Mapping[str, Any]) -> str:
    rows = [
        f"| [{entry['title']}](#{_anchor(entry['title'])}) | `{entry['name']}` | {_verdict(entry)} "
        f"| {entry['seconds']:.0f} |"
        for entry in _entries(gallery)
    ]
    return "\n".join(["| claim | experiment | verdict | seconds |", "| --- | --- | --- | ---: |", *rows, ""])


def _anchor(title: str) -> str:
    """The anchor that Markdown gives a heading."""
    return re.sub(r"[^\w\s-]", "", title.lower()).replace(" ", "-")


def _verdict(entry: Mapping[str, Any]) -> str:
    return f"{MARKS[TONES[entry['verdict']]]} {entry['verdict']}"


def _section(entry: Mapping[str, Any]) -> str:
    name = entry["name"]
    page = page_of(name)
    links = [f"[table]({_file(name, 'csv')})", f"[result]({_file(name, 'json')})"]
    if page is not None:
        links.insert(0, f"[more on it]({page})")
    lines = [
        f"## {entry['title']}",
        "",
        entry["claim"],
        "",
        f"**{_verdict(entry)}**",
        "",
        f"![Figure: {entry['title']}]({_file(name, 'png')})",
        "",
        entry["see"],
        "",
    ]
    if entry["key"]:
        lines += ["| number | value |", "| --- | --- |"]
        lines += [f"| {_escaped(label)} | {_escaped(value)} |" for label, value in entry["key"].items()]
        lines.append("")
    lines += ["```sh", entry["command"], "```", "", ", ".join(links), ""]
    return "\n".join(lines)


def _file(name: str, suffix: str) -> str:
    return f"gallery/{name}.{suffix}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_")


if __name__ == "__main__":
    print(write_docs(*sys.argv[1:3]))
