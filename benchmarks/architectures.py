"""Residual MLPs and transformers: does lr = 1.0 need no sweep where theory has no rates and they are measured?

    python benchmarks/architectures.py --out architectures/                # about an hour on one core; resumable
    python benchmarks/architectures.py --out architectures/ --only mlp     # a minute or two
    python benchmarks/architectures.py --out architectures/ --report       # the table of what is stored

A residual MLP (pre-norm, two layers a branch) and a pre-norm transformer encoder of torch's own layers, which reads the
digits as eight tokens of eight pixels; cross-entropy, 200 steps of Adam or SGD, batch 100, loss over the whole data set
after training. ``repflow`` is ``rf.tune``: its initialisation and its rates, times an octave. ``one rate`` is torch's
initialisation and one rate for all parameters. Octaves are added on the side where the best loss lies until it has a
worse one on either side; every run is stored as it ends.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from digits_training import train_on_digits
from residual_mlp import ResidualMLP
from torch import Tensor, nn
from training import dataset

from repflow.results import atomic_write_text
from repflow.tuning import Plan, tune

SIZES = ((32, 2), (32, 8), (128, 2), (128, 8), (64, 24))


class Transformer(nn.Module):
    """Digits as eight tokens of eight pixels, through ``nn.TransformerEncoder``."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.positions = nn.Parameter(0.5 * torch.randn(8, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, blocks, nn.LayerNorm(width), enable_nested_tensor=False)
        for block in self.encoder.layers:  # torch copies the first block: draw each anew
            for part in block.modules():
                if isinstance(part, nn.Linear):
                    part.reset_parameters()
                elif isinstance(part, nn.MultiheadAttention):
                    part._reset_parameters()
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 64)."""
        return self.head(self.encoder(self.embed(x.view(-1, 8, 8)) + self.positions).mean(1))


MODELS = {"mlp": ResidualMLP, "transformer": Transformer}
#: Where a search over octaves begins.
CENTRES = {"repflow": {"adam": 0, "sgd": 0}, "one rate": {"adam": -9, "sgd": -2}}


@dataclass(frozen=True)
class Cell:
    """A model at a size."""

    model: str
    width: int
    blocks: int

    @property
    def name(self) -> str:
        """For tables and files."""
        return f"{self.model}-{self.width}x{self.blocks}"

    def make(self, seed: int) -> nn.Module:
        """The model as torch makes it."""
        torch.manual_seed(seed)
        return MODELS[self.model](self.width, self.blocks)


def train(cell: Cell, optimizer: str, octave: int, seed: int, plan: Plan | None) -> float:
    """Loss after training; infinite where it diverged."""
    model = cell.make(seed)
    make = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    if plan is not None:
        plan.initialize_(model, torch.Generator().manual_seed(seed))
        stepper = make(plan.param_groups(model, lr=2.0**octave, optimizer=optimizer))
    else:
        stepper = make(model.parameters(), lr=2.0**octave)
    return train_on_digits(model, stepper, seed)


class Store:
    """Every run a file."""

    def __init__(self, folder: Path, optimizer: str) -> None:
        self.folder, self.optimizer = folder, optimizer
        self._plans: dict[str, Plan] = {}

    def loss(self, cell: Cell, method: str, octave: int, seeds: int) -> float:
        """Mean over seeds, trained where it is not stored."""
        found = []
        for seed in range(seeds):
            path = self.path(cell, method, octave, seed)
            if not path.exists():
                started = time.perf_counter()
                plan = self.plan(cell) if method == "repflow" else None
                loss = train(cell, self.optimizer, octave, seed, plan)
                record = {
                    "cell": cell.name,
                    "optimizer": self.optimizer,
                    "method": method,
                    "octave": octave,
                    "seed": seed,
                }
                record["loss"] = loss if math.isfinite(loss) else None
                record["seconds"] = time.perf_counter() - started
                atomic_write_text(path, json.dumps(record))
                print(f"{cell.name:18} {method:9} 2^{octave:<4d} seed {seed}  {loss:.4f}", flush=True)
            loss_ = json.loads(path.read_text())["loss"]
            found.append(math.inf if loss_ is None else loss_)
        return sum(found) / len(found)

    def plan(self, cell: Cell) -> Plan:
        """Measured once a cell, and stored."""
        path = self.folder / f"{cell.name}_plan.json"
        if cell.name not in self._plans:
            if path.exists():
                self._plans[cell.name] = Plan.from_json(path.read_text())
            else:
                x, y = dataset("digits")
                self._plans[cell.name] = tune(cell.make(0), x, y, loss="cross_entropy")
                atomic_write_text(path, self._plans[cell.name].to_json())
        return self._plans[cell.name]

    def path(self, cell: Cell, method: str, octave: int, seed: int) -> Path:
        """Of one run."""
        return self.folder / f"{self._stem(cell, method)}_{octave}_{seed}.json"

    def _stem(self, cell: Cell, method: str) -> str:
        return f"{cell.name}_{self.optimizer}_{method.replace(' ', '-')}"

    def stored(self, cell: Cell, method: str) -> dict[int, float]:
        """Mean loss by octave of what is stored."""
        found: dict[int, list[float]] = {}
        for path in self.folder.glob(f"{self._stem(cell, method)}_*.json"):
            record = json.loads(path.read_text())
            found.setdefault(record["octave"], []).append(math.inf if record["loss"] is None else record["loss"])
        return {octave: sum(losses) / len(losses) for octave, losses in sorted(found.items())}


def sweep(store: Store, cell: Cell, method: str, seeds: int) -> None:
    """Octaves around the centre until the best has a neighbour on either side."""
    centre = CENTRES[method][store.optimizer]
    found = {octave: store.loss(cell, method, octave, seeds) for octave in (centre, centre - 1, centre + 1)}
    while True:
        best = min(found, key=lambda octave: (found[octave], abs(octave - centre)))
        wanted = [octave for octave in (best - 1, best + 1) if octave not in found]
        if not wanted:
            return
        found[wanted[0]] = store.loss(cell, method, wanted[0], seeds)


def report(store: Store, cells: list[Cell]) -> str:
    """The table of what is stored, as Markdown."""
    lines = [
        "| cell | loss at lr = 1.0 | best | at | one rate, best | at | ratio at lr = 1.0 | ratio swept |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        ours, plain = store.stored(cell, "repflow"), store.stored(cell, "one rate")
        if 0 not in ours or not plain:
            continue
        best, rival = min(ours, key=ours.__getitem__), min(plain, key=plain.__getitem__)
        lines.append(
            f"| {cell.name} | {ours[0]:.4f} | {ours[best]:.4f} | 2^{best} | {plain[rival]:.4f} | 2^{rival} | "
            f"{ours[0] / plain[rival]:.2f} | {ours[best] / plain[rival]:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("architectures"))
    parser.add_argument("--only", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--sizes", nargs="*", default=[f"{w}x{b}" for w, b in SIZES], help="such as 32x2")
    parser.add_argument("--optimizer", default="adam", choices=["adam", "sgd"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    store = Store(options.out, options.optimizer)
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes]
    cells = [Cell(model, *size) for model in options.only for size in sizes]
    if not options.report:
        print(f"{len(cells)} cells, two methods, about five rates each, {options.seeds} seed(s)", flush=True)
        for cell in cells:
            for method in CENTRES:
                sweep(store, cell, method, options.seeds)
    print(report(store, cells))


if __name__ == "__main__":
    main()
