"""The spectral form factor K(t) = <|tr U^t|^2>: when the dynamics of a chain has become that of a random matrix.

Levels that repel each other make K rise linearly, the *ramp*, until t reaches the inverse of the mean spacing of the
eigenphases, 2^N periods (the Heisenberg time). Then single levels are resolved and K stays at its *plateau* 2^N, the
value of independent phases: nothing of the spectrum is left to be seen. At early times, up to the Thouless time, K
shows how a particular chain differs from a random matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import require_memory

FloatArray = NDArray[np.float64]
Ensemble = Literal["CUE", "COE"]

#: Times in one block: the block times 2^N complex numbers are held at once.
_BLOCK = 128


def form_factor(phases: ArrayLike, times: ArrayLike) -> FloatArray:
    """|tr U^t|^2 = |sum_n e^{i t theta_n}|^2, of one realisation each.

    Parameters
    ----------
    phases
        Shape (..., D).
    times
        Whole numbers of periods, shape (T,).

    Returns
    -------
    ndarray
        Shape (..., T).
    """
    theta, t = np.asarray(phases, dtype=np.float64), np.asarray(times)
    if t.ndim != 1 or t.dtype.kind not in "iu":
        raise ValueError(f"times must be whole numbers in one axis, got {t.dtype} of shape {t.shape}")
    if theta.ndim < 1 or theta.shape[-1] < 1:
        raise ValueError(f"phases must have shape (..., D), got {theta.shape}")
    flat = theta.reshape(-1, theta.shape[-1])
    require_memory(8 * len(flat) * len(t) + 32 * _BLOCK * theta.shape[-1], "the form factor", "take fewer times")
    found = np.empty((len(flat), len(t)))
    for row, levels in zip(found, flat):
        for start in range(0, len(t), _BLOCK):
            angle = t[start : start + _BLOCK, None] * levels
            row[start : start + _BLOCK] = np.cos(angle).sum(axis=1) ** 2 + np.sin(angle).sum(axis=1) ** 2
    return found.reshape(*theta.shape[:-1], len(t))


def cue_form(tau: ArrayLike) -> FloatArray:
    """K/D of the circular unitary ensemble at t = tau D, exactly min(tau, 1) for whole t of 1 or more.

    M. L. Mehta, *Random Matrices*; F. Haake, *Quantum Signatures of Chaos*, section 4.
    """
    return np.minimum(np.asarray(tau, dtype=np.float64), 1.0)


def coe_form(tau: ArrayLike) -> FloatArray:
    """K/D of the circular orthogonal ensemble at t = tau D for large D.

    2 tau - tau log(1 + 2 tau) up to tau = 1, then 2 - tau log((2 tau + 1)/(2 tau - 1)): the ramp is twice as steep, and
    the plateau is approached as 1 - 1/(12 tau^2). F. Haake, *Quantum Signatures of Chaos*, section 4.
    """
    x = np.asarray(tau, dtype=np.float64)
    late = np.maximum(x, 1.0)
    return np.where(x < 1, 2 * x - x * np.log1p(2 * x), 2 - late * np.log((2 * late + 1) / (2 * late - 1)))


_FORMS: dict[str, Callable[[ArrayLike], FloatArray]] = {"CUE": cue_form, "COE": coe_form}


@dataclass(frozen=True)
class Plateau:
    """The time at which the ramp meets the plateau.

    Attributes
    ----------
    time
        t_H, in periods.
    log2_error
        Standard error of log2 t_H, by leaving out one realisation at a time.
    realisations
        How many there were.
    """

    time: float
    log2_error: float
    realisations: int


def plateau_time(form: ArrayLike, times: ArrayLike, dimension: int, ensemble: Ensemble = "CUE") -> Plateau:
    """Fit t_H in K(t) = D f(t/t_H), with f the form of a random matrix and D = 2^N.

    For the CUE it is a ramp that ends at t_H. tr U^t is close to a complex Gaussian number, so |tr U^t|^2 is
    exponential with mean K(t), and t_H maximises the likelihood of exponential numbers,
    -sum_t [log K(t) + |tr U^t|^2/K(t)] (Whittle's likelihood). The slope of the ramp is not assumed to be that of a
    random matrix: t_H may come out anywhere within the times given.

    Parameters
    ----------
    form
        |tr U^t|^2 of each realisation, shape (R, T) with R of 2 or more.
    times
        Positive, shape (T,).
    dimension
        D, the height of the plateau.
    ensemble
        ``"CUE"``, or ``"COE"`` under time reversal.

    Raises
    ------
    ValueError
        Shapes do not fit, there is one realisation only, or the ensemble is unknown.
    """
    K, t = np.asarray(form, dtype=np.float64), np.asarray(times, dtype=np.float64)
    if K.ndim != 2 or t.shape != K.shape[1:] or len(K) < 2:
        raise ValueError(f"form must have shape (R, T) with R of 2 or more and times (T,), got {K.shape} and {t.shape}")
    if not (t > 0).all():
        raise ValueError("times must be positive")
    if ensemble not in _FORMS:
        raise ValueError(f"ensemble must be one of {', '.join(_FORMS)}, got {ensemble!r}")
    total, R = K.sum(axis=0), len(K)
    every = _log_time(total / R, t, dimension, _FORMS[ensemble])
    left_out = np.array([_log_time((total - one) / (R - 1), t, dimension, _FORMS[ensemble]) for one in K])
    error = math.sqrt((R - 1) * float(((left_out - left_out.mean()) ** 2).mean()))
    return Plateau(math.exp(every), error / math.log(2), R)


def _log_time(K: FloatArray, t: FloatArray, dimension: int, form: Callable[[ArrayLike], FloatArray]) -> float:
    from scipy.optimize import minimize_scalar

    def loss(log_time: float) -> float:
        mean = dimension * form(t / math.exp(log_time))
        return float((np.log(mean) + K / mean).sum())

    # A grid first: the likelihood of a spectrum without a ramp has more than one maximum.
    grid = np.linspace(math.log(t.min()), math.log(t.max()), 60)
    best = int(np.argmin([loss(point) for point in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)


def ramp_time(
    form: ArrayLike, times: ArrayLike, dimension: int, ensemble: Ensemble = "CUE", level: float = 0.01
) -> int:
    """The first time from which K(t) is nowhere significantly above a random matrix's: the Thouless time as seen.

    The mean of R exponential numbers has a gamma distribution; K exceeds the ramp where this has a probability below
    ``level`` shared among the times up to D/2. More realisations see more.

    Parameters
    ----------
    form, times, dimension, ensemble
        As for :func:`plateau_time`; times ascend.

    Returns
    -------
    int
        The time after the last excess; the first of ``times`` where there is none.
    """
    from scipy.stats import gamma

    K, t = np.asarray(form, dtype=np.float64), np.asarray(times)
    early = t <= dimension / 2
    R, count = len(K), max(1, int(early.sum()))
    limit = gamma.isf(level / count, R) / R
    excess = np.flatnonzero(K.mean(axis=0)[early] > limit * dimension * _FORMS[ensemble](t[early] / dimension))
    return int(t[excess[-1]]) + 1 if excess.size else int(t[0])
