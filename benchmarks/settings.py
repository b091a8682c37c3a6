"""Does lr = 1.0 need no sweep? Loss at lr = 1.0 and over octaves around it, over depth, width, activation and
optimiser.

    python benchmarks/recipe.py --out recipe/                    # the twelve cells, SGD and Adam; stored cell by cell,
    resumable python benchmarks/recipe.py --out recipe/ --extra            # also batches, cross-entropy, momentum, a
    second data set python benchmarks/recipe.py --out recipe/ --only relu-10x64 --optimizers sgd

The rivals' column is the best of PyTorch's default, He, mup, mup + He (bases 16, 64) and AnyInit, each after its own
sweep over powers of two: QUOTED from trials of the same protocol (one to three seeds), not measured here. ``ratio`` is
the loss at lr = 1.0 over it. A stored cell is run again where the constants of ``repflow.tuning.constants`` have
changed since.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from training import Cell, Setting, plan_of, prepare, train

from repflow.results import atomic_write_text
from repflow.tuning import constants

SHAPES = ((3, 64), (10, 64), (10, 256), (30, 64))
CELLS = tuple(Cell(activation, *shape) for activation in ("tanh", "relu", "gelu") for shape in SHAPES)
OCTAVES = (-3, -2, -1, 0, 1, 2, 3)
SEEDS = 3

#: Quoted, not measured here: loss of the best rival after its sweep.
RIVALS = {
    "sgd": dict(
        zip(CELLS, (0.050, 0.028, 0.019, 0.103, 0.029, 0.157, 0.0095, 0.320, 0.041, 0.0166, 0.0070, 0.386), strict=True)
    ),
    "adam": dict(
        zip(
            CELLS, (0.0105, 0.0046, 0.0023, 0.0102, 0.0068, 0.0159, 0.0015, 0.034, 0.0029, 0.0060, 0.0005), strict=False
        )
    ),
}


def extra() -> list[tuple[Cell, Setting]]:
    """Beside the twelve cells: batches 25 and 400, cross-entropy, momentum, wider networks, a second data set."""
    small = [Cell("tanh", 3, 64), Cell("relu", 10, 64), Cell("gelu", 10, 64)]
    found = [(cell, Setting(o, batch=b)) for o in ("sgd", "adam") for b in (25, 400) for cell in small]
    found += [(cell, Setting(o, "cross_entropy")) for o in ("sgd", "adam") for cell in (*small, Cell("tanh", 10, 64))]
    found += [(cell, Setting("sgd", momentum=0.9)) for cell in small]
    cancer = [Cell(a, h, n, "cancer") for a in ("tanh", "relu") for h, n in ((3, 64), (10, 128), (30, 64))]
    found += [(cell, Setting(o)) for o in ("sgd", "adam") for cell in cancer]
    return found


def cost(cell: Cell, setting: Setting, runs: int) -> float:
    """Predicted seconds on one core: matrix products and elementwise work, measured once on a laptop-like machine."""
    rows = setting.steps * setting.batch * runs
    return rows * (cell.hidden * (6 * cell.width**2 / 3e10 + 30 * cell.width / 2e9))


def measure(cell: Cell, setting: Setting, octaves: tuple[int, ...], seeds: int) -> dict[str, Any]:
    """All rates and seeds of a cell."""
    plan = plan_of(cell, setting.loss)
    arms = [(plan, 2.0**octave, seed) for octave in octaves for seed in range(seeds)]
    started = time.perf_counter()
    losses = train(cell, setting, prepare(cell, setting, arms))
    return {
        "cell": cell.name,
        "setting": setting.name,
        "octaves": list(octaves),
        "losses": [losses[i * seeds : (i + 1) * seeds] for i in range(len(octaves))],
        "s": plan.scaling,
        "kappa": plan.kappa,
        "edge": plan.edge,
        "binding": plan.binding,
        "relative_variance": plan.aspect_ratio.relative_variance,
        "constants": values(),
        "seconds": time.perf_counter() - started,
    }


def values() -> dict[str, float]:
    """The constants in force."""
    return {name: value for name, value in vars(constants).items() if name.isupper()}


def summary(record: dict[str, Any]) -> tuple[float, float, int]:
    """Loss at lr = 1.0, best loss, and its octave; each the mean over seeds (a diverged one makes it infinite)."""
    means = [sum(row) / len(row) for row in record["losses"]]
    best = min(range(len(means)), key=means.__getitem__)
    return means[record["octaves"].index(0)], means[best], record["octaves"][best]


def line(record: dict[str, Any], rival: float | None) -> str:
    """One row of the table."""
    one, best, octave = summary(record)
    text = f"{record['cell']:18} {record['setting']:28} {record['s']:5.2f} {record['kappa']:6.2f} {record['edge']:7.2f}"
    text += f" {record['relative_variance']:5.2f} {one:8.4f} {best:8.4f}  2^{octave:<3d}"
    return text + (f" {rival:8.4f} {one / rival:6.2f} {best / rival:6.2f}" if rival else "")


HEADER = (
    f"{'cell':18} {'setting':28} {'s':>5} {'kappa':>6} {'edge':>7} {'r_L':>5}"
    + f" {'lr = 1':>8} {'best':>8}  at    {'rival':>8}  ratio  swept"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("recipe"))
    parser.add_argument("--extra", action="store_true")
    parser.add_argument("--only", nargs="*", help="names of cells")
    parser.add_argument("--optimizers", nargs="*", default=["sgd", "adam"])
    options = parser.parse_args()
    work = [(cell, Setting(optimizer)) for optimizer in options.optimizers for cell in CELLS]
    work += [pair for pair in extra() if pair[1].optimizer in options.optimizers] if options.extra else []
    work = [pair for pair in work if not options.only or pair[0].name in options.only]
    torch.set_num_threads(1)
    done = {}
    for cell, setting in work:
        path = options.out / f"{cell.name}_{setting.name}.json"
        record = json.loads(path.read_text()) if path.exists() else None
        if record and record["constants"] == values():
            done[cell, setting] = record
    left = [pair for pair in work if pair not in done]
    planned = sum(cost(*pair, len(OCTAVES) * SEEDS) for pair in left)
    print(
        f"{len(done)} cells stored, {len(left)} to run: about {planned / 60:.0f} minutes on one core\n{HEADER}",
        flush=True,
    )
    ratios: dict[str, list[float]] = {}
    for pair in work:
        cell, setting = pair
        if pair not in done:
            done[pair] = measure(cell, setting, OCTAVES, SEEDS)
            atomic_write_text(options.out / f"{cell.name}_{setting.name}.json", json.dumps(done[pair], indent=1))
        rival = RIVALS[setting.optimizer].get(cell) if setting == Setting(setting.optimizer) else None
        print(line(done[pair], rival), flush=True)
        if rival:
            ratios.setdefault(setting.optimizer, []).append(summary(done[pair])[0] / rival)
    for optimizer, found in ratios.items():
        mean = math.exp(sum(map(math.log, found)) / len(found))
        print(
            f"{optimizer}: geometric mean of the ratio at lr = 1.0 over {len(found)} cells {mean:.3f}, "
            f"largest {max(found):.2f}"
        )


if __name__ == "__main__":
    main()
