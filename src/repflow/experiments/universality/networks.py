"""Networks of several members of the class at one L/n, against the limit that all share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.gram_chain import simulate
from repflow.experiments.registry import Tell

FloatArray = NDArray[np.float64]


#: L/n of the ensembles, and which activations have one.
RATIO = 0.25
MEASURED = ("tanh", "sin", "erf", "arctan")


@dataclass(frozen=True)
class Ensemble:
    """Var G/K^2 of the networks of one activation and width, at several L/n up to RATIO, with the limit of all.

    ``mean`` is alpha L E[G] at the last, ``mean_stderr`` its error and ``mean_limit`` the limit of all.
    """

    name: str
    width: int
    hidden: tuple[int, ...]
    value: FloatArray
    stderr: FloatArray
    limit: FloatArray
    mean: float
    mean_stderr: float
    mean_limit: float


def sample_networks(widths: Sequence[int], networks: int, seed: int, tell: Tell) -> list[Ensemble]:
    """Var G/K^2 of every activation of MEASURED at every hidden width, to L/n = RATIO."""
    from repflow.criticality import critical, double_scaling, typical_behaviour

    points = {}
    for name in MEASURED:
        point = critical(name)
        assert point.coefficient is not None
        points[name] = float(np.asarray(point.C_W)), 1.0 / point.coefficient  # K ~ 1/(alpha l)
    found = []
    for number, n in enumerate(widths):
        last = round(RATIO * n)
        kept = tuple(sorted({max(1, round(last * share)) for share in (0.125, 0.25, 0.5, 0.75, 1.0)}))
        laws = double_scaling([max(0.01, h / n) for h in kept])
        limit = np.array([law.variance for law in laws])
        for index, name in enumerate(MEASURED):
            tell(f"{name}, n = {n}", 0.4 + 0.6 * number / len(widths))
            C_W, alpha = points[name]
            path = typical_behaviour(name, C_W, 0.0, 1.0, last + 1)
            response = (path.chi_parallel * path.kernel)[:-1] / path.kernel[1:]
            layers = [h + 1 for h in kept]
            chains = simulate(name, C_W, 0.0, 1.0, n, layers, networks, (seed, 31, number, index), response)
            pairs = [chains.relative_variance(row, float(path.kernel[h])) for row, h in enumerate(kept)]
            value, error = np.array(pairs).T
            unit = alpha * (last + 1)
            mean, mean_error = chains.mean(len(kept) - 1, lambda g: g)
            found.append(Ensemble(name, n, kept, value, error, limit, unit * mean, unit * mean_error, laws[-1].mean))
    return found


def spread_of(entries: Sequence[Ensemble]) -> tuple[float, float]:
    """log of the largest over the smallest alpha L E[G], with its standard error."""
    values, errors = [e.mean for e in entries], [e.mean_stderr / e.mean for e in entries]
    top, bottom = int(np.argmax(values)), int(np.argmin(values))
    return math.log(values[top] / values[bottom]), math.hypot(errors[top], errors[bottom])
