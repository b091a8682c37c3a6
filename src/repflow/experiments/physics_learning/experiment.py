"""A theory is learned from as many experiments as it has couplings: few where it is sparse, all 2^N where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import derived_seed
from repflow.experiments.fits import Line, common_slope, power_law, straight_line
from repflow.experiments.intervals import mean_interval
from repflow.experiments.physics_learning import noise_free, samples, structure
from repflow.experiments.physics_learning.figure import figure, table
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict
from repflow.theories import Family, Generic, KLocal, Local, TranslationInvariant

FloatArray = NDArray[np.float64]
Row = dict[str, Any]

CLAIM = (
    "A theory of spins is learned from as many experiments as it has couplings, the rest of its 2^N energies are then "
    "predicted, and which couplings and which class it has are learned with it; a generic one is only memorised."
)
#: Accepted: experiments over parameters; the error of a memoriser; experiments for l1 over s log M; powers of the
#: inverse Ising error and of the gain; the share of classes picked.
THRESHOLD, MEMORISED, LEAST_R_SQUARED = (0.995, 1.005), (0.95, 1.05), 0.9
SPARSE_SLOPE, ISING_POWER, GAIN_POWER, PICKED = (2 / 3, 3 / 2), (-0.55, -0.45), (0.85, 1.15), (0.95, 1.0)
#: Relative square errors below this are rounding.
ZERO = 1e-12
SHAPE, RECOVERY_SHAPE = (3, 3), (6, 6)
MEMORY_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Plan:
    """How much is drawn."""

    curve_draws: tuple[int, int, int, int]
    memory_draws: int
    recovery_draws: int
    sparse_spins: tuple[tuple[int, int], ...]  # each with its draws
    sparse_nonzero: tuple[int, ...]
    ising_samples: tuple[int, ...]
    ising_repeats: int
    gain_links: tuple[int, ...]
    gain_samples: int
    gain_couplings: tuple[int, int]
    picked_draws: tuple[int, int, int, int]


_SIZES: dict[Size, Plan] = {
    "small": Plan(
        (50, 20, 10, 2),
        6,
        20,
        ((12, 6), (16, 6), (23, 6)),
        (2, 4),
        (1000, 3000, 10_000, 30_000),
        6,
        (4, 8, 16, 32),
        300,
        (100, 200),
        (100, 100, 80, 20),
    ),
    "default": Plan(
        (200, 100, 60, 8),
        20,
        60,
        ((12, 24), (16, 24), (23, 24), (32, 24), (45, 12)),
        (2, 4, 8),
        (1000, 3000, 10_000, 30_000, 100_000),
        20,
        (4, 8, 16, 32, 64),
        300,
        (700, 1500),
        (200, 200, 200, 100),
    ),
    "large": Plan(
        (400, 400, 200, 24),
        60,
        400,
        ((12, 200), (16, 200), (23, 100), (32, 60), (45, 40), (64, 24)),
        (2, 4, 8, 16),
        (1000, 3000, 10_000, 30_000, 100_000, 300_000),
        60,
        (4, 8, 16, 32, 64, 128),
        300,
        (4000, 10_000),
        (1000, 1000, 1000, 400),
    ),
}


@experiment("physics-learning", CLAIM)
def physics_learning(size: Size, seed: int, tell: Tell) -> Outcome:
    """Learn random theories of spins, of four classes and with one-body terms, from experiments.

    An experiment is a configuration drawn at random and its energy, without noise. The fit is least squares of least
    norm; its error is the mean square on configurations not seen, over the variance. All intervals are of 95%.

    Rule: six parts, each "agrees" where its interval lies in the accepted range, "disagrees" where outside, else
    "inconclusive".
    (1) Threshold: the smallest number of experiments as drawn that gives all couplings to 1e-7, over their number P,
    for translation-invariant and local on 6 x 6 and for 2-local with N = 16; the median's interval within
    [0.995, 1.005] for each. It also disagrees unless the independent ones among them were P in every draw, and the
    couplings were missed with fewer; and unless, N = 9, the error on the unseen is below 1e-12 from P independent
    experiments on for the three classes, and above it before. (2) Memorising: for generic theories, N = 9, the error
    on the unseen with 0.1 P to 0.9 P experiments, each unseen configuration counted once, within [0.95, 1.05].
    (3) l1: s couplings are not 0 among the M pairs of N spins; n is the mean smallest number of experiments from which
    basis pursuit finds them. n = a_s + c s log M is fitted, one c and an offset for each s, since the number of
    supports, about M^s/s!, has another dependence on s alone; c within [2/3, 3/2], that is about s log M, and
    "inconclusive" unless log M explains 0.9 of what varies at given s (R^2, weighted).
    (4) Inverse Ising: the exponent of the error of the couplings against the number of samples, mean over theories on
    3 x 4, within [-0.55, -0.45]. (5) Sharing: the exponent of the ratio of mean square errors, a coupling for each link
    over one for all, on a uniform open chain, against the number of links, within [0.85, 1.15]. (6) Class: among the
    four, N = 9, from 2 P experiments drawn with repetition, the true one is picked with a probability (Clopper-Pearson)
    of at least 0.95, for each class.
    "agrees" where all agree, "disagrees" where one disagrees, else "inconclusive".
    """
    plan = _SIZES[size]
    families = four_families(SHAPE)

    def portion(first: float, last: float) -> Callable[[str, float], None]:
        return lambda message, share: tell(message, first + (last - first) * share)

    tell("error on the unseen", 0.0)
    curves = [
        row
        for k, (family, draws) in enumerate(zip(families, plan.curve_draws, strict=True))
        for row in noise_free.unseen_curve(family, draws, derived_seed(seed, 0, k))
    ]
    tell("generic theories", 0.1)
    memory = noise_free.memorisation(families[-1], plan.memory_draws, derived_seed(seed, 1), MEMORY_SHARES)
    tell("threshold", 0.15)
    recovered = [
        noise_free.recovery(family, plan.recovery_draws, derived_seed(seed, 2, k))
        for k, family in enumerate((*_recovery_families(), *families[:-1]))
    ]
    sparse = structure.sparse_thresholds(
        plan.sparse_spins, plan.sparse_nonzero, derived_seed(seed, 3), portion(0.2, 0.6)
    )
    measured, expected = samples.inverse_ising(
        (3, 4), plan.ising_samples, plan.ising_repeats, derived_seed(seed, 4), portion(0.6, 0.7)
    )
    gain = samples.sharing_gain(
        plan.gain_links, plan.gain_samples, plan.gain_couplings, derived_seed(seed, 5), portion(0.7, 0.85)
    )
    picked = structure.identification(families, plan.picked_draws, derived_seed(seed, 6), portion(0.85, 1.0))
    found = (
        threshold_part(recovered[:3], curves),
        memory_part(memory),
        sparse_part(sparse),
        ising_part(np.array(plan.ising_samples, dtype=np.float64), measured, expected),
        gain_part(gain),
        class_part(picked),
    )
    numbers = {name: value for _, part in found for name, value in part.items()}
    numbers["threshold_at_nine_spins"] = recovered[3:]
    tell("verdict", 1.0)
    ising = _ising_rows(plan.ising_samples, measured, expected)
    return Outcome(
        verdict=combined_verdict([verdict for verdict, _ in found]),
        numbers=numbers,
        table=table(curves, sparse, ising, gain),
        figure=figure(curves, sparse, ising, gain, numbers),
        configuration={
            "shape": list(SHAPE),
            "couplings": {family.name: family.count for family in families},
            **{name: list(value) if isinstance(value, tuple) else value for name, value in vars(plan).items()},
        },
    )


def four_families(shape: tuple[int, ...]) -> tuple[Family, ...]:
    """One of each class on one lattice, with one-body terms, so that no two configurations have the same energy."""
    N = math.prod(shape)
    return (
        TranslationInvariant(shape, fields=True),
        Local(shape, fields=True),
        KLocal(N, 2, fields=True),
        Generic(N, fields=True),
    )


def _recovery_families() -> tuple[Family, ...]:
    """Larger than nine spins: few rows of +-1 of a small matrix are dependent by chance, hardly any of a large one."""
    return (
        TranslationInvariant(RECOVERY_SHAPE, fields=True),
        Local(RECOVERY_SHAPE, fields=True),
        KLocal(16, 2, fields=True),
    )


def threshold_part(recovered: Sequence[Row], curves: Sequence[Row]) -> tuple[Verdict, Row]:
    """Experiments over parameters at recovery, and the error on the unseen before and after."""
    verdicts = [interval_verdict(row["median_interval"][0], row["median_interval"][1], THRESHOLD) for row in recovered]
    known = [row for row in curves if row["class"] != "generic"]
    after = max(row["largest"] for row in known if row["share"] >= 1.0)
    before = min(row["error"] for row in known if row["share"] < 1.0)
    exact = all(row["independent"] == [1.0, 1.0] and row["rank_short_before"] for row in recovered)
    if not exact or after > ZERO or before <= ZERO:
        verdicts.append("disagrees")
    verdict = combined_verdict(verdicts)
    return verdict, {
        "threshold_verdict": verdict,
        "threshold_accepted": list(THRESHOLD),
        "threshold": list(recovered),
        "unseen_error_before": before,
        "unseen_error_after": after,
    }


def memory_part(errors: FloatArray) -> tuple[Verdict, Row]:
    """The error of generic theories before the experiments run out."""
    mean, *interval = mean_interval(errors)
    verdict = interval_verdict(interval[0], interval[1], MEMORISED)
    return verdict, {
        "memory_verdict": verdict,
        "memory_error": mean,
        "memory_interval": interval,
        "memory_accepted": list(MEMORISED),
    }


def sparse_part(rows: Sequence[Row]) -> tuple[Verdict, Row]:
    """How the l1 threshold grows with s and M."""
    from scipy.special import gammaln

    s, M, n, error = (
        np.array([float(row[name]) for row in rows]) for name in ("nonzero", "candidates", "experiments", "stderr")
    )
    error = np.maximum(error, 0.5 / np.sqrt(12))  # draws that agree by chance still are whole numbers
    fit = common_slope(s.astype(int).tolist(), s * np.log(M), n, error)
    verdict = interval_verdict(*fit.interval, SPARSE_SLOPE)
    if verdict == "agrees" and fit.r_squared < LEAST_R_SQUARED:
        verdict = "inconclusive"
    by_nonzero = {}
    for each in np.unique(s):
        alone = straight_line(np.log(M[s == each]), n[s == each])
        by_nonzero[str(int(each))] = {"offset": alone.offset, "slope_over_s": alone.slope / float(each)}
    power = power_law(s * np.log(M / s), n, error)
    return verdict, {
        "sparse_verdict": verdict,
        "sparse_accepted": list(SPARSE_SLOPE),
        "sparse_slope": fit.slope,
        "sparse_interval": list(fit.interval),
        "sparse_r_squared": fit.r_squared,
        "sparse_by_nonzero": by_nonzero,
        "sparse_line_in_s_log_M": _line(straight_line(s * np.log(M), n)),
        "sparse_line_in_s_log_M_over_s": _line(straight_line(s * np.log(M / s), n)),
        "sparse_line_in_log_supports": _line(straight_line(gammaln(M + 1) - gammaln(s + 1) - gammaln(M - s + 1), n)),
        "sparse_exponent_in_s_log_M_over_s": power.exponent,
        "sparse_exponent_interval": list(power.interval),
    }


def ising_part(samples: FloatArray, measured: FloatArray, expected: FloatArray) -> tuple[Verdict, Row]:
    """The power of the number of samples; a slope for each theory, so that their sizes do not matter."""
    slopes = np.polyfit(np.log(samples), np.log(measured).T, 1)[0]
    mean, *interval = mean_interval(slopes)
    verdict = interval_verdict(interval[0], interval[1], ISING_POWER)
    ratio = np.sqrt((measured**2).mean(axis=1) / (expected**2).mean(axis=1))
    over, *ends = mean_interval(ratio)
    return verdict, {
        "ising_verdict": verdict,
        "ising_exponent": mean,
        "ising_interval": interval,
        "ising_accepted": list(ISING_POWER),
        "ising_over_expected": over,
        "ising_over_expected_interval": ends,
    }


def gain_part(rows: Sequence[Row]) -> tuple[Verdict, Row]:
    """The power of the number of links with which sharing gains."""
    links, ratio, error = (np.array([float(row[name]) for row in rows]) for name in ("links", "ratio", "stderr"))
    power = power_law(links, ratio, error)
    verdict = interval_verdict(*power.interval, GAIN_POWER)
    return verdict, {
        "gain_verdict": verdict,
        "gain_exponent": power.exponent,
        "gain_interval": list(power.interval),
        "gain_accepted": list(GAIN_POWER),
        "gain_per_link": (ratio / links).tolist(),
        "gain": list(rows),
    }


def class_part(rows: Sequence[Row]) -> tuple[Verdict, Row]:
    """The share of draws in which the true class was picked."""
    verdict = combined_verdict([interval_verdict(row["interval"][0], row["interval"][1], PICKED) for row in rows])
    return verdict, {"class_verdict": verdict, "class_accepted": list(PICKED), "class": list(rows)}


def _line(line: Line) -> Row:
    return {
        "offset": line.offset,
        "slope": line.slope,
        "slope_interval": list(line.interval),
        "r_squared": line.r_squared,
    }


def _ising_rows(samples: Sequence[int], measured: FloatArray, expected: FloatArray) -> list[Row]:
    root = np.sqrt((measured**2).mean(axis=0))
    error = (measured**2).std(axis=0, ddof=1) / np.sqrt(len(measured)) / (2 * root)
    theory = np.sqrt((expected**2).mean(axis=0))
    return [
        {"samples": n, "error": float(a), "stderr": float(b), "expected": float(c)}
        for n, a, b, c in zip(samples, root, error, theory, strict=True)
    ]
