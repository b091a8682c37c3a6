"""Tables of what is stored, written into a Markdown page between two marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from residual_peers.methods import METHODS, rivals_of
from residual_peers.models import CELLS, MODELS, Cell
from residual_peers.scan import Record

from repflow.results import atomic_write_text

START, END = "<!-- residual: start -->", "<!-- residual: end -->"
EQUAL = 0.05
"""Losses nearer than this part of each other count as equal."""
_TITLES = {"plain": "plain", "mup": "mup", "completep": "CompleteP", "ours": "repflow",
           "plain-fanin": "plain, 1/√n", "mup-fanin": "mup, 1/√n", "completep-fanin": "CompleteP, 1/√n"}  # fmt: skip
_ORDER = ("ours", *METHODS[:-1])
_MODELS = {"mlp": "residual MLP", "gpt2": "GPT-2"}


class Results:
    """All records of a folder."""

    def __init__(self, folder: Path) -> None:
        self._records = {(cell, name): Record.open(folder, cell, name) for cell in CELLS for name in METHODS}

    def __getitem__(self, key: tuple[Cell, str]) -> Record:
        return self._records[key]

    @property
    def cells(self) -> list[Cell]:
        """Those in which every method has its optimum."""
        return [
            cell for cell in CELLS if all(self[cell, name].optimum is not None for name in ("ours", *rivals_of(cell)))
        ]

    def best(self, cell: Cell, name: str) -> float:
        """A method's loss after its own sweep, mean over seeds."""
        record = self[cell, name]
        return record.loss(record.optimum)

    def best_rival(self, cell: Cell) -> float:
        """The least loss of all rivals after their sweeps."""
        return min(self.best(cell, name) for name in rivals_of(cell))

    def drift(self, model: str, name: str) -> int:
        """Octaves over which a method's best rate moves."""
        found = [self[cell, name].optimum or 0 for cell in self.cells if cell.model == model]
        return max(found) - min(found)

    def unchanged(self, cell: Cell, name: str) -> float:
        """Loss at the method's best rate of the smallest size."""
        return self[cell, name].loss(self[cell.base, name].optimum)

    @property
    def seconds(self) -> float:
        """Of a core, all runs."""
        return sum(record.seconds for record in self._records.values())

    @property
    def runs(self) -> int:
        """Their number."""
        return sum(len(record.runs) for record in self._records.values())


def write(folder: Path, page: Path) -> None:
    """Replace what stands between the marks of ``page``."""
    text = page.read_text()
    if START not in text or END not in text:
        raise ValueError(f"page must hold the lines {START!r} and {END!r}; {page} does not")
    before, rest = text.split(START, 1)
    after = rest.split(END, 1)[1]
    atomic_write_text(page, before + START + "\n\n" + tables(Results(folder)) + "\n" + END + after)


def tables(results: Results) -> str:
    """All of them."""
    parts = [_summary(results), _losses(results), _drifts(results), _unchanged(results), _costs(results)]
    return "\n".join(parts)


def geometric_mean(values: Sequence[float]) -> float:
    """Infinite where one is; nan of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "diverged" if value == math.inf else f"{value:.4f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)) + "\n"


def _label(cell: Cell) -> str:
    return f"{_MODELS[cell.model]} {cell.width} x {cell.blocks}"


def _swept(results: Results, cell: Cell, name: str) -> str:
    return f"{_number(results.best(cell, name))} @2^{results[cell, name].optimum}"


def _summary(results: Results) -> str:
    complete = results.cells
    missing = [cell.name for cell in CELLS if cell not in complete]
    rows = []
    for model in ("", *MODELS):
        cells = [cell for cell in complete if model in ("", cell.model)]
        for title in ("lr = 1.0, no sweep", "swept"):
            losses = [
                results.best(cell, "ours") if title == "swept" else results[cell, "ours"].loss(0) for cell in cells
            ]
            ratios = [loss / results.best_rival(cell) for loss, cell in zip(losses, cells, strict=True)]
            better, worse = sum(r < 1 - EQUAL for r in ratios), sum(r > 1 + EQUAL for r in ratios)
            counts = [str(better), str(len(ratios) - better - worse), str(worse)]
            mean, worst = geometric_mean(ratios), max(ratios, default=math.nan)
            rows.append([_MODELS.get(model, "both"), title, *counts, f"{mean:.2f}", f"{worst:.2f}"])
    text = _table(["model", "repflow", "better", "equal", "worse", "mean ratio", "worst ratio"], rows)
    text = f"repflow's loss over that of the best rival after its sweep, {len(complete)} cells:\n\n{text}"
    text += f"\nEqual: within {EQUAL:.0%}. Mean: geometric.\n"
    return text + (f"\nNot complete: {', '.join(missing)}.\n" if missing else "")


def _losses(results: Results) -> str:
    text = "Loss after training at the best octave:\n"
    for model in MODELS:
        cells = [cell for cell in results.cells if cell.model == model]
        if not cells:
            continue
        names = rivals_of(cells[0])
        columns = ["cell (width x blocks)", "repflow, lr = 1.0", "repflow, swept", *(_TITLES[name] for name in names),
                   "ratio at lr = 1.0", "ratio swept"]  # fmt: skip
        rows = []
        for cell in cells:
            unswept, rival = results[cell, "ours"].loss(0), results.best_rival(cell)
            swept = [_swept(results, cell, name) for name in ("ours", *names)]
            ratios = [unswept / rival, results.best(cell, "ours") / rival]
            rows.append([_label(cell), _number(unswept), *swept, *(f"{ratio:.2f}" for ratio in ratios)])
        text += "\n" + _table(columns, rows)
    return text


def _drifts(results: Results) -> str:
    rows = []
    for model in MODELS:
        cells = [cell for cell in results.cells if cell.model == model]
        there = ("ours", *rivals_of(cells[0])) if cells else ()
        rows.append([_MODELS[model], *(str(results.drift(model, name)) if name in there else "" for name in _ORDER)])
    head = "Drift of each method's best rate over the four sizes, in octaves:\n\n"
    return head + _table(["model", *(_TITLES[name] for name in _ORDER)], rows)


def _unchanged(results: Results) -> str:
    cells = [cell for cell in results.cells if cell != cell.base]
    rows: list[list[str]] = []
    own: dict[str, list[float]] = {name: [] for name in _ORDER}
    against = []
    for cell in cells:
        names = ("ours", *rivals_of(cell))
        losses = {name: results.unchanged(cell, name) for name in names}
        losses = {name: loss for name, loss in losses.items() if not math.isnan(loss)}
        for name in losses:
            own[name].append(losses[name] / results.best(cell, name))
        against.append(results[cell, "ours"].loss(0) / min(losses[name] for name in losses if name != "ours"))
        shown = [_number(losses[name]) if name in losses else "" for name in _ORDER]
        rows.append([_label(cell), *shown, f"{against[-1]:.2f}"])
    means = [f"{geometric_mean(own[name]):.2f}" for name in _ORDER]
    rows.append(["over its own best, mean", *means, ""])
    head = "Loss at the best rate of the smallest size, unchanged; last, repflow at lr = 1.0 over the best rival's:\n\n"
    text = head + _table(["cell", *(_TITLES[name] for name in _ORDER), "ratio at lr = 1.0"], rows)
    return f"{text}\nGeometric mean of the last column: {geometric_mean(against):.2f}.\n"


def _costs(results: Results) -> str:
    facts = {cell: results[cell, "ours"].facts for cell in results.cells}
    tuning = [found["tuning"] for found in facts.values()]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "mup"))
    if not tuning:
        return packages + "\n"
    return (
        f"{results.runs} runs, {results.seconds / 60:.0f} minutes of one core; `rf.tune` took {min(tuning):.1f} to "
        f"{max(tuning):.1f} s on a busy machine. {packages}.\n"
    )
