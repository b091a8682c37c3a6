"""Which couplings a theory has, and which class: learned with the couplings themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from repflow.blocks import derived_seed
from repflow.experiments.intervals import share_interval
from repflow.theories import Family, KLocal, inference

Row = dict[str, Any]
Say = Callable[[str, float], None]


def sparse_thresholds(spins: Sequence[tuple[int, int]], nonzero: Sequence[int], seed: int, tell: Say) -> list[Row]:
    """The smallest number of experiments from which l1 finds ``nonzero`` couplings among all pairs of N spins.

    ``spins`` has N and the number of draws; cells with more couplings than a quarter of the candidates are left out.
    """
    rows = []
    cells = [(N, draws, s) for N, draws in spins for s in nonzero if s <= N * (N - 1) // 8]
    for k, (N, draws, s) in enumerate(cells):
        tell(f"l1: {s} of the pairs of {N} spins", k / len(cells))
        family = KLocal(N, 2)
        found = np.array(
            [inference.sparse_experiments_needed(family, s, derived_seed(seed, N, s, draw)) for draw in range(draws)]
        )
        rows.append(
            {
                "N": N,
                "candidates": family.count,
                "nonzero": s,
                "experiments": float(found.mean()),
                "stderr": float(found.std(ddof=1)) / math.sqrt(draws),
                "median": float(np.median(found)),
            }
        )
    return rows


def identification(families: Sequence[Family], draws: Sequence[int], seed: int, tell: Say) -> list[Row]:
    """How often each family is picked from twice as many experiments as it has couplings, drawn with repetition."""
    rows = []
    for number, (family, times) in enumerate(zip(families, draws, strict=True)):
        tell(f"which class: {family.name}", number / len(families))
        right = wrong = 0
        for k in range(times):
            truth = family.random(derived_seed(seed, number, k, 0))
            spins = inference.random_experiments(
                family.N, 2 * family.count, derived_seed(seed, number, k, 1), repeat=True
            )
            picked = inference.identify(families, spins, truth.energy(spins)).family
            right += picked is family
            wrong += picked is not None and picked is not family
        low, high = share_interval(right, times)
        rows.append(
            {
                "class": family.name,
                "parameters": family.count,
                "experiments": 2 * family.count,
                "draws": times,
                "right": right,
                "wrong": wrong,
                "undecided": times - right - wrong,
                "share": right / times,
                "interval": [low, high],
            }
        )
    return rows
