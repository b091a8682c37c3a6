"""Couplings learned from Boltzmann samples: the inverse Ising problem, and what sharing one coupling gains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import derived_seed, generator
from repflow.theories import Local, TranslationInvariant, inference

FloatArray = NDArray[np.float64]
Row = dict[str, Any]
Say = Callable[[str, float], None]
#: Size of the random couplings of the inverse problem, in units of the temperature; and of the uniform chain.
COUPLING, UNIFORM = 0.4, 0.3
#: All states are listed up to this many spins, for what is expected at many samples.
LISTED = 14


def inverse_ising(
    shape: tuple[int, ...], samples: Sequence[int], repeats: int, seed: int, tell: Say
) -> tuple[FloatArray, FloatArray]:
    """Root mean square error of the couplings, measured (repeats, sizes), and that expected at many samples.

    A repeat is a theory of its own, with samples drawn anew at each size.
    """
    family = Local(shape, fields=True)
    measured, expected = np.empty((repeats, len(samples))), np.empty((repeats, len(samples)))
    for k in range(repeats):
        tell("inverse Ising", k / repeats)
        truth = family.random(derived_seed(seed, k), scale=COUPLING)
        spread = math.sqrt(float(np.trace(inference.pseudolikelihood_covariance(truth))) / family.count)
        for j, amount in enumerate(samples):
            seen = inference.boltzmann_samples(truth, amount, derived_seed(seed, k, j))
            found = inference.pseudolikelihood(family, seen).theory.parameters
            measured[k, j] = math.sqrt(float(np.mean((found - truth.parameters) ** 2)))
            expected[k, j] = spread / math.sqrt(amount)
    return measured, expected


def open_chain(N: int, coupling: float, amount: int, seed: int) -> FloatArray:
    """(amount, N): exact samples of exp(-E)/Z for an open chain of one coupling J, however long.

    Its links s_i s_(i+1) are independent, +1 with probability 1/(1 + exp(2 J)), and the first spin is a coin.
    """
    random = generator(seed)
    steps = np.where(random.random((amount, N)) < 1.0 / (1.0 + math.exp(2.0 * coupling)), 1.0, -1.0)
    steps[:, 0] = 1.0 - 2.0 * random.integers(0, 2, amount)
    return np.asarray(np.cumprod(steps, axis=1))


def sharing_gain(links: Sequence[int], amount: int, couplings: tuple[int, int], seed: int, tell: Say) -> list[Row]:
    """Mean square error of a coupling for each link of a uniform open chain, over that of one for all of them.

    ``couplings`` has how many are learned of either kind, so that a long chain needs fewer repeats for the first.
    """
    rows = []
    for k, number in enumerate(links):
        tell(f"sharing among {number} links", k / len(links))
        N = number + 1
        shared, local = TranslationInvariant((N,), periodic=False), Local((N,), periodic=False)
        square = []
        for family, times, key in ((shared, couplings[0], 0), (local, couplings[1] // number + 2, 1)):
            found = np.empty(times)
            for repeat in range(times):
                samples = open_chain(N, UNIFORM, amount, derived_seed(seed, number, key, repeat))
                learned = inference.pseudolikelihood(family, samples).theory.parameters
                found[repeat] = np.mean((learned - UNIFORM) ** 2)
            square.append(found)
        ratio = float(square[1].mean() / square[0].mean())
        relative = math.sqrt(sum(float(np.var(each, ddof=1)) / len(each) / float(each.mean()) ** 2 for each in square))
        expected = None
        if N <= LISTED:
            by_link = inference.pseudolikelihood_covariance(local.theory(np.full(number, UNIFORM)))
            in_all = inference.pseudolikelihood_covariance(shared.theory([UNIFORM]))
            expected = float(np.trace(by_link)) / number / float(in_all[0, 0])
        rows.append({"links": number, "ratio": ratio, "stderr": ratio * relative, "expected": expected})
    return rows
