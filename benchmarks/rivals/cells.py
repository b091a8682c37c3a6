"""Which cells the transfer benchmark trains, how, and by which methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rivals import METHODS
from training import Cell, Setting

ACTIVATIONS = ("tanh", "relu", "gelu")
SHAPES = ((3, 64), (10, 64), (30, 64), (3, 256), (10, 256), (30, 256))
#: Only with SGD, tanh and relu, and by FEW methods.
LARGE = ((3, 1024), (10, 1024), (100, 256))
FEW = ("default", "he", "mup-he-16", "ours")
SECOND_DATA = (Cell("tanh", 30, 64, "cancer"), Cell("relu", 3, 64, "cancer"), Cell("gelu", 10, 128, "cancer"))
CROSS_ENTROPY = tuple(Cell(activation, 10, 64) for activation in ACTIVATIONS)
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Job:
    """One method on one cell: a scan over rates."""

    method: str
    cell: Cell
    setting: Setting

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.method}_{self.cell.name}_{self.setting.name}"

    @property
    def reference(self) -> Job | None:
        """The 3x64 cell whose rate is tried here unchanged."""
        if self.cell.data != "digits" or self.setting.loss != "mse" or (self.cell.hidden, self.cell.width) == (3, 64):
            return None
        return Job(self.method, Cell(self.cell.activation, 3, 64), self.setting)

    @property
    def cost(self) -> float:
        """Predicted seconds of one run on one core: matrix products, elementwise work, calls."""
        neurons = self.cell.hidden * self.cell.width
        seconds = neurons * self.cell.width * 2.5e-6 + neurons * 8e-5 + self.cell.hidden * 5e-3
        return seconds * (1.2 if self.setting.optimizer == "adam" else 1.0)


def jobs() -> list[Job]:
    """All of them, the cheap cells first."""
    found = [Job(method, cell, setting) for cell, setting in _settings() for method in _methods(cell)]
    return sorted(found, key=lambda job: (job.cost, job.cell.name, job.setting.name, METHODS.index(job.method)))


def _settings() -> Iterator[tuple[Cell, Setting]]:
    for optimizer in OPTIMIZERS:
        for activation in ACTIVATIONS:
            for shape in SHAPES:
                yield Cell(activation, *shape), Setting(optimizer)
        for cell in SECOND_DATA:
            yield cell, Setting(optimizer)
        for cell in CROSS_ENTROPY:
            yield cell, Setting(optimizer, "cross_entropy")
    for activation in ("tanh", "relu"):
        for shape in LARGE:
            yield Cell(activation, *shape), Setting("sgd")


def _methods(cell: Cell) -> tuple[str, ...]:
    if (cell.hidden, cell.width) in LARGE:
        return FEW
    # dks advises against relu, and its package refuses it for some settings.
    return tuple(method for method in METHODS if method != "dks" or cell.activation != "relu")
