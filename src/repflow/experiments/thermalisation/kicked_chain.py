"""Kicked chains: product states against Haar-random ones, counterfactuals, and the spectral form factor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import generator
from repflow.theories import quantum as qm

FloatArray = NDArray[np.float64]

#: First period of the averages, early periods that are drawn, and the times of the form factor over 2^N.
START, EARLY, REACH = 32, 24, 4
# Names of the random streams; 1, 6 and 7 are those of the static chain.
_CHAIN, _STATE, _HAAR, _LEVELS = range(2, 6)
# Amplitudes whose reductions are taken at once.
_CHUNK = 2**18


@dataclass(frozen=True)
class Followed:
    """Kicked chains of N spins: means over periods, one entry for each realisation, shape (R,).

    Attributes
    ----------
    one, two
        Trace distance of one- and two-site reductions from the maximally mixed state, mean over all sites or pairs.
    purity
        tr rho^2 of two sites, mean over pairs.
    apart, most_apart
        Trace distance of two-site reductions from those of the counterfactual: mean, and largest over pairs.
    overlap
        Largest overlap with the counterfactual over all periods.
    early
        Largest distance over pairs from the counterfactual at periods 0 ... EARLY, (R, EARLY + 1).
    haar_one, haar_two, haar_apart, haar_most_apart
        The same of Haar-random states, as many as periods.
    haar_overlap
        Mean overlap of the evolved state with those.
    """

    N: int
    one: FloatArray
    two: FloatArray
    purity: FloatArray
    apart: FloatArray
    most_apart: FloatArray
    overlap: FloatArray
    early: FloatArray
    haar_one: FloatArray
    haar_two: FloatArray
    haar_apart: FloatArray
    haar_most_apart: FloatArray
    haar_overlap: FloatArray


def follow(N: int, realisations: int, times: int, seed: int) -> Followed:
    """Evolve product states, and each with its middle spin flipped, under kicked chains; draw Haar-random states."""
    rows = [_follow_one(N, r, times, seed) for r in range(realisations)]
    return Followed(N, **{name: np.array([row[name] for row in rows]) for name in rows[0]})


def failing_from(entry: Followed) -> int | None:
    """First period from which the largest local distance, meant over realisations, is within 1.25 of its late mean."""
    above = np.flatnonzero(entry.early.mean(axis=0) > 1.25 * entry.most_apart.mean())
    first = int(above[-1]) + 1 if above.size else 0
    return first if first < entry.early.shape[1] else None


def _follow_one(N: int, realisation: int, times: int, seed: int) -> dict[str, float | FloatArray]:
    chain = qm.kicked_ising(N, seed, _CHAIN, N, realisation)
    directions = qm.random_directions(N, generator(seed, _STATE, N, realisation))
    flipped = directions.copy()
    flipped[N // 2] *= -1
    start = np.stack([qm.product_state(directions), qm.product_state(flipped)])
    drawn = [*range(EARLY + 1), *range(START, START + times)]
    mixed: list[tuple[FloatArray, ...]] = []
    early, overlap, random_overlap = [], 0.0, []
    held: list[NDArray[np.complex128]] = []
    for number, states in enumerate(chain.evolve(start, drawn)):
        overlap = max(overlap, float(qm.overlap(*states)))
        if number <= EARLY:
            early.append(float(qm.local_distances(states[0], 2, states[1]).max()))
            continue
        haar = qm.haar_states(N, 2, seed, _HAAR, N, realisation, number).T
        random_overlap.append(float(qm.overlap(states[0], haar[0])))
        held.append(np.concatenate([states, haar]))
        if len(held) * 2**N >= _CHUNK or number == len(drawn) - 1:
            mixed.append(_measured(np.stack(held, axis=1)))
            held = []
    columns = [np.concatenate(parts).mean() for parts in zip(*mixed, strict=True)]
    names = ("one", "two", "purity", "apart", "most_apart", "haar_one", "haar_two", "haar_apart", "haar_most_apart")
    return {
        **dict(zip(names, columns, strict=True)),
        "overlap": overlap,
        "early": np.array(early),
        "haar_overlap": float(np.mean(random_overlap)),
    }


def _measured(states: NDArray[np.complex128]) -> tuple[FloatArray, ...]:
    """At each of T periods, from states (4, T, 2^N): evolved, its counterfactual, and two Haar-random ones."""
    single, pairs = qm.all_reduced(states[::2], 1), qm.all_reduced(states, 2)
    one, two = qm.trace_distance(single).mean(axis=0), qm.trace_distance(pairs[:, ::2]).mean(axis=0)
    apart = qm.trace_distance(pairs[:, ::2], pairs[:, 1::2])
    evolved = (one[0], two[0], qm.purity(pairs[:, 0]).mean(axis=0), apart[:, 0].mean(axis=0), apart[:, 0].max(axis=0))
    return (*evolved, one[1], two[1], apart[:, 1].mean(axis=0), apart[:, 1].max(axis=0))


@dataclass(frozen=True)
class Ramp:
    """Spectra of kicked chains of N spins.

    Attributes
    ----------
    plateau
        The plateau time.
    ramp_from
        The period from which no excess over a random matrix is seen.
    ratio, ratio_error
        Mean ratio of neighbouring spacings.
    t, curve, curve_error, reference
        Bins of log t: mean period, K/2^N with its standard error over realisations, and the random matrix's.
    """

    N: int
    ensemble: qm.Ensemble
    plateau: qm.Plateau
    ramp_from: int
    ratio: float
    ratio_error: float
    t: FloatArray
    curve: FloatArray
    curve_error: FloatArray
    reference: FloatArray


def ramp(N: int, realisations: int, seed: int, ensemble: qm.Ensemble = "CUE") -> Ramp:
    """The spectral form factor of kicked chains, with time reversal for the COE."""
    D, reversal = 2**N, ensemble == "COE"
    key = (_LEVELS, int(reversal), N)
    phases = np.stack(
        [
            qm.eigenphases(qm.kicked_ising(N, seed, *key, r, time_reversal=reversal).unitary())
            for r in range(realisations)
        ]
    )
    times = np.arange(1, REACH * D + 1)
    K = qm.form_factor(phases, times)
    ratios = qm.spacing_ratio(phases)
    bins = np.unique(np.geomspace(1, len(times) + 1, 6 * (N + 2)).astype(int))
    inside = [slice(low - 1, high - 1) for low, high in pairwise(bins)]
    binned = np.stack([K[:, part].mean(axis=1) for part in inside], axis=1) / D
    form = (qm.coe_form if reversal else qm.cue_form)(times / D)
    return Ramp(
        N=N,
        ensemble=ensemble,
        plateau=qm.plateau_time(K, times, D, ensemble),
        ramp_from=qm.ramp_time(K, times, D, ensemble),
        ratio=float(ratios.mean()),
        ratio_error=float(ratios.std(ddof=1) / math.sqrt(realisations)),
        t=np.array([times[part].mean() for part in inside]),
        curve=binned.mean(axis=0),
        curve_error=binned.std(axis=0, ddof=1) / math.sqrt(realisations),
        reference=np.array([form[part].mean() for part in inside]),
    )
