"""One run, a scan over a method's own rates, and the file that keeps both."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from digits_training import train_on_digits
from residual_peers.methods import Method
from residual_peers.models import Cell

from repflow.results import atomic_write_text

SEEDS = 2


def train(method: Method, cell: Cell, octave: int, seed: int) -> float:
    """Cross-entropy over all data after training."""
    model = method.model(cell, seed)
    return train_on_digits(model, method.optimizer(model, cell, 2.0**octave), seed)


@dataclass
class Record:
    """All runs of a method on a cell, by (octave, seed)."""

    cell: Cell
    method: str
    path: Path
    runs: dict[tuple[int, int], float] = field(default_factory=dict)
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, cell: Cell, method: str) -> Record:
        """What is stored, or nothing yet."""
        record = cls(cell, method, folder / f"{method}_{cell.name}.json")
        if record.path.exists():
            kept = json.loads(record.path.read_text())
            record.runs = {
                (run["octave"], run["seed"]): math.inf if run["loss"] is None else run["loss"] for run in kept["runs"]
            }
            record.seconds, record.facts = kept["seconds"], kept["facts"]
        return record

    def save(self) -> None:
        """Write it, whole or not at all."""
        runs = [
            {"octave": octave, "seed": seed, "loss": loss if math.isfinite(loss) else None}
            for (octave, seed), loss in sorted(self.runs.items())
        ]
        kept = {"cell": self.cell.name, "method": self.method, "seconds": self.seconds, "facts": self.facts}
        atomic_write_text(self.path, json.dumps({**kept, "runs": runs}, indent=1))

    def loss(self, octave: int | None) -> float:
        """Mean over the seeds; nan where one is missing."""
        found = [self.runs.get((octave, seed), math.nan) for seed in range(SEEDS)] if octave is not None else [math.nan]
        return sum(found) / len(found)

    @property
    def grid(self) -> dict[int, float]:
        """Losses of the first seed by octave."""
        return {octave: loss for (octave, seed), loss in sorted(self.runs.items()) if seed == 0}

    @property
    def means(self) -> dict[int, float]:
        """Mean losses of the octaves that all seeds have run."""
        return {octave: self.loss(octave) for octave in self.grid if not math.isnan(self.loss(octave))}

    @property
    def optimum(self) -> int | None:
        """Octave of the least mean loss; None without one."""
        means = self.means
        return min(means, key=lambda octave: (means[octave], octave), default=None)

    def next_octave(self, centre: int) -> int | None:
        """What the scan needs next, outwards from ``centre``; None when it is bracketed."""
        grid = self.grid
        for octave in (centre, centre - 1, centre + 1):
            if octave not in grid:
                return octave
        if not any(math.isfinite(loss) for loss in grid.values()):
            return min(grid) - 1
        best = min(grid, key=lambda octave: (grid[octave], octave))
        return next((octave for octave in (best - 1, best + 1) if octave not in grid), None)


def run(record: Record, method: Method, centre: int, extra: tuple[int, ...]) -> None:
    """The scan, all seeds around its optimum and at the ``extra`` octaves; stored run by run."""

    def once(octave: int, seed: int) -> None:
        if (octave, seed) in record.runs:
            return
        started = time.process_time()
        record.runs[octave, seed] = train(method, record.cell, octave, seed)
        record.seconds += time.process_time() - started
        record.facts = method.facts(record.cell)
        record.save()

    for octave in extra:
        for seed in range(SEEDS):
            once(octave, seed)
    while (octave := record.next_octave(centre)) is not None:
        once(octave, 0)
    best = min(record.grid, key=lambda octave: (record.grid[octave], octave))
    while True:  # all seeds at the best and on either side of it; they may move it
        around = [octave for octave in (best, best - 1, best + 1) if octave not in record.means]
        if not around:
            return
        for seed in range(SEEDS):
            once(around[0], seed)
        best = record.optimum if best in record.means and record.optimum is not None else best
