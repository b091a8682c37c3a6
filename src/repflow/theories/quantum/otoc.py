"""Out-of-time-order correlators: how far a disturbance at one spin is felt at another.

C_ij(t) = 1/2 <|[W_i(t), V_j]|^2> = 1 - Re <W_i(t) V_j W_i(t) V_j> at infinite temperature, for Pauli matrices W on spin
i and V on spin j: 0 while they commute, 1 once W_i(t) is scrambled. The mean over V = x, y, z is 4/3 of the weight of
those Pauli strings in W_i(t) that do not have the identity on spin j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from repflow.blocks import check_seed, require_memory
from repflow.theories.quantum.evolution import Evolution, apply_pauli, haar_states
from repflow.theories.quantum.hamiltonian import ComplexArray, FloatArray, require_dense


@dataclass(frozen=True)
class Otoc:
    """C_ij(t) by time and target.

    Attributes
    ----------
    times
        (T,).
    targets
        The spins j.
    samples
        (S, T, targets): the mean over the Pauli matrices at both ends, of each of S random states; S = 1 for the exact
        trace.
    exact
        Whether this is the trace over all states.
    """

    times: FloatArray
    targets: tuple[int, ...]
    samples: FloatArray
    exact: bool

    @property
    def values(self) -> FloatArray:
        """(T, targets): the mean over random states."""
        return self.samples.mean(axis=0)

    @property
    def stderr(self) -> FloatArray:
        """(T, targets): its standard error from the spread of the states; 0 for the trace, NaN for a single state."""
        if self.exact:
            return np.zeros_like(self.values)
        if len(self.samples) < 2:
            return np.full_like(self.values, np.nan)
        return np.asarray(self.samples.std(axis=0, ddof=1) / np.sqrt(len(self.samples)))


def otoc(
    evolution: Evolution,
    source: int,
    times: ArrayLike,
    *,
    targets: Sequence[int] | None = None,
    W: str = "xyz",
    V: str = "xyz",
    states: int | None = 4,
    seed: int = 0,
) -> Otoc:
    """C_ij(t) for one spin i and many j, averaged over Pauli matrices at both ends.

    By typicality, each random state psi gives 1/2 |(W(t) V - V W(t)) psi|^2: psi and all V_j psi are evolved to t, W
    acts, and they are evolved back. The estimate is a square, so that small C is found to a relative error of about
    2^(-N/2) over the root of the number of states.

    Parameters
    ----------
    evolution
        The dynamics.
    source
        The spin i that is disturbed.
    times
        (T,), in order; forward evolution goes from each to the next.
    targets
        The spins j; None for all but the source.
    W, V
        Letters of Pauli matrices to average over, at the source and at the targets.
    states
        Number of Haar-random states; None for the trace over all 2^N by dense matrices.
    seed
        Seed of the states.

    Returns
    -------
    Otoc

    Raises
    ------
    ValueError
        A site is out of range, a letter is not x, y or z, or times are not finite numbers in order.
    MemoryError
        The states, or the dense matrices, don't fit.
    """
    N = evolution.N
    found = tuple(j for j in range(N) if j != source) if targets is None else tuple(int(j) for j in targets)
    for name, site in [("source", source), *(("targets", j) for j in found)]:
        if not 0 <= site < N:
            raise ValueError(f"{name}: sites must lie in 0..{N - 1}, got {site}")
    for name, letters in (("W", W), ("V", V)):
        if not letters or set(letters) - set("xyz"):
            raise ValueError(f"{name} must be letters x, y, z, got {letters!r}")
    at = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if at.ndim != 1 or not np.isfinite(at).all() or (np.diff(at) < 0).any():
        raise ValueError("times must be finite numbers in ascending order")
    if states is None:
        require_dense(N, 6)
        sample = np.stack([_trace(evolution, source, float(t), found, W, V) for t in at])
        return Otoc(at, found, sample[None], True)
    if states < 1:
        raise ValueError(f"states must be 1 or more, or None for the trace, got {states}")
    columns = 1 + len(found) * len(V)
    require_memory(6 * 16 * columns * 2**N, f"{columns} states of {N} spins", "take fewer spins or targets")
    seed = check_seed(seed)
    samples = [
        _typical(evolution, source, at, found, W, V, haar_states(N, 1, seed, 2, index)) for index in range(states)
    ]
    return Otoc(at, found, np.stack(samples), False)


def generic_otoc(times: ArrayLike) -> FloatArray:
    """C(t) of a generic Hamiltonian (:func:`.generic_matrix`) for N to infinity: the same between any two spins.

    Its eigenvectors are Haar random, so U = exp(-iHt) is free from W and V. In the expansion of tr(U^H W U V U^H W U V)
    in free cumulants of U every term leaves a W, a V or a W V alone in a trace, which vanishes, but for the one with
    four first cumulants: C = 1 - r^4, where r = tr U/2^N = J_1(2 s t)/(s t) for a half circle of radius 2 s, here s^2 =
    4/3.

    Parameters
    ----------
    times
        Any shape.
    """
    from scipy.special import j1

    angle = 2 * np.sqrt(4 / 3) * np.asarray(times, dtype=np.float64)
    safe = np.where(angle == 0, 1.0, angle)
    return np.asarray(np.where(angle == 0, 0.0, 1 - (2 * j1(safe) / safe) ** 4))


def _typical(
    evolution: Evolution, source: int, times: FloatArray, targets: Sequence[int], W: str, V: str, state: ComplexArray
) -> FloatArray:
    """(T, targets) of one random state, of shape (2^N, 1)."""
    pairs = [(j, pauli) for j in targets for pauli in V]
    block = np.concatenate([state, *(apply_pauli(pauli, j, state) for j, pauli in pairs)], axis=1)
    values, reached = np.zeros((len(times), len(targets))), 0.0
    for row, t in enumerate(times):
        block, reached = evolution.apply(block, t - reached), float(t)
        for letter in W:
            back = evolution.apply(apply_pauli(letter, source, block), -t)
            for column, (j, pauli) in enumerate(pairs, start=1):
                gap = back[:, column] - apply_pauli(pauli, j, back[:, 0])
                values[row, targets.index(j)] += 0.5 * float(np.vdot(gap, gap).real)
    return values / (len(W) * len(V))


def _trace(evolution: Evolution, source: int, t: float, targets: Sequence[int], W: str, V: str) -> FloatArray:
    """(targets,) at one time: 1 - Re tr(W(t) V W(t) V)/2^N."""
    values = np.zeros(len(targets))
    for letter in W:
        moved = evolution.heisenberg(apply_pauli(letter, source, np.eye(evolution.dimension, dtype=np.complex128)), t)
        for index, j in enumerate(targets):
            overlaps = _turned_overlaps(moved, j)
            values[index] += sum(1 - overlaps[pauli] / evolution.dimension for pauli in V)
    return values / (len(W) * len(V))


def _turned_overlaps(matrix: ComplexArray, j: int) -> dict[str, float]:
    """tr(M V M V) of a Hermitian M for V = x, y, z on spin j.

    With M in blocks [[a, b], [b^H, d]] by the state of spin j: x turns it into [[d, b^H], [b, a]], y into [[d, -b^H],
    [-b, a]], z into [[a, -b], [-b^H, d]]; the trace is then a sum of elementwise products.
    """
    low, high = 1 << j, len(matrix) >> (j + 1)
    split = matrix.reshape(high, 2, low, high, 2, low)
    a, b, c, d = (split[:, row, :, :, column, :].ravel() for row in (0, 1) for column in (0, 1))
    same = 2 * float(np.vdot(a, d).real)
    across = 2 * float(np.vdot(b, c).real)
    diagonal = float(np.vdot(a, a).real + np.vdot(d, d).real)
    off = float(np.vdot(b, b).real + np.vdot(c, c).real)
    return {"x": same + across, "y": same - across, "z": diagonal - off}
