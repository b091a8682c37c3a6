"""Covering times: after how long a disturbance at one spin has reached all of N, model by model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from repflow.blocks import derived_seed
from repflow.experiments.spreading.light_cone import THRESHOLD

if TYPE_CHECKING:
    from repflow.theories.quantum.covering import Exponent
    from repflow.theories.quantum.hamiltonian import ComplexArray, SpinHamiltonian

#: Told what begins now, and its number of spins.
Tick = Callable[[str, int], None]
#: Other values of C at which the local chain is looked at too.
OTHER_THRESHOLDS = (0.25, 0.75)
#: Interactions of up to this many spins in the k-local model.
K = 2


@dataclass
class Scan:
    """Covering times of one model: log t by size and instance, at each threshold."""

    sizes: list[int] = field(default_factory=list)
    log_times: dict[float, list[list[float]]] = field(default_factory=dict)

    def add(self, N: int, found: Sequence[Mapping[float, float]]) -> None:
        """Take in the instances of one size."""
        self.sizes.append(N)
        for level in found[0]:
            self.log_times.setdefault(level, []).append([math.log(times[level]) for times in found])

    def fit(self, threshold: float = THRESHOLD) -> Exponent:
        """The exponent at one threshold."""
        from repflow.theories.quantum.covering import fit_exponent

        return fit_exponent(self.sizes, self.log_times[threshold])


def scan_sizes(name: str, instances: Mapping[int, int], states: int, seed: int, tick: Tick) -> Scan:
    """Covering times of one model, at each N that many instances."""
    from repflow.theories import KLocal, Local
    from repflow.theories.quantum.covering import covering_time
    from repflow.theories.quantum.hamiltonian import generic_matrix, ising_chain, random_hamiltonian

    def ring(N: int, number: int) -> SpinHamiltonian:
        return ising_chain(N, periodic=True).normalised()

    make: Mapping[str, tuple[Callable[[int, int], SpinHamiltonian | ComplexArray], float]] = {
        "local": (ring, 0.5),
        "k-local": (lambda N, number: random_hamiltonian(KLocal(N, K), number), 0.5),
        "generic": (generic_matrix, 0.25),
        "local, random": (lambda N, number: random_hamiltonian(Local((N,)), number), 0.5),
    }
    build, step = make[name]
    model, scan, start = 1 + list(make).index(name), Scan(), 0.0
    for N, count in instances.items():
        found = []
        for index in range(count):
            tick(f"{name}, {N} spins", N)
            number = derived_seed(seed, model, N, index)
            once = covering_time(
                build(N, number),
                step=step,
                start=start,
                thresholds=(THRESHOLD, *OTHER_THRESHOLDS) if name == "local" else (THRESHOLD,),
                # The Ising ring is its own mirror image.
                targets=range(1, N // 2 + 1) if name == "local" else None,
                states=states,
                seed=number,
            )
            found.append(once.times)
        if name == "local":
            # A longer ring is not covered sooner; covering_time checks that.
            start = min(found[0].values())
        scan.add(N, found)
    return scan


def scan_squares(shapes: Sequence[tuple[int, int]], states: int, seed: int, tick: Tick) -> Scan:
    """Covering times of the mixed-field Ising model on tori of these shapes."""
    from repflow.theories import Local
    from repflow.theories.quantum.covering import covering_time
    from repflow.theories.quantum.hamiltonian import ising

    scan = Scan()
    for rows, columns in shapes:
        N = rows * columns
        tick(f"square lattice {rows} x {columns}", N)
        # One quarter of the torus: the rest are its mirror images.
        targets = [r * columns + c for r in range(rows // 2 + 1) for c in range(columns // 2 + 1) if r + c > 0]
        hamiltonian = ising(N, Local((rows, columns)).terms).normalised()
        once = covering_time(hamiltonian, step=0.5, targets=targets, states=states, seed=derived_seed(seed, 9, N))
        scan.add(N, [once.times])
    return scan


def spread(logs: Sequence[float]) -> float | None:
    """Standard error of the mean; None for one instance."""
    return float(np.std(logs, ddof=1) / math.sqrt(len(logs))) if len(logs) > 1 else None
