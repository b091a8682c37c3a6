"""Where ours at lr = 1.0 loses: by its rate or by its initialisation, and how much that is in absolute terms."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rivals.cells import Job
from rivals.summary import Results, blank, compare
from training import Cell, Setting

OLDER = ("default", "he", "mup-16", "mup-64", "mup-he-16", "mup-he-64", "anyinit")
"""The rivals that leave activations and forward pass as they are."""
SMALL = 0.01
"""A loss below this share of that of f = 0 is a solved problem: ratios of two such losses say little."""


@dataclass(frozen=True)
class Share:
    """A ratio of ours at lr = 1.0 to the best rival after its sweep, taken apart: ratio = rate x rest.

    Attributes
    ----------
    one, swept, rival
        Losses.
    """

    cell: Cell
    setting: Setting
    one: float
    swept: float
    name: str
    rival: float

    @property
    def ratio(self) -> float:
        """Ours at lr = 1.0 over the rival."""
        return self.one / self.rival

    @property
    def rate(self) -> float:
        """What a sweep of ours would gain."""
        return self.one / self.swept

    @property
    def rest(self) -> float:
        """What is left after it: initialisation, scaling, the shares of the groups."""
        return self.swept / self.rival

    @property
    def solved(self) -> bool:
        """Whether ours at lr = 1.0 has learned all but SMALL of the problem."""
        return self.one < SMALL * blank(self.setting, self.cell)

    @property
    def cause(self) -> str:
        """The larger of the two factors."""
        return "rate" if self.rate > self.rest else "initialisation"


def shares(results: Results, setting: Setting, data: str) -> list[Share]:
    """Of all cells that are measured, the largest ratio first."""
    found = []
    for cell in results.cells(setting, data):
        one, swept = results.unswept(cell, setting), results.best(Job("ours", cell, setting))
        rival = results.rival(cell, setting)
        if one is None or swept is None or rival is None:
            continue
        if math.isfinite(one) and 0 < rival[1] < math.inf:
            found.append(Share(cell, setting, one, min(one, swept), *rival))
    return sorted(found, key=lambda share: -share.ratio)


def against(results: Results, setting: Setting, data: str, rivals: tuple[str, ...]) -> list[float]:
    """Ratios at lr = 1.0 to the best of some rivals."""
    pairs = []
    for cell in results.cells(setting, data):
        rival = results.rival(cell, setting, rivals)
        if rival is not None:
            pairs.append((results.unswept(cell, setting), rival[1]))
    return list(compare(pairs).ratios)
