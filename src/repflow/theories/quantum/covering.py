"""Covering time: when a disturbance at one spin has reached all others.

It is the first time at which the smallest of C_ij(t) over the other spins j (:mod:`.otoc`, averaged over Pauli matrices
at both ends) reaches 1/2, half of the value of a scrambled operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from repflow.theories.quantum.evolution import Evolution
from repflow.theories.quantum.hamiltonian import ComplexArray, FloatArray, SpinHamiltonian
from repflow.theories.quantum.otoc import otoc

#: Half of the value of a scrambled operator.
THRESHOLD = 0.5
#: Up to this many spins the trace is taken over all states instead of random ones.
EXACT_SPINS = 8


@dataclass(frozen=True)
class Covering:
    """One covering time.

    Attributes
    ----------
    times
        By threshold: when the least reached spin got there.
    last
        The spin that was reached last, by threshold.
    evaluations
        Number of times at which the correlators were computed.
    """

    times: dict[float, float]
    last: dict[float, int]
    evaluations: int


def covering_time(
    hamiltonian: SpinHamiltonian | ComplexArray,
    source: int = 0,
    *,
    thresholds: Sequence[float] = (THRESHOLD,),
    step: float = 0.25,
    horizon: float = 30.0,
    start: float = 0.0,
    targets: Sequence[int] | None = None,
    states: int = 4,
    seed: int = 0,
    tolerance: float = 2e-3,
) -> Covering:
    """When the disturbance has reached every other spin, for one threshold or more.

    The smallest C_ij(t) is followed in steps and its first crossing of each threshold is bracketed and refined by
    Brent's method.

    Parameters
    ----------
    hamiltonian
        As for :class:`Evolution`; take a normalised one, since times are in units of 1/J.
    source
        The spin that is disturbed.
    thresholds
        Between 0 and 1.
    step
        Distance of the times that are looked at first.
    horizon
        Latest time.
    start
        A time at which no threshold is reached yet, to save the steps before; checked.
    targets
        Spins to reach; None for all others. A symmetry may make some of them enough.
    states, seed
        Random states beyond eight spins (below, the trace is exact), and their seed.
    tolerance
        Relative accuracy of the times.

    Raises
    ------
    ValueError
        A threshold, step or horizon is out of range; or the disturbance hasn't covered the system by the horizon.
    MemoryError
        The states or matrices don't fit.
    """
    levels = sorted(float(level) for level in thresholds)
    if not levels or levels[0] <= 0 or levels[-1] >= 1:
        raise ValueError(f"thresholds must lie strictly between 0 and 1, got {list(thresholds)}")
    if not 0 < step <= horizon < math.inf:
        raise ValueError(f"step must be positive and at most the horizon, got step {step} and horizon {horizon}")
    evolution = Evolution(hamiltonian)
    if evolution.N < 2:
        raise ValueError("a system to cover must have 2 spins or more, got 1")
    number = None if evolution.N <= EXACT_SPINS else states
    count = 0

    def correlators(t: float) -> FloatArray:
        nonlocal count
        count += 1
        return otoc(evolution, source, [t], targets=targets, states=number, seed=seed).values[0]

    reached = tuple(j for j in range(evolution.N) if j != source) if targets is None else tuple(targets)
    times: dict[float, float] = {}
    last: dict[float, int] = {}
    before, now = 0.0, max(start, step)
    low = 0.0
    while True:
        values = correlators(now)
        high = float(values.min())
        if before == 0.0 and start > 0 and high >= levels[0]:
            # The start was too late: begin at the beginning.
            start, now = 0.0, step
            continue
        for level in levels:
            if level not in times and low < level <= high:
                times[level] = _crossing(
                    lambda t: float(correlators(t).min()), (before, low), (now, high), level, tolerance
                )
                last[level] = reached[int(values.argmin())]
        if len(times) == len(levels):
            return Covering(times, last, count)
        before, low, now = now, high, now + step
        if now > horizon:
            raise ValueError(
                f"after a time of {horizon} the least C is {high:.3f}, below {levels[-1]}; use a later horizon or a "
                "lower threshold"
            )


def _crossing(
    value: Callable[[float], float],
    left: tuple[float, float],
    right: tuple[float, float],
    level: float,
    tolerance: float,
) -> float:
    """Where a function that is known at both ends crosses a level between them."""
    from scipy.optimize import brentq

    known = {left[0]: left[1], right[0]: right[1]}
    if right[1] == level:
        return right[0]

    def above(t: float) -> float:
        if t not in known:
            known[t] = value(t)
        return known[t] - level

    return float(brentq(above, left[0], right[0], xtol=tolerance * right[0], rtol=1e-12))


@dataclass(frozen=True)
class Exponent:
    """t ~ N^p, fitted over sizes.

    Attributes
    ----------
    value, low, high
        p and its 95% interval.
    amplitude
        t = amplitude * N^p.
    linear, logarithmic, power
        R^2 of straight lines of t against N and against log N, and of log t against log N.
    """

    value: float
    low: float
    high: float
    amplitude: float
    linear: float
    logarithmic: float
    power: float


def fit_exponent(sizes: Sequence[int], log_times: Sequence[Sequence[float]]) -> Exponent:
    """The exponent of the covering time: least squares of the mean of log t over instances against log N.

    Two half-widths are computed and the larger one is kept: that of the scatter of the sizes around the line (Student's
    t with two degrees of freedom less than sizes), which also sees a bent curve; and that which the standard errors of
    the means over instances imply.

    Parameters
    ----------
    sizes
        N, three or more.
    log_times
        For each N, log t of one instance or more.

    Raises
    ------
    ValueError
        Fewer than three sizes, or lengths that differ.
    """
    from scipy.stats import norm, t

    if len(sizes) < 3 or len(sizes) != len(log_times):
        raise ValueError(f"an exponent needs three sizes or more, each with its times; got {len(sizes)} sizes")
    n = np.asarray(sizes, dtype=np.float64)
    x = np.log(n)
    y = np.array([np.mean(entry) for entry in log_times])
    variance = np.array([np.var(entry, ddof=1) / len(entry) if len(entry) > 1 else 0.0 for entry in log_times])
    centred = x - x.mean()
    total = float(centred @ centred)
    slope = float(centred @ y) / total
    residual = y - y.mean() - slope * centred
    scatter = float(t.ppf(0.975, len(n) - 2)) * math.sqrt(float(residual @ residual) / (len(n) - 2) / total)
    draws = float(norm.ppf(0.975)) * math.sqrt(float(centred**2 @ variance)) / total
    half = max(scatter, draws)
    times = np.exp(y)
    return Exponent(
        value=slope,
        low=slope - half,
        high=slope + half,
        amplitude=math.exp(float(y.mean() - slope * x.mean())),
        linear=r_squared(n, times),
        logarithmic=r_squared(x, times),
        power=r_squared(x, y),
    )


def r_squared(x: FloatArray, y: FloatArray) -> float:
    """Share of the variance of y that a straight line in x explains; 1 where y does not vary."""
    spread = float(((y - y.mean()) ** 2).sum())
    if spread == 0:
        return 1.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)
