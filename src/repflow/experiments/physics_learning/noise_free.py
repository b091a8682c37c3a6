"""Couplings learned from energies without noise: the error on what was not seen, and how many experiments it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import derived_seed
from repflow.experiments.intervals import median_interval
from repflow.theories import Family, inference
from repflow.theories.spins import pack

FloatArray = NDArray[np.float64]
Row = dict[str, Any]
#: Experiments over parameters at which the error on the unseen is measured.
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0, 1.1, 1.25, 1.5, 2.0)


def unseen_curve(family: Family, draws: int, seed: int) -> list[Row]:
    """Mean error on unseen configurations against the number of independent experiments, over draws of both.

    After ``family.count`` of them no other is independent; then any others follow.
    """
    amounts = sorted({round(share * family.count) for share in SHARES})
    amounts = [amount for amount in amounts if amount < 2**family.N]
    error = np.empty((draws, len(amounts)))
    for k in range(draws):
        truth = family.random(derived_seed(seed, k, 0))
        first = inference.independent_experiments(family, family.count, derived_seed(seed, k, 1))
        rest = inference.random_experiments(family.N, 2**family.N, derived_seed(seed, k, 2))
        order = np.concatenate([first, rest[~np.isin(pack(rest), pack(first))]])
        for j, amount in enumerate(amounts):
            spins = order[:amount]
            learned = (
                inference.fit(family, spins, truth.energy(spins)).theory
                if amount
                else family.theory(np.zeros(family.count))  # least norm without an experiment
            )
            error[k, j] = inference.unseen_error(learned, truth, spins)
    return [
        {
            "class": family.name,
            "parameters": family.count,
            "experiments": amount,
            "share": amount / family.count,
            "error": float(error[:, j].mean()),
            "stderr": float(error[:, j].std(ddof=1)) / math.sqrt(draws),
            "largest": float(error[:, j].max()),
            "expected": inference.expected_unseen_error(family, min(amount, family.count), amount),
        }
        for j, amount in enumerate(amounts)
    ]


def memorisation(family: Family, draws: int, seed: int, shares: Sequence[float]) -> FloatArray:
    """(draws,): the error on the unseen before the experiments run out, each prediction counted once.

    Experiments as drawn; their numbers are ``shares`` of the parameters.
    """
    found = np.empty(draws)
    for k in range(draws):
        truth = family.random(derived_seed(seed, k, 0))
        order = inference.random_experiments(family.N, 2**family.N, derived_seed(seed, k, 1))
        total = unseen = 0.0
        for share in shares:
            spins = order[: round(share * family.count)]
            learned = inference.fit(family, spins, truth.energy(spins)).theory
            left = 2**family.N - len(spins)
            total += left * inference.unseen_error(learned, truth, spins)
            unseen += left
        found[k] = total / unseen
    return found


def recovery(family: Family, draws: int, seed: int) -> Row:
    """The smallest number of experiments, as drawn, that gives the couplings, over the number of couplings."""
    found = [inference.experiments_needed(family, derived_seed(seed, k)) for k in range(draws)]
    ratio = np.array([each.experiments for each in found]) / family.count
    independent = np.array([each.independent for each in found]) / family.count
    before = np.array([each.without_last for each in found])
    low, high = median_interval(ratio)
    return {
        "class": family.name,
        "N": family.N,
        "parameters": family.count,
        "draws": draws,
        "median": float(np.median(ratio)),
        "median_interval": [low, high],
        "mean": float(ratio.mean()),
        "at_once": float((ratio == 1.0).mean()),
        "independent": [float(independent.min()), float(independent.max())],
        "rank_short_before": bool((before < family.count).all()),
    }
