"""What the experiment on physics learning measures; its verdict is made elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import generator
from repflow.theories import Family, Generic, KLocal, Local, TranslationInvariant, inference
from repflow.theories.spins import pack

FloatArray = NDArray[np.float64]
Row = dict[str, Any]
Say = Callable[[str, float], None]
#: Experiments over parameters at which the error on the unseen is measured.
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0, 1.1, 1.25, 1.5, 2.0)
#: Size of the random couplings of the inverse problem, in units of the temperature; and of the uniform chain.
COUPLING, UNIFORM = 0.4, 0.3
Z95 = 1.959964
#: All states are listed up to this many spins, for what is expected at many samples.
LISTED = 14


def four_families(shape: tuple[int, ...]) -> tuple[Family, ...]:
    """One of each class on one lattice, with one-body terms, so that no two configurations have the same energy."""
    N = math.prod(shape)
    return (
        TranslationInvariant(shape, fields=True),
        Local(shape, fields=True),
        KLocal(N, 2, fields=True),
        Generic(N, fields=True),
    )


def stream(seed: int, *key: int) -> int:
    """A seed of its own for each key."""
    return int(generator(seed, *key).integers(2**62))


def unseen_curve(family: Family, draws: int, seed: int) -> list[Row]:
    """Mean error on unseen configurations against the number of independent experiments, over draws of both.

    After ``family.count`` of them no other is independent; then any others follow.
    """
    amounts = sorted({round(share * family.count) for share in SHARES})
    amounts = [amount for amount in amounts if amount < 2**family.N]
    error = np.empty((draws, len(amounts)))
    for k in range(draws):
        truth = family.random(stream(seed, k, 0))
        first = inference.independent_experiments(family, family.count, stream(seed, k, 1))
        rest = inference.random_experiments(family.N, 2**family.N, stream(seed, k, 2))
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
        truth = family.random(stream(seed, k, 0))
        order = inference.random_experiments(family.N, 2**family.N, stream(seed, k, 1))
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
    found = [inference.experiments_needed(family, stream(seed, k)) for k in range(draws)]
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
            [inference.sparse_experiments_needed(family, s, stream(seed, N, s, draw)) for draw in range(draws)]
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
        truth = family.random(stream(seed, k), scale=COUPLING)
        spread = math.sqrt(float(np.trace(inference.pseudolikelihood_covariance(truth))) / family.count)
        for j, amount in enumerate(samples):
            seen = inference.boltzmann_samples(truth, amount, stream(seed, k, j))
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
                samples = open_chain(N, UNIFORM, amount, stream(seed, number, key, repeat))
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


def identification(families: Sequence[Family], draws: Sequence[int], seed: int, tell: Say) -> list[Row]:
    """How often each family is picked from twice as many experiments as it has couplings, drawn with repetition."""
    rows = []
    for number, (family, times) in enumerate(zip(families, draws, strict=True)):
        tell(f"which class: {family.name}", number / len(families))
        right = wrong = 0
        for k in range(times):
            truth = family.random(stream(seed, number, k, 0))
            spins = inference.random_experiments(family.N, 2 * family.count, stream(seed, number, k, 1), repeat=True)
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


@dataclass(frozen=True)
class PowerLaw:
    """y proportional to x^exponent, with the exponent's 95% interval."""

    exponent: float
    interval: tuple[float, float]


def power_law(x: FloatArray, y: FloatArray, error: FloatArray) -> PowerLaw:
    """Fit a power to points of positive y with standard errors, each (M,), M of 3 or more.

    Weighted least squares in logarithms. The interval is widened by the factor by which the points scatter more than
    their errors.
    """
    log_x, log_y, weight = np.log(x), np.log(y), (y / error) ** 2
    log_x = log_x - np.average(log_x, weights=weight)
    log_y = log_y - np.average(log_y, weights=weight)
    total = float((weight * log_x**2).sum())
    exponent = float((weight * log_x * log_y).sum()) / total
    scatter = float((weight * (log_y - exponent * log_x) ** 2).sum()) / (len(x) - 2)
    half = Z95 * math.sqrt(max(1.0, scatter) / total)
    return PowerLaw(exponent, (exponent - half, exponent + half))


@dataclass(frozen=True)
class Slope:
    """A common slope of several lines, with its 95% interval, and the share of the variance within them explained."""

    slope: float
    interval: tuple[float, float]
    r_squared: float


def common_slope(group: Sequence[int], x: FloatArray, y: FloatArray, error: FloatArray) -> Slope:
    """Fit y = a_group + c x by weighted least squares, an offset for each group; arrays (M,), errors standard.

    The interval is Student's, widened where the points scatter by more than their errors.
    """
    weight = 1.0 / error**2
    x, y = x.copy(), y.copy()
    for each in set(group):
        member = np.array([other == each for other in group])
        x[member] -= np.average(x[member], weights=weight[member])
        y[member] -= np.average(y[member], weights=weight[member])
    total = float((weight * x**2).sum())
    slope = float((weight * x * y).sum()) / total
    left, freedom = float((weight * (y - slope * x) ** 2).sum()), len(x) - len(set(group)) - 1
    half = _student(freedom) * math.sqrt(max(1.0, left / freedom) / total)
    explained = slope**2 * total
    return Slope(slope, (slope - half, slope + half), explained / (explained + left) if explained else 0.0)


@dataclass(frozen=True)
class Line:
    """y = offset + slope x by least squares, with the slope's 95% interval and the share of variance explained."""

    offset: float
    slope: float
    interval: tuple[float, float]
    r_squared: float


def straight_line(x: FloatArray, y: FloatArray) -> Line:
    """Fit a line to points, each (M,), M of 3 or more."""
    from scipy.stats import linregress

    found = linregress(x, y)
    half = _student(len(x) - 2) * float(found.stderr)
    return Line(
        float(found.intercept),
        float(found.slope),
        (float(found.slope) - half, float(found.slope) + half),
        float(found.rvalue) ** 2,
    )


def mean_interval(values: FloatArray) -> tuple[float, float]:
    """The 95% interval of a mean, by Student's t."""
    half = _student(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def median_interval(values: FloatArray) -> tuple[float, float]:
    """The 95% interval of a median between two of the values, whatever their distribution; at least 6 of them."""
    from scipy.stats import binom

    # P(fewer than j of n below the median) = P(Bin(n, 1/2) < j).
    below = max(int(binom.ppf(0.025, len(values), 0.5)), 1)
    ordered = np.sort(values)
    return float(ordered[below - 1]), float(ordered[len(values) - below])


def share_interval(right: int, draws: int) -> tuple[float, float]:
    """The 95% interval of a probability by Clopper and Pearson."""
    from scipy.stats import binomtest

    found = binomtest(right, draws).proportion_ci(confidence_level=0.95, method="exact")
    return float(found.low), float(found.high)


def _student(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
