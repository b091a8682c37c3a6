"""A theory: a family of interaction terms with a number for each coupling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.theories.family import Family
from repflow.theories.spins import check_spins, pack, require_enumerable
from repflow.theories.walsh import values

FloatArray = NDArray[np.float64]
#: Products of spins formed at a time.
_CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Theory:
    """E(s) = sum_S J_S prod_{i in S} s_i over the interaction terms S of a family.

    Attributes
    ----------
    family
        Which terms there are, and which share a coupling.
    parameters
        (count,): the couplings.

    Raises
    ------
    ValueError
        The number of parameters is not the family's count, or one is not finite.
    """

    family: Family
    parameters: FloatArray

    def __post_init__(self) -> None:
        parameters = np.array(self.parameters, dtype=np.float64)
        if parameters.shape != (self.family.count,):
            raise ValueError(
                f"parameters must have shape ({self.family.count},), one for each coupling of {self.family!r}; "
                f"got {parameters.shape}"
            )
        if not np.isfinite(parameters).all():
            raise ValueError("parameters must be finite")
        parameters.flags.writeable = False
        object.__setattr__(self, "parameters", parameters)

    @property
    def N(self) -> int:
        """Number of spins."""
        return self.family.N

    def energy(self, spins: ArrayLike) -> FloatArray:
        """The energy of each configuration.

        Parameters
        ----------
        spins
            (..., N), each +1 or -1; lattices in row-major order.

        Returns
        -------
        array (...)

        Raises
        ------
        ValueError
            The spins are not +-1, or of another number.
        """
        s = check_spins(spins, self.N)
        flat = s.reshape(-1, self.N)
        # With many configurations of few spins, all 2^N energies by one transform are cheaper.
        if self.N <= 24 and len(flat) * self.family.term_count > 4 * self.N * 2**self.N:
            return np.asarray(self.values()[pack(flat)].reshape(s.shape[:-1]))
        found = np.empty(len(flat))
        rows = max(1, _CHUNK // max(1, self.family.term_count))
        for start in range(0, len(flat), rows):
            some = flat[start : start + rows].astype(np.float64)
            total = np.zeros(len(some))
            for lot in self.family.term_lists:
                products = some[:, lot.sites[:, 0]]
                for column in lot.sites.T[1:]:
                    products = products * some[:, column]
                total += products @ self.parameters[lot.group]
            found[start : start + rows] = total
        return found.reshape(s.shape[:-1])

    def couplings(self) -> FloatArray:
        """(2^N,): the coupling of every subset of spins, 0 where the theory has no such term.

        Indexed as by :func:`repflow.theories.couplings`: bit i of the index is set where spin i is in the product.

        Raises
        ------
        MemoryError
            2^N numbers do not fit.
        """
        require_enumerable(self.N, "the array of all couplings")
        found = np.zeros(2**self.N)
        for lot in self.family.term_lists:
            found[(np.int64(1) << lot.sites).sum(axis=1)] = self.parameters[lot.group]
        return found

    def values(self) -> FloatArray:
        """(2^N,): the energy of every configuration, indexed as by :func:`repflow.theories.spins`."""
        return values(self.couplings())

    def log_probabilities(self, temperature: float = 1.0) -> FloatArray:
        """(2^N,): log p(s) = -E(s)/T - log Z of the Boltzmann distribution.

        Raises
        ------
        ValueError
            The temperature is not positive.
        MemoryError
            2^N numbers do not fit.
        """
        from scipy.special import log_softmax

        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature must be a positive number, got {temperature!r}")
        return np.asarray(log_softmax(-self.values() / temperature))

    def __repr__(self) -> str:
        return f"Theory({self.family!r}, {self.family.count} couplings)"
