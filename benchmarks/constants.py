"""Where the constants of ``repflow.tuning.constants`` come from: the search that sets them, on small networks.

    python benchmarks/constants.py --out constants/                   # about half an hour on one core; resumable
    python benchmarks/constants.py --out constants/ --only KAPPA_ADAM HEAD_STEP

Cells are tanh, relu and gelu with 3 x 64, 5 x 64 and 5 x 32 hidden neurons, on the digits: 200 steps of batch 100,
three seeds. The objective of a value is the mean over cells of the logarithm of the loss after training, at the rates
lr = 2^-1/2, 1 and 2^1/2 of the plan that the value gives (three rates make a value that leaves lr = 1.0 in the middle
of the optimum better than one at its edge). The search goes through the constants in turn, looks at a ladder of values
around the one in force, octaves in the first pass and half-octaves later, moves to the best and goes on until a pass
changes nothing. It prints what it found beside what is recorded, and writes nothing but its own records: who changes
``constants.py`` does so by hand, with round numbers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from training import DIVERGED, Cell, Setting, plan_of, prepare, train

from repflow.results import atomic_write_text
from repflow.tuning import constants

CELLS = tuple(Cell(a, *shape) for a in ("tanh", "relu", "gelu") for shape in ((3, 64), (5, 64), (5, 32)))
RATES = (2**-0.5, 1.0, 2**0.5)
SEEDS = 3
#: A diverged run counts as this loss, ten times that of f = 0.
WORST = DIVERGED * 0.5


@dataclass(frozen=True)
class Search:
    """A constant, the training that it is judged by, and what its ladder steps in."""

    name: str
    setting: Setting
    kind: str = "scale"
    activations: tuple[str, ...] = ("tanh", "relu", "gelu")

    def ladder(self, value: float, octaves: float) -> tuple[float, ...]:
        """Values around ``value``: octaves of a scale, quarters of an exponent, factors 8 of a probability's odds."""
        if self.kind == "exponent":
            return tuple(value + 0.25 * octaves * step for step in (-2, -1, 0, 1, 2))
        if self.kind == "odds":
            odds = [value / (1 - value) * 8.0 ** (octaves * step) for step in (-2, -1, 0, 1, 2)]
            return tuple(entry / (1 + entry) for entry in odds)
        return tuple(value * 2.0 ** (octaves * step) for step in (-2, -1, 0, 1, 2))


SEARCHES = (
    Search("KAPPA_SGD", Setting("sgd"), activations=("relu",)),
    Search("KAPPA_SGD_HELD", Setting("sgd"), activations=("tanh",)),
    Search("KAPPA_SGD_HALF_STABLE", Setting("sgd"), activations=("gelu",)),
    Search("BIAS_SHARE", Setting("sgd")),
    Search("HEAD_SHARE", Setting("sgd")),
    Search("EDGE_LIMIT", Setting("sgd")),
    Search("KAPPA_ADAM", Setting("adam"), activations=("relu", "gelu")),
    Search("KAPPA_ADAM_HELD", Setting("adam"), activations=("tanh",)),
    Search("BIAS_STEP", Setting("adam")),
    Search("HEAD_STEP", Setting("adam")),
    Search("CONFIDENCE", Setting("sgd", "cross_entropy"), "odds"),
    Search("MARGIN_POWER", Setting("adam", "cross_entropy"), "exponent"),
    Search("MOMENTUM_POWER", Setting("sgd", momentum=0.9), "exponent"),
)


@contextmanager
def in_force(values: Mapping[str, float]) -> Iterator[None]:
    """Run with these constants."""
    before = {name: getattr(constants, name) for name in values}
    try:
        for name, value in values.items():
            setattr(constants, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(constants, name, value)


def recorded() -> dict[str, float]:
    """The constants as they are in the file."""
    return {name: value for name, value in vars(constants).items() if name.isupper()}


def losses(cell: Cell, setting: Setting, candidates: list[dict[str, float]]) -> list[list[float]]:
    """Losses of each candidate at every rate and seed, all in one batch."""
    arms = []
    for values in candidates:
        with in_force(values):
            plan = plan_of(cell, setting.loss)
            arms.append(prepare(cell, setting, [(plan, lr, seed) for lr in RATES for seed in range(SEEDS)]))
    together = type(arms[0])(
        [torch.cat(parts) for parts in zip(*(runs.parameters for runs in arms), strict=True)],
        torch.cat([runs.rates for runs in arms]),
        torch.cat([runs.eps for runs in arms]),
        [seed for runs in arms for seed in runs.seeds],
    )
    found = train(cell, setting, together)
    size = len(RATES) * SEEDS
    return [found[i * size : (i + 1) * size] for i in range(len(candidates))]


def objective(found: list[list[float]]) -> float:
    """Mean over cells of the logarithm of the loss."""
    cells = [sum(math.log(min(loss, WORST)) for loss in cell) / len(cell) for cell in found]
    return sum(cells) / len(cells)


class Store:
    """Every evaluation, one file each, by what it depends on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def evaluate(self, item: Search, candidates: list[dict[str, float]]) -> list[float]:
        """The objective of each candidate; cells that are stored are not trained again."""
        setting = item.setting
        found: list[list[list[float]]] = [[] for _ in candidates]
        for cell in CELLS:
            if cell.activation not in item.activations:
                continue
            paths = [self._path(cell, setting, values) for values in candidates]
            left = [i for i, path in enumerate(paths) if not path.exists()]
            if left:
                fresh = losses(cell, setting, [candidates[i] for i in left])
                for i, rows in zip(left, fresh, strict=True):
                    record = {"cell": cell.name, "setting": setting.name, "constants": candidates[i], "losses": rows}
                    atomic_write_text(paths[i], json.dumps(record))
            for i, path in enumerate(paths):
                rows = json.loads(path.read_text())["losses"]
                found[i].append([math.inf if value is None else value for value in rows])
        return [objective(cells) for cells in found]

    def _path(self, cell: Cell, setting: Setting, values: dict[str, float]) -> Path:
        text = json.dumps({name: f"{value:.6g}" for name, value in sorted(values.items())})
        return self.folder / f"{cell.name}_{setting.name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


def search(store: Store, names: list[str], passes: int) -> dict[str, float]:
    """Coordinate descent; returns the values found."""
    values = recorded()
    for number in range(passes):
        octaves, moved = (1.0 if number == 0 else 0.5), False
        for item in SEARCHES:
            if item.name not in names:
                continue
            ladder = item.ladder(values[item.name], octaves)
            scores = store.evaluate(item, [{**values, item.name: value} for value in ladder])
            best = ladder[min(range(len(ladder)), key=scores.__getitem__)]
            moved = moved or best != values[item.name]
            values[item.name] = best
            shown = "  ".join(f"{value:.4g}: {score:.3f}" for value, score in zip(ladder, scores, strict=True))
            print(f"pass {number + 1}  {item.name:22} {shown}   -> {best:.4g}", flush=True)
        if number and not moved:
            break
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("constants"))
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[item.name for item in SEARCHES], help="names of constants")
    options = parser.parse_args()
    unknown = sorted(set(options.only) - {item.name for item in SEARCHES})
    if unknown:
        parser.error(f"--only takes {', '.join(item.name for item in SEARCHES)}; got {', '.join(unknown)}")
    torch.set_num_threads(1)
    before = recorded()
    after = search(Store(options.out), options.only, options.passes)
    print(f"{'constant':22} {'recorded':>10} {'found':>10}")
    for name in options.only:
        print(f"{name:22} {before[name]:10.4g} {after[name]:10.4g}")


if __name__ == "__main__":
    main()
