"""Is lr = 1.0 the best rate under other settings too: batches of 25 and 400, momentum, cross-entropy, more data sets?

    python benchmarks/settings.py --out settings/                     # stored cell by cell, resumable; minutes
    python benchmarks/settings.py --out settings/ --only relu-10x64 --optimizers sgd
    python benchmarks/settings.py --out settings/ --page table.md     # the table in Markdown as well

Loss after 200 steps over octaves of lr, mean of three seeds, by the plan alone: no rival. (``transfer.py`` has those,
at batch 100.) A stored cell is run again where the constants of ``repflow.tuning.constants`` have changed since.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from constants import recorded
from training import Cell, Setting, plan_of, prepare, train

from repflow.figures import table_markdown
from repflow.results import atomic_write_text

OCTAVES = (-3, -2, -1, 0, 1, 2, 3)
SEEDS = 3
HEADER = ("cell", "setting", "s", "lr = 1/2", "lr = 1", "lr = 2", "best", "at")


def work() -> list[tuple[Cell, Setting]]:
    """Cells and settings, SGD first."""
    digits = [
        Cell("tanh", 3, 64),
        Cell("tanh", 10, 64),
        Cell("relu", 3, 64),
        Cell("relu", 10, 64),
        Cell("gelu", 10, 64),
    ]
    cancer = [Cell(a, h, n, "cancer") for a in ("tanh", "relu") for h, n in ((3, 64), (10, 128))]
    found = []
    for optimizer in ("sgd", "adam"):
        found += [(cell, Setting(optimizer, batch=batch)) for batch in (25, 400) for cell in digits]
        found += [(cell, Setting(optimizer, "cross_entropy")) for cell in (*digits, *cancer)]
        found += [(cell, Setting(optimizer, "cross_entropy", batch=b)) for b in (25, 400) for cell in digits[1:4:2]]
        found += [(cell, Setting(optimizer)) for cell in cancer]
    return found + [(cell, Setting("sgd", momentum=0.9)) for cell in (*digits, *cancer)]


def measure(cell: Cell, setting: Setting) -> dict[str, Any]:
    """All rates and seeds of a cell."""
    plan = plan_of(cell, setting.loss)
    arms = [(plan, 2.0**octave, seed) for octave in OCTAVES for seed in range(SEEDS)]
    started = time.perf_counter()
    losses = train(cell, setting, prepare(cell, setting, arms))
    return {
        "cell": cell.name,
        "setting": setting.name,
        "octaves": list(OCTAVES),
        "losses": [losses[i * SEEDS : (i + 1) * SEEDS] for i in range(len(OCTAVES))],
        "s": plan.scaling,
        "constants": recorded(),
        "seconds": time.perf_counter() - started,
    }


def means(record: dict[str, Any]) -> list[float]:
    """Loss at each octave; a diverged seed makes it infinite."""
    return [sum(row) / len(row) for row in record["losses"]]


def best_octave(record: dict[str, Any]) -> int:
    """The octave of the least loss."""
    found = means(record)
    octaves: list[int] = record["octaves"]
    return octaves[min(range(len(found)), key=found.__getitem__)]


def row(record: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    found = dict(zip(record["octaves"], means(record), strict=True))
    octave = best_octave(record)
    shown = [f"{found[k]:.4f}" if math.isfinite(found[k]) else "diverged" for k in (-1, 0, 1, octave)]
    return (record["cell"], record["setting"], f"{record['s']:.2f}", *shown, f"2^{octave}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("settings"))
    parser.add_argument("--only", nargs="*", help="names of cells")
    parser.add_argument("--optimizers", nargs="*", default=["sgd", "adam"])
    parser.add_argument("--page", type=Path, help="write the table in Markdown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    records = []
    print(("{:18} {:30}" + " {:>9}" * 6).format(*HEADER), flush=True)
    for cell, setting in work():
        if setting.optimizer not in options.optimizers or (options.only and cell.name not in options.only):
            continue
        path = options.out / f"{cell.name}_{setting.name}.json"
        record = json.loads(path.read_text()) if path.exists() else None
        if record is None or record["constants"] != recorded():
            record = measure(cell, setting)
            atomic_write_text(path, json.dumps(record, indent=1))
        records.append(record)
        print(("{:18} {:30}" + " {:>9}" * 6).format(*row(record)), flush=True)
    away = [abs(best_octave(record)) for record in records]
    print(f"{sum(k == 0 for k in away)} of {len(away)} optima at lr = 1, {sum(k <= 1 for k in away)} within one octave")
    if options.page:
        atomic_write_text(options.page, table_markdown(HEADER, [row(record) for record in records]) + "\n")


if __name__ == "__main__":
    main()
