"""Numbers from the records: ratios to rivals, the drift of the best rate, its fit, what a borrowed rate costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from rivals import RIVALS
from rivals.cells import Job, jobs
from rivals.scan import Store
from training import Cell, Setting

EQUAL = 1.1
"""Losses within this factor of each other count as equal; seeds differ by about a fifth."""
NOTHING = 0.9
"""A loss above this share of that of f = 0 is no learning, and its best rate means nothing."""
#: Names of the rivals in tables, each with the methods that it is the best of.
FAMILIES = {
    "default": ("default",),
    "He": ("he",),
    "mup": ("mup-16", "mup-64"),
    "mup + He": ("mup-he-16", "mup-he-64"),
    "AnyInit": ("anyinit",),
    "dks": ("dks",),
    "unit-scaling": ("unit-scaling",),
}


@cache
def nu(activation: str) -> float:
    """Coefficient of the relative variance of the output kernel, nu (L - 1)/n, at criticality."""
    from repflow.criticality import critical

    value = critical(activation).nu
    assert value is not None
    return float(value)


def relative_variance(cell: Cell) -> float:
    """nu (L - 1)/n."""
    return nu(cell.activation) * cell.hidden / cell.width


def blank(setting: Setting, cell: Cell) -> float:
    """Loss of f = 0."""
    return 0.5 if setting.loss == "mse" else math.log(10 if cell.data == "digits" else 2)


class Results:
    """What a store holds, by method and cell; None where it is not measured yet."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.work = jobs()
        self._known = set(self.work)

    @property
    def missing(self) -> list[Job]:
        """Jobs whose scan is not done."""
        return [job for job in self.work if self.optimum(job) is None]

    def settings(self) -> list[Setting]:
        """Optimiser and loss, in the order of the tables."""
        return [Setting(o, loss) for loss in ("mse", "cross_entropy") for o in ("sgd", "adam")]

    def cells(self, setting: Setting, data: str | None = None) -> list[Cell]:
        """Cells of a setting, in the order of the tables."""
        found = {job.cell for job in self.work if job.setting == setting and data in (None, job.cell.data)}
        rank = {"digits": 0, "tanh": 0, "relu": 1, "gelu": 2}
        return sorted(found, key=lambda c: (rank.get(c.data, 1), rank[c.activation], c.width, c.hidden))

    def optimum(self, job: Job) -> float | None:
        """Octave of the best rate."""
        record = self.store.records.get(job)
        return None if record is None else record.optimum

    def best(self, job: Job) -> float | None:
        """Loss at the best rate, mean of three seeds."""
        record = self.store.records.get(job)
        return None if record is None else record.best

    def unswept(self, cell: Cell, setting: Setting) -> float | None:
        """Loss of ours at lr = 1.0."""
        record = self.store.records.get(Job("ours", cell, setting))
        return None if record is None else record.mean(0.0)

    def trained(self, job: Job) -> bool:
        """Whether it learned anything at its best rate."""
        best = self.best(job)
        return best is not None and best < NOTHING * blank(job.setting, job.cell)

    def rival(self, cell: Cell, setting: Setting, methods: Iterable[str] = RIVALS) -> tuple[str, float] | None:
        """The best of the rivals after their sweeps; None where one of them is missing."""
        work = [Job(method, cell, setting) for method in methods]
        losses = {job.method: self.best(job) for job in work if job in self._known}
        if not losses or any(loss is None for loss in losses.values()):
            return None
        return min(((name, loss) for name, loss in losses.items() if loss is not None), key=lambda pair: pair[1])


@dataclass(frozen=True)
class Comparison:
    """Ratios of two losses over cells."""

    ratios: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Geometric; infinite where a ratio is, 0 where one is 0."""
        if not self.ratios or math.inf in self.ratios or 0.0 in self.ratios:
            return math.nan if not self.ratios else math.inf if math.inf in self.ratios else 0.0
        return math.exp(sum(map(math.log, self.ratios)) / len(self.ratios))

    @property
    def largest(self) -> float:
        """The worst cell."""
        return max(self.ratios, default=math.nan)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Cells in which the first is better, equal, worse."""
        better = sum(ratio < 1 / EQUAL for ratio in self.ratios)
        worse = sum(ratio > EQUAL for ratio in self.ratios)
        return better, len(self.ratios) - better - worse, worse


def compare(pairs: Iterable[tuple[float | None, float | None]]) -> Comparison:
    """Ratios of the pairs that are measured; where both diverged there is none."""
    ratios = [a / b for a, b in pairs if a is not None and b is not None and (a < math.inf or b < math.inf)]
    return Comparison(tuple(ratios))


def drift(octaves: Sequence[float]) -> float | None:
    """Largest minus smallest."""
    return max(octaves) - min(octaves) if octaves else None


@dataclass(frozen=True)
class Fit:
    """log2(best rate) = constant + depth log2 L + width log2 n, by least squares; ``rest`` is the residuals' rms."""

    depth: float
    width: float
    rest: float


def fit(cells: Sequence[Cell], octaves: Sequence[float]) -> Fit | None:
    """The fit over cells; None where they do not span depth and width."""
    design = np.array([[1.0, math.log2(cell.hidden + 1), math.log2(cell.width)] for cell in cells])
    if len(cells) < 4 or np.linalg.matrix_rank(design) < 3:
        return None
    solution = np.linalg.lstsq(design, np.array(octaves), rcond=None)[0]
    rest = np.sqrt(((design @ solution - np.array(octaves)) ** 2).mean())
    return Fit(float(solution[1]), float(solution[2]), float(rest))


def optima(
    results: Results, method: str, setting: Setting, keep: Callable[[Cell], bool] = lambda cell: True
) -> tuple[list[Cell], list[float]]:
    """Cells of the digits in which the method learned something, and its best octaves there."""
    cells, octaves = [], []
    for cell in results.cells(setting, "digits"):
        job = Job(method, cell, setting)
        octave = results.optimum(job)
        if octave is not None and keep(cell) and results.trained(job):
            cells.append(cell)
            octaves.append(octave)
    return cells, octaves


def borrowed(results: Results, method: str, setting: Setting) -> tuple[Comparison, int]:
    """Loss at the rate of 3x64 over that at the cell's own best rate, first seed; and how many cells diverged there.

    Cells in which the method learns nothing at any rate are left out.
    """
    pairs, diverged = [], 0
    for cell in results.cells(setting, "digits"):
        job = Job(method, cell, setting)
        record = results.store.records.get(job)
        if record is None or record.optimum is None or job.reference is None or not results.trained(job):
            continue
        loss = None if record.borrowed is None else record.curve.get(record.borrowed)
        diverged += loss == math.inf
        if loss is not None and loss < math.inf:
            pairs.append((loss, record.curve[record.optimum]))
    return compare(pairs), diverged
