"""The light cone of an open chain: when a disturbance at its end reaches each spin, and the Lieb-Robinson bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import derived_seed

if TYPE_CHECKING:
    from repflow.theories.quantum.light_cone import Front

FloatArray = NDArray[np.float64]

#: C at which a spin counts as reached, of 1 when scrambled.
THRESHOLD = 0.5
#: A bound below this is not compared with C, which rounding holds at about 1e-30.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Cone:
    """The light cone of the open chain."""

    times: FloatArray
    values: FloatArray  # (T, N - 1): C by time and distance
    arrivals: FloatArray  # (N - 1,)
    errors: FloatArray
    front: Front
    lieb_robinson: float
    bound_arrivals: FloatArray
    violations: int


def follow_front(N: int, step: float, states: int, seed: int) -> Cone:
    """C of the end spin of an open chain of N spins at times ``step`` apart, and the bound on it."""
    from repflow.theories.quantum.evolution import Evolution
    from repflow.theories.quantum.hamiltonian import ising_chain
    from repflow.theories.quantum.light_cone import (
        arrival_times,
        chain_lieb_robinson_velocity,
        fit_front,
        lieb_robinson_bound,
    )
    from repflow.theories.quantum.otoc import otoc

    chain = ising_chain(N).normalised()
    times: FloatArray = step * np.arange(1.0, int(1.6 * N / step) + 1)
    found = otoc(Evolution(chain), 0, times, W="z", states=states, seed=derived_seed(seed, 0, N))
    each = np.array([arrival_times(times, sample, THRESHOLD) for sample in found.samples])
    errors = each.std(axis=0, ddof=1) / math.sqrt(len(each))
    arrivals = arrival_times(times, found.values, THRESHOLD)
    bounds = [
        np.mean([lieb_robinson_bound(chain, ("z", (0,), 1.0), (v, (r,), 1.0), times) for v in "xyz"], axis=0)
        for r in range(1, N)
    ]
    bound = np.stack(bounds, axis=1)
    # Links share one coupling and spins one field, so that the first of each will do.
    J = next(abs(J) for letters, _, J in chain.terms if letters == "zz")
    local_field = math.hypot(*(J for letters, sites, J in chain.terms if sites == (0,)))
    return Cone(
        times=times,
        values=found.values,
        arrivals=arrivals,
        errors=errors,
        # The far end has one neighbour only and is reached later.
        front=fit_front(np.arange(1, N - 1), arrivals[:-1], np.nan_to_num(errors[:-1])),
        lieb_robinson=chain_lieb_robinson_velocity(J, local_field),
        bound_arrivals=arrival_times(np.append(0.0, times), np.vstack([np.zeros(N - 1), bound]), THRESHOLD),
        violations=int(((found.values > bound) & (bound > _ROUNDING)).sum()),
    )
