"""What the thermalisation experiment measures, one function a part, and its statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import generator
from repflow.theories import quantum as qm

FloatArray = NDArray[np.float64]

#: First period of the averages, early periods that are drawn, and the times of the form factor over 2^N.
START, EARLY, REACH = 32, 24, 4
#: Direction of every spin in the state whose magnetisation is drawn: 2.2 from +z, in the plane of y and z.
TILTED = (0.0, math.sin(2.2), math.cos(2.2))
#: Times of that drawing, and those at which fluctuations are measured beside their formula.
TIMES, LATE = np.linspace(0.0, 20.0, 101), (100.0, 10_000.0, 200)
# Names of the random streams.
_STATIC, _CHAIN, _STATE, _HAAR, _LEVELS, _ROTATION, _LATE = range(1, 8)
# Amplitudes whose reductions are taken at once.
_CHUNK = 2**18


@dataclass(frozen=True)
class Slope:
    """A straight line through points at N, by least squares, with the 95% interval of its slope from their scatter."""

    slope: float
    low: float
    high: float
    intercept: float

    @property
    def interval(self) -> list[float]:
        """The 95% interval."""
        return [self.low, self.high]


def fit_slope(N: ArrayLike, values: ArrayLike) -> Slope:
    """The slope of log2 of positive values against N; Student's t with the number of points less two.

    Raises
    ------
    ValueError
        There are fewer than three points, or a value is not positive.
    """
    from scipy.stats import t as student

    x, y = np.asarray(N, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 3:
        raise ValueError(f"values must hold three numbers or more, one for each N, got {y.shape} and {x.shape}")
    if not (y > 0).all():
        raise ValueError("values must be positive")
    centred, log = x - x.mean(), np.log2(y)
    slope = float(centred @ log / (centred @ centred))
    rest = log - log.mean() - slope * centred
    error = math.sqrt(float(rest @ rest) / (len(x) - 2) / float(centred @ centred))
    half = float(student.ppf(0.975, len(x) - 2)) * error
    return Slope(slope, slope - half, slope + half, float(log.mean() - slope * x.mean()))


def mean_interval(values: ArrayLike) -> tuple[float, float, float]:
    """Mean, and the ends of its 95% interval by Student's t, of independent numbers."""
    from scipy.stats import t as student

    found = np.asarray(values, dtype=np.float64)
    half = float(student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found)))
    return float(found.mean()), float(found.mean()) - half, float(found.mean()) + half


@dataclass(frozen=True)
class Equilibrated:
    """A static chain of N spins; z of its middle spin.

    Attributes
    ----------
    fluctuation, gap, deviation
        Root mean squares over initial states: temporal fluctuation, time average less thermal value, initial value less
        thermal value.
    beta
        Root mean square inverse temperature.
    dimension
        Mean effective dimension.
    curve, diagonal, thermal
        The tilted state: z at :data:`TIMES`, its time average, its thermal value.
    formula, measured
        The tilted state: the fluctuation by formula, and from random late times.
    """

    N: int
    fluctuation: float
    gap: float
    deviation: float
    beta: float
    dimension: float
    curve: FloatArray
    diagonal: float
    thermal: float
    formula: float
    measured: float


def equilibrate(N: int, products: int, seed: int) -> Equilibrated:
    """Diagonalise the mixed-field Ising chain and follow z of the middle spin from random product states."""
    dynamics = qm.ExactDynamics(qm.ising_chain(N).dense())
    observable = qm.SpinHamiltonian(N, (("z", (N // 2,), 1.0),)).sparse().real
    rng = generator(seed, _STATIC, N)
    tilted = qm.product_state([TILTED] * N)
    states = np.stack([tilted, *(qm.product_state(qm.random_directions(N, rng)) for _ in range(products))])
    found = dynamics.equilibrium(observable, states)
    z = observable.diagonal()
    low, high, count = LATE
    late = generator(seed, _LATE, N).uniform(low, high, size=int(count))
    curve, late_curve = ((np.abs(dynamics.evolve(tilted, times)) ** 2) @ z for times in (TIMES, late))

    def rms(values: FloatArray) -> float:
        return float(np.sqrt(np.mean(values[1:] ** 2)))  # the first state is the tilted one

    return Equilibrated(
        N=N,
        fluctuation=rms(found.fluctuation),
        gap=rms(found.diagonal - found.thermal),
        deviation=rms(found.initial - found.thermal),
        beta=rms(found.beta),
        dimension=float(found.effective_dimension[1:].mean()),
        curve=curve,
        diagonal=float(found.diagonal[0]),
        thermal=float(found.thermal[0]),
        formula=float(found.fluctuation[0]),
        measured=float(np.sqrt(np.mean((late_curve - found.diagonal[0]) ** 2))),
    )


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


@dataclass(frozen=True)
class Counted:
    """The static chain in its own basis and a random one, and a random matrix: couplings and shape of spectrum."""

    N: int
    own: qm.CouplingCount
    rotated: qm.CouplingCount
    generic: qm.CouplingCount
    kurtosis: float
    generic_kurtosis: float


def count(N: int, seed: int) -> Counted:
    """Expand the mixed-field Ising chain in Pauli strings, before and after a Haar-random unitary."""
    H, V = qm.ising_chain(N).dense(), qm.haar_unitary(N, generator(seed, _ROTATION, N))
    random = qm.generic_matrix(N, seed)
    own, rotated, generic = (qm.count_couplings(qm.pauli_couplings(A)) for A in (H, V @ H @ V.conj().T, random))
    return Counted(N, own, rotated, generic, qm.spectral_kurtosis(H), qm.spectral_kurtosis(random))
