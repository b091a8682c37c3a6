"""The scan over rates of one job: which runs come next, their records, the optimum.

Rates are octaves, log2 of the learning rate. A scan starts at a guess and walks outward until the least loss has two
worse rates on each side (or a diverged one above it), looks half an octave to either side, and takes three seeds at the
two best rates, of which the better is the optimum: one seed alone may have been lucky. Where a seed diverges at both,
the rate goes down by half octaves until none does. Everything else has one seed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rivals import method as method_of
from rivals import prepare
from rivals.cells import Job
from training import Cell, Setting, train

from repflow.results import atomic_write_text

SEEDS = 3
STOP = 10.0
"""A run stops when its loss exceeds this many times the start."""
LOWEST, HIGHEST = -26, 16
"""Octaves: a scan that leaves them is taken as not training at all."""


@dataclass
class Record:
    """The runs of a job.

    Attributes
    ----------
    runs
        Losses by (octave, seed); infinite where a run diverged.
    guess
        Octave at which the scan started.
    borrowed
        Octave of the optimum at 3x64, tried here unchanged.
    seconds
        Spent so far.
    facts
        What a plan predicts.
    """

    job: Job
    signature: dict[str, Any]
    guess: int
    runs: dict[tuple[float, int], float] = field(default_factory=dict)
    borrowed: float | None = None
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> dict[float, float]:
        """Losses of the first seed at whole octaves, by octave."""
        return {octave: loss for (octave, seed), loss in sorted(self.runs.items()) if not seed and octave % 1 == 0}

    @property
    def curve(self) -> dict[float, float]:
        """Losses of the first seed, by octave."""
        return {octave: loss for (octave, seed), loss in sorted(self.runs.items()) if not seed}

    @property
    def best(self) -> float | None:
        """Mean loss of three seeds at the optimum; None before the scan is done."""
        optimum = self.optimum
        if optimum is None:
            return None
        return math.inf if self.curve[optimum] == math.inf else self.mean(optimum)

    def mean(self, octave: float) -> float | None:
        """Mean loss over the three seeds; None before they are measured."""
        losses = [self.runs.get((octave, seed)) for seed in range(SEEDS)]
        return None if any(loss is None for loss in losses) else sum(losses) / SEEDS  # type: ignore[arg-type]

    @property
    def optimum(self) -> float | None:
        """Octave of the best rate; None before the scan is done."""
        return None if self._scan() else self._best_mean()

    def _best_mean(self) -> float:
        curve = self.curve
        means = {octave: mean for octave in curve if (mean := self.mean(octave)) is not None}
        return min(means or curve, key=lambda octave: (means.get(octave, math.inf), octave))

    def wanted(self, sweep: bool = True) -> list[tuple[float, int]]:
        """The runs that are still missing, the next ones first; the list grows as they come in."""
        if self.job.method == "ours":  # lr = 1.0, no sweep
            missing = [(0.0, seed) for seed in range(SEEDS) if (0.0, seed) not in self.runs]
            if missing or not sweep:
                return missing
        if missing := self._scan():
            return missing
        if self.borrowed is not None and (self.borrowed, 0) not in self.runs:
            return [(self.borrowed, 0)]
        return []

    def _scan(self) -> list[tuple[float, int]]:
        grid = self.grid
        if not any(loss < math.inf for loss in grid.values()):
            start = min(grid, default=self.guess + 3.0)
            if start > LOWEST:
                octaves = (
                    [start - 3, start - 2, start - 4, start - 1, start - 5] if not grid else [start - 1, start - 2]
                )
                return [(float(octave), 0) for octave in octaves]
            return []
        best = min(grid, key=lambda octave: (grid[octave], octave))
        above = [best + 1] if grid.get(best + 1) == math.inf else [best + 1, best + 2]
        sides = [octave for octave in (*above, best - 1, best - 2) if LOWEST <= octave <= HIGHEST]
        if missing := [octave for octave in sides if octave not in grid]:
            return [(octave, 0) for octave in missing]
        if missing := [octave for octave in (best - 0.5, best + 0.5) if (octave, 0) not in self.runs]:
            return [(octave, 0) for octave in missing]
        arms = [(octave, seed) for octave in self._candidates() for seed in range(SEEDS)]
        if missing_seeds := [arm for arm in arms if arm not in self.runs]:
            return missing_seeds
        # After a descent the best rate may be the lowest that was tried: one more below it.
        best, lowest = self._best_mean(), min(self.curve)
        return [] if lowest < best or lowest - 1 < LOWEST else [(lowest - 1, 0)]

    def _candidates(self) -> list[float]:
        """Rates at which three seeds are taken: the two best of the first seed, lower ones while seeds diverge."""
        curve = self.curve
        ranked = sorted((o for o, loss in curve.items() if loss < math.inf), key=lambda o: (curve[o], o))
        rates = ranked[:2]
        while all(self.mean(octave) == math.inf for octave in rates) and min(rates) > LOWEST:
            rates.append(min(rates) - 0.5)
        return rates

    def to_json(self) -> str:
        """Everything, one run a line."""
        cell, setting = self.job.cell, self.job.setting
        data = {
            "method": self.job.method,
            "cell": {"activation": cell.activation, "hidden": cell.hidden, "width": cell.width, "data": cell.data},
            "setting": {"optimizer": setting.optimizer, "loss": setting.loss},
            "signature": self.signature,
            "guess": self.guess,
            "borrowed": self.borrowed,
            "optimum": self.optimum,
            "seconds": round(self.seconds, 2),
            "facts": self.facts,
        }
        runs = [json.dumps([o, s, loss if loss < math.inf else None]) for (o, s), loss in sorted(self.runs.items())]
        return json.dumps(data, separators=(",", ":"))[:-1] + ',\n "runs": [\n  ' + ",\n  ".join(runs) + "\n ]\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Back from :meth:`to_json`."""
        data = json.loads(text)
        job = Job(data["method"], Cell(**data["cell"]), Setting(**data["setting"]))
        runs = {(float(o), int(s)): math.inf if loss is None else float(loss) for o, s, loss in data["runs"]}
        return cls(job, data["signature"], data["guess"], runs, data["borrowed"], data["seconds"], data["facts"])


def _signature(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(method_of(job.method).signature(job.cell, job.setting)))
    return found


class Store:
    """Records in a folder, one file a job, written after every batch of runs; and those of a pack, one a line.

    Parameters
    ----------
    folder
        Where records are read and written.
    pack
        A file of :meth:`write_pack`; a record of the folder takes the place of one in it.
    """

    def __init__(self, folder: Path, pack: Path | None = None) -> None:
        self.folder = folder
        self.records: dict[Job, Record] = {}
        texts = pack.read_text().splitlines() if pack is not None and pack.exists() else []
        texts += [path.read_text() for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
        for text in texts:
            record = Record.from_json(text)
            self.records[record.job] = record

    def write_pack(self, path: Path) -> None:
        """All records in one file."""
        lines = sorted(record.to_json().replace("\n", "") for record in self.records.values())
        atomic_write_text(path, "".join(line + "\n" for line in lines))

    def save(self, record: Record) -> None:
        """Write one record."""
        self.records[record.job] = record
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(self.folder / f"{record.job.name}.json", record.to_json())

    def open(self, job: Job) -> Record:
        """The record of a job as stored, or a fresh one where there is none or what it depends on has changed."""
        record = self.records.get(job)
        if record is None or self.outdated(job):
            record = Record(job, _signature(job), self.guess(job))
            record.facts = method_of(job.method).facts(job.cell, job.setting)
        if job.reference is not None and job.reference in self.records:
            record.borrowed = self.records[job.reference].optimum
        return record

    def outdated(self, job: Job) -> bool:
        """Whether what a stored record depends on has changed since."""
        return self.records[job].signature != _signature(job)

    def guess(self, job: Job) -> int:
        """The octave to start at: the optimum of the nearest cell that is stored, else the method's own guess."""
        known: Mapping[Job, float] = {
            other: optimum
            for other, record in self.records.items()
            if other.method == job.method
            and other.setting.optimizer == job.setting.optimizer
            and (optimum := record.optimum) is not None
        }
        if not known or job.method == "ours":
            return method_of(job.method).guess[job.setting.optimizer]
        return round(known[min(known, key=lambda other: _distance(job, other))])


def _distance(job: Job, other: Job) -> tuple[bool, bool, bool, float, str]:
    a, b = job.cell, other.cell
    shape = abs(math.log2(a.hidden / b.hidden)) + abs(math.log2(a.width / b.width))
    return (a.activation != b.activation, job.setting != other.setting, a.data != b.data, shape, other.name)


def together(job: Job) -> int:
    """How many runs to train at once. Small networks cost their calls: several at once are several times faster. Large
    ones fill the cache alone.
    """
    return 5 if job.cell.width <= 128 else 1


def trained(job: Job, arms: list[tuple[float, int]]) -> tuple[list[float], float]:
    """Losses of runs (octave, seed), trained at once, and the seconds that they took."""
    started = time.perf_counter()
    runs = prepare(method_of(job.method), job.cell, job.setting, [(2.0**octave, seed) for octave, seed in arms])
    losses = train(job.cell, job.setting, runs, stop=STOP)
    return losses, time.perf_counter() - started


def run(record: Record, save: Callable[[Record], None], sweep: bool = True) -> None:
    """Train what is missing; ``save`` is called after every batch of runs."""
    while wanted := record.wanted(sweep):
        arms = wanted[: together(record.job)]
        losses, seconds = trained(record.job, arms)
        record.runs.update(zip(arms, losses, strict=True))
        record.seconds += seconds
        save(record)
