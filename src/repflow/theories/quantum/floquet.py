"""A kicked mixed-field Ising chain: few couplings, no conserved energy, and a cheap exact evolution.

One period is S steps, each an Ising step that is diagonal in the z basis and a rotation of every spin:

    U = K_S D_S ... K_1 D_1,
    D_s = exp(-i sum_j J_sj Z_j Z_{j+1} - i sum_j h_sj Z_j),
    K_s = prod_j exp(-i k_sj . sigma_j).

With one step every chain has an antiunitary symmetry, whatever its fields and kicks: a rotation is R_z R_x R_z, its
outer factors move into D, and what is left, R_x^(1/2) D R_x^(1/2), is a symmetric matrix. Its eigenphases are those of
the circular orthogonal ensemble (COE). Two steps with kicks of different strength have no such symmetry: the circular
unitary ensemble (CUE).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import check_seed, generator, require_memory

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

#: Spins whose rotations are multiplied out into one matrix: larger groups take fewer passes over the state and more
#: multiplications in each.
_GROUP = 4
#: Largest chain whose states are evolved (16 bytes times 2^N each), and largest whose matrix is built.
MAX_STATE_SPINS, MAX_DENSE_SPINS = 24, 13


@dataclass(frozen=True, eq=False)
class KickedIsing:
    """A periodically kicked Ising chain with open ends.

    Basis: bit i of the index of a state's entry is set where spin i points down (z = -1).

    Parameters
    ----------
    couplings
        J of each step, shape (S, N - 1).
    fields
        h along z of each step, shape (S, N).
    kicks
        k of each step and spin, shape (S, N, 3): a rotation by the angle 2|k| about k.

    Raises
    ------
    ValueError
        Shapes do not fit, N is below 2 or above 24, or an entry is not finite.
    """

    couplings: FloatArray
    fields: FloatArray
    kicks: FloatArray

    def __post_init__(self) -> None:
        couplings, fields, kicks = (
            np.asarray(array, dtype=np.float64) for array in (self.couplings, self.fields, self.kicks)
        )
        if fields.ndim != 2 or fields.shape[0] < 1:
            raise ValueError(f"fields must have shape (steps, N) with one step or more, got {fields.shape}")
        steps, N = fields.shape
        require_spins(N, 2, MAX_STATE_SPINS)
        for name, array, shape in (("couplings", couplings, (steps, N - 1)), ("kicks", kicks, (steps, N, 3))):
            if array.shape != shape:
                raise ValueError(
                    f"{name} must have shape {shape} to fit fields of shape {fields.shape}, got {array.shape}"
                )
        for name, array in (("couplings", couplings), ("fields", fields), ("kicks", kicks)):
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite")
            object.__setattr__(self, name, array)

    @property
    def N(self) -> int:
        """Number of spins."""
        return int(self.fields.shape[1])

    @property
    def steps(self) -> int:
        """Steps in one period."""
        return int(self.fields.shape[0])

    @property
    def count(self) -> int:
        """Couplings that are not zero: of Z_j Z_{j+1}, of Z_j, and components of kicks; S (5 N - 1) at most."""
        return int(sum(np.count_nonzero(array) for array in (self.couplings, self.fields, self.kicks)))

    def phases(self) -> FloatArray:
        """Energies of the Ising steps, sum_j J_sj z_j z_{j+1} + sum_j h_sj z_j, shape (S, 2^N)."""
        z = _z(self.N)
        return self.fields @ z + self.couplings @ (z[:-1] * z[1:])

    def rotations(self) -> ComplexArray:
        """exp(-i k . sigma) of each step and spin, shape (S, N, 2, 2): cos|k| - i sin|k| k.sigma/|k|."""
        x, y, z = np.moveaxis(self.kicks, -1, 0)
        size = np.sqrt(x * x + y * y + z * z)
        cosine, sine = np.cos(size), np.sinc(size / np.pi)  # sin|k|/|k|
        rows = [[cosine - 1j * sine * z, sine * (-1j * x - y)], [sine * (-1j * x + y), cosine + 1j * sine * z]]
        return np.moveaxis(np.array(rows), (0, 1), (-2, -1))

    def evolve(self, states: ArrayLike, times: Iterable[int]) -> Iterator[ComplexArray]:
        """The states after each of some numbers of periods.

        Parameters
        ----------
        states
            Shape (..., 2^N); left as they are.
        times
            Whole numbers of 0 or more that ascend.

        Yields
        ------
        ndarray
            Shape (..., 2^N), one for each time.

        Raises
        ------
        ValueError
            The last axis is not 2^N, or the times do not ascend.
        MemoryError
            Three copies of the states do not fit in memory.
        """
        now = np.array(states, dtype=np.complex128)
        if now.ndim < 1 or now.shape[-1] != 2**self.N:
            raise ValueError(
                f"states must have a last axis of 2^N = {2**self.N} for N = {self.N}, got shape {now.shape}"
            )
        chosen = [int(time) for time in times]
        if any(time < 0 for time in chosen) or any(b <= a for a, b in pairwise(chosen)):
            raise ValueError(f"times must be 0 or more and ascend, got {chosen}")
        require_memory(3 * now.nbytes, f"evolution of states of shape {now.shape}", "take fewer spins or fewer states")
        return self._run(now, chosen)

    def _run(self, now: ComplexArray, times: list[int]) -> Iterator[ComplexArray]:
        diagonals = np.exp(-1j * self.phases())
        groups = [_grouped(matrices) for matrices in self.rotations()]
        passed = 0
        for time in times:
            while passed < time:
                for diagonal, matrices in zip(diagonals, groups):
                    now = _rotated(now * diagonal, matrices)
                passed += 1
            yield now

    def unitary(self) -> ComplexArray:
        """U as a matrix, shape (2^N, 2^N).

        Raises
        ------
        ValueError
            N is above 13.
        MemoryError
            Three such matrices do not fit in memory.
        """
        require_spins(self.N, 2, MAX_DENSE_SPINS, "the matrix of a period")
        require_memory(3 * 16 * 4**self.N, f"the matrix of a period of {self.N} spins", "take fewer spins")
        # Rows are states: row x is U applied to the basis state x, so that the matrix is the transpose.
        return next(self.evolve(np.eye(2**self.N), [1])).T


def kicked_ising(
    N: int,
    seed: int = 0,
    *key: int,
    time_reversal: bool = False,
    coupling: float = 0.7,
    field: float = 0.6,
    kicks: tuple[float, float] = (0.6, 0.9),
    disorder: float = 1.0,
) -> KickedIsing:
    """A chaotic kicked chain without symmetry: uniform couplings and kicks, fields that differ from spin to spin.

    A period is the Ising step, a kick about x, the Ising step with other fields, and a kick about y; with
    ``time_reversal`` the first step and the kick about y only.

    Parameters
    ----------
    N
        Spins, 2 to 24.
    seed, *key
        The stream of random numbers (:func:`repflow.blocks.generator`).
    time_reversal
        One kick a period: eigenphases of the COE instead of the CUE.
    coupling, field
        J, and the mean of h.
    kicks
        b of the kicks exp(-i b sigma_x) and exp(-i b sigma_y). Where the two are equal, the reflection of every spin
        that exchanges x and y maps the period onto its inverse, and the eigenphases are those of the COE again.
    disorder
        Fields are uniform in field (1 -+ disorder).

    Raises
    ------
    ValueError
        N is out of range, or the disorder is not between 0 and 1.
    """
    require_spins(N, 2, MAX_STATE_SPINS)
    if not 0 <= disorder <= 1:
        raise ValueError(f"disorder must lie between 0 and 1, got {disorder!r}")
    rng = generator(check_seed(seed), *key)
    fields = field * (1 + disorder * rng.uniform(-1, 1, size=(2, N)))
    vectors = np.zeros((2, N, 3))
    vectors[0, :, 0], vectors[1, :, 1] = kicks
    chosen = slice(1, 2) if time_reversal else slice(0, 2)
    return KickedIsing(np.full((2, N - 1), float(coupling))[chosen], fields[chosen], vectors[chosen])


def require_spins(N: Any, least: int, most: int, what: str = "N") -> int:
    """N as an int, or an error that states the limits.

    Raises
    ------
    TypeError
        N is not a whole number.
    ValueError
        N is out of range.
    """
    if isinstance(N, bool) or not isinstance(N, (int, np.integer)):
        raise TypeError(f"N must be a whole number of spins, got {N!r}")
    if not least <= N <= most:
        name = "N" if what == "N" else f"N for {what}"
        raise ValueError(f"{name} must lie between {least} and {most} spins, got {N}")
    return int(N)


def _z(N: int) -> FloatArray:
    """z of each spin in each basis state, shape (N, 2^N)."""
    return np.asarray(1.0 - 2.0 * ((np.arange(2**N) >> np.arange(N)[:, None]) & 1), dtype=np.float64)


def _grouped(matrices: ComplexArray) -> list[ComplexArray]:
    """Kronecker products of the one-spin matrices (N, 2, 2) in groups of neighbours, lowest spins first."""
    found = []
    for start in range(0, len(matrices), _GROUP):
        product = np.ones((1, 1), dtype=np.complex128)
        for matrix in matrices[start : start + _GROUP]:
            product = np.kron(matrix, product)  # the higher spin is the more significant bit
        found.append(product)
    return found


def _rotated(states: ComplexArray, groups: list[ComplexArray]) -> ComplexArray:
    """A product of matrices on groups of spins, applied to states (..., 2^N)."""
    shape, low = states.shape, 1
    for matrix in groups:
        size = len(matrix)
        if low == 1:
            states = states.reshape(-1, size) @ matrix.T
        else:
            states = matrix @ states.reshape(-1, size, low)
        low *= size
    return states.reshape(shape)
