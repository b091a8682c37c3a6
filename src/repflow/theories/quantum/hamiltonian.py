"""Hamiltonians of spins 1/2 as sums of Pauli strings, with one normalisation for all of them.

H = sum_a J_a P_a, where P_a is a product of Pauli matrices (eigenvalues +-1) on distinct spins. Basis of this library:
entry x of a state vector belongs to the configuration in which spin i is down (s_i = -1) where bit i of x is set.

The normalisation: the sum of J_a^2 over the terms that touch a spin, averaged over spins, is 1
(:meth:`SpinHamiltonian.normalised`). For Pauli matrices W on spin i, <|[H, W]|^2> = 4 sum of J_a^2 over the terms that
anticommute with W, so a spin turns at a rate of order 1 whatever the range and the number of its couplings.
"""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from repflow.blocks import check_seed, generator, require_memory

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ComplexArray = NDArray[np.complex128]
FloatArray = NDArray[np.float64]
Term = tuple[str, tuple[int, ...], float]

#: Transverse and longitudinal field over the coupling where the Ising chain is strongly mixing: H. Kim and D. A. Huse,
#: Phys. Rev. Lett. 111, 127205 (2013), (sqrt 5 + 5)/8 and (sqrt 5 + 1)/4.
TRANSVERSE, LONGITUDINAL = (math.sqrt(5) + 5) / 8, (math.sqrt(5) + 1) / 4


class Family(Protocol):
    """What is asked of a family of theories: the number of spins and the sets of spins that interact."""

    @property
    def N(self) -> int:
        """Number of spins."""

    @property
    def terms(self) -> Sequence[tuple[int, ...]]:
        """The sites of each interaction term."""


@dataclass(frozen=True)
class SpinHamiltonian:
    """H = sum_a J_a P_a on N spins.

    Parameters
    ----------
    N
        Number of spins, 1 or more.
    terms
        ``(paulis, sites, J)`` each, such as ``("zz", (0, 1), 0.5)``: letter m of ``paulis`` acts on ``sites[m]``.

    Raises
    ------
    TypeError, ValueError
        A term has another form, a letter other than x, y, z, a site out of range or twice, or a coupling that is not
        finite.
    """

    N: int
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        check_spins(self.N)
        object.__setattr__(self, "terms", tuple(self._checked(index, term) for index, term in enumerate(self.terms)))

    def _checked(self, index: int, term: Any) -> Term:
        try:
            paulis, sites, J = term
            sites = tuple(int(site) for site in sites)
        except (TypeError, ValueError):
            raise TypeError(f'terms[{index}] must be like ("zz", (0, 1), 0.5), got {term!r}') from None
        if not isinstance(paulis, str) or not paulis or set(paulis) - set("xyz"):
            raise ValueError(f"terms[{index}]: paulis must be letters x, y, z, one a site, got {paulis!r}")
        if len(paulis) != len(sites) or len(set(sites)) != len(sites):
            raise ValueError(f"terms[{index}]: {paulis!r} needs {len(paulis)} distinct sites, got {sites}")
        if min(sites) < 0 or max(sites) >= self.N:
            raise ValueError(f"terms[{index}]: sites must lie in 0..{self.N - 1}, got {sites}")
        if not isinstance(J, numbers.Real) or not math.isfinite(J):
            raise ValueError(f"terms[{index}]: the coupling must be a finite real number, got {J!r}")
        return paulis, sites, float(J)

    def site_norms(self) -> FloatArray:
        """The sum of J^2 over the terms that touch each spin, shape (N,)."""
        norms = np.zeros(self.N)
        for _, sites, J in self.terms:
            norms[list(sites)] += J**2
        return norms

    def normalised(self) -> SpinHamiltonian:
        """The same Hamiltonian times a positive number, such that the mean of :meth:`site_norms` is 1.

        Raises
        ------
        ValueError
            Every coupling is 0.
        """
        mean = float(self.site_norms().mean())
        if mean == 0:
            raise ValueError("a Hamiltonian without couplings cannot be normalised; give it a term with J other than 0")
        scale = 1 / math.sqrt(mean)
        return replace(self, terms=tuple((paulis, sites, J * scale) for paulis, sites, J in self.terms))

    @cached_property
    def _by_flips(self) -> dict[int, ComplexArray]:
        """``values`` by flip mask f: H |x> = sum_f values_f[x] |x ^ f>."""
        # P |x> = i^(number of y) (-1)^(bits of x among y and z) |x ^ (x and y bits)>, since y|up> = i|down>.
        found: dict[int, ComplexArray] = {}
        index = np.arange(2**self.N)
        for paulis, sites, J in self.terms:
            flips = sum(1 << site for pauli, site in zip(paulis, sites) if pauli in "xy")
            signs = sum(1 << site for pauli, site in zip(paulis, sites) if pauli in "yz")
            value = J * 1j ** paulis.count("y")
            parity = np.bitwise_count(index & signs) & 1
            values = found.setdefault(flips, np.zeros(2**self.N, dtype=np.complex128))
            values += np.where(parity == 1, -value, value)
        return found

    def sparse(self) -> csr_array:
        """The matrix in compressed rows, complex, shape (2^N, 2^N).

        Raises
        ------
        MemoryError
            It doesn't fit.
        """
        from scipy.sparse import csr_array

        flips = self._require_rows()
        dimension = 2**self.N
        index = np.arange(dimension)
        columns = np.stack([index ^ flip for flip in flips], axis=1)
        # Row x takes from column x ^ f with the value that column has.
        none = np.zeros(dimension, dtype=np.complex128)
        values = np.stack([self._by_flips.get(flip, none)[index ^ flip] for flip in flips], axis=1)
        starts = np.arange(0, values.size + 1, values.shape[1])
        matrix = csr_array((values.ravel(), columns.ravel(), starts), shape=(dimension, dimension))
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return matrix

    def _require_rows(self) -> list[int]:
        """The flip masks of the terms, once it is known that a matrix with so many entries a row fits."""
        masks = {sum(1 << s for p, s in zip(paulis, sites) if p in "xy") for paulis, sites, _ in self.terms} or {0}
        # A value and a column each, once in the list and once in the matrix.
        need = 2 * 24 * 2**self.N * len(masks)
        require_memory(need, f"a Hamiltonian of {self.N} spins with {len(masks)} entries a row", "take fewer spins")
        return sorted(masks)

    def dense(self) -> ComplexArray:
        """The matrix, shape (2^N, 2^N).

        Raises
        ------
        MemoryError
            16 * 4^N bytes are not free.
        """
        require_dense(self.N)
        dimension = 2**self.N
        matrix = np.zeros((dimension, dimension), dtype=np.complex128)
        index = np.arange(dimension)
        for flip, values in self._by_flips.items():
            matrix[index ^ flip, index] += values
        return matrix

    def operator(self) -> Any:
        """The same as a ``quspin.operators.hamiltonian`` in this library's basis.

        QuSpin has site 0 as the most significant bit and counts states down from all up, so that its entry x is this
        library's entry x with the sites in reversed order.

        Raises
        ------
        ModuleNotFoundError
            QuSpin is not installed.
        MemoryError
            It doesn't fit.
        """
        from repflow.theories.quantum.require import quspin

        module = quspin()
        self._require_rows()
        static: dict[str, list[list[float | int]]] = {}
        for paulis, sites, J in self.terms:
            static.setdefault(paulis, []).append([J, *(self.N - 1 - site for site in sites)])
        return module.operators.hamiltonian(
            [[paulis, couplings] for paulis, couplings in static.items()],
            [],
            basis=module.basis.spin_basis_1d(self.N, pauli=1),
            dtype=np.complex128,
            check_symm=False,
            check_herm=False,
            check_pcon=False,
        )


def check_spins(N: object) -> int:
    """``N`` as an int; an error unless it is a whole number of 1 or more."""
    if isinstance(N, bool) or not isinstance(N, (int, np.integer)):
        raise TypeError(f"N must be a whole number of spins, got {N!r}")
    if N < 1:
        raise ValueError(f"N must be 1 spin or more, got {N}")
    return int(N)


def require_dense(N: int, copies: int = 1) -> None:
    """Refuse dense matrices on N spins that don't fit in memory; the message states the limit.

    Raises
    ------
    MemoryError
        ``copies`` times 16 * 4^N bytes are not free.
    """
    require_memory(copies * 16 * 4**N, f"{copies} dense matrices of 2^{N} x 2^{N} complex numbers", "take fewer spins")


def ising_chain(
    N: int, J: float = 1.0, g: float = TRANSVERSE, h: float = LONGITUDINAL, periodic: bool = False
) -> SpinHamiltonian:
    """The mixed-field Ising chain J sum zz + g sum x + h sum z, as given: not normalised.

    Parameters
    ----------
    N
        Spins, 2 or more; 3 or more for a periodic chain.
    J, g, h
        Coupling, transverse and longitudinal field; without h the chain is one of free fermions.

    Raises
    ------
    ValueError
        Too few spins.
    """
    least = 3 if periodic else 2
    if check_spins(N) < least:
        raise ValueError(f"N must be {least} or more for a {'periodic' if periodic else 'open'} chain, got {N}")
    links = [(i, i + 1) for i in range(N - 1)] + ([(0, N - 1)] if periodic else [])
    return ising(N, links, J, g, h)


def ising(
    N: int, links: Sequence[tuple[int, ...]], J: float = 1.0, g: float = TRANSVERSE, h: float = LONGITUDINAL
) -> SpinHamiltonian:
    """The mixed-field Ising model on any links, such as ``Local(shape).terms``: not normalised.

    Raises
    ------
    ValueError
        A link does not join two spins.
    """
    wrong = [link for link in links if len(link) != 2]
    if wrong:
        raise ValueError(f"links must be pairs of sites, got {wrong[0]}; take the terms of a nearest-neighbour family")
    terms: list[Term] = [("zz", tuple(link), J) for link in links if J]
    terms += [("x", (i,), g) for i in range(N) if g] + [("z", (i,), h) for i in range(N) if h]
    return SpinHamiltonian(N, tuple(terms))


def random_hamiltonian(family: Family, seed: int) -> SpinHamiltonian:
    """Every interaction term of a family with all its Pauli labels and independent Gaussian couplings, normalised.

    A term on m spins becomes 3^m Pauli strings, so that no direction in space is preferred and families differ in
    nothing but in who interacts with whom. Terms that share their coupling in the family (``family.group``) share
    their couplings here, the order of the letters put aside.

    Parameters
    ----------
    family
        Any family of :mod:`repflow.theories`; ``N`` and ``terms`` are used, and ``group`` where there is one.
    seed
        Seed of the couplings.

    Raises
    ------
    ValueError
        The family has no interaction terms.
    MemoryError
        The list of strings doesn't fit.
    """
    rng = generator(check_seed(seed), 0)
    sets = [tuple(int(site) for site in sites) for sites in family.terms]
    if not sets:
        raise ValueError("family must have at least one interaction term")
    strings = sum(3 ** len(sites) for sites in sets)
    require_memory(400 * strings, f"a Hamiltonian of {strings} Pauli strings", "take fewer spins or a smaller k")
    group = [int(g) for g in getattr(family, "group", range(len(sets)))]
    shared: dict[tuple[int, tuple[str, ...]], float] = {}
    repeated = len(set(group)) < len(sets)
    terms: list[Term] = []
    for index, sites in zip(group, sets):
        for letters in itertools.product("xyz", repeat=len(sites)):
            if repeated:
                key = (index, tuple(sorted(letters)))
                if key not in shared:
                    shared[key] = float(rng.standard_normal())
                J = shared[key]
            else:
                J = float(rng.standard_normal())
            terms.append(("".join(letters), sites, J))
    return SpinHamiltonian(family.N, tuple(terms)).normalised()


def generic_matrix(N: int, seed: int) -> ComplexArray:
    """A generic Hamiltonian: independent Gaussian couplings on all 4^N Pauli strings, drawn as one dense matrix.

    With variance J^2 each, H is of the Gaussian unitary ensemble: matrix elements are Gaussian with E|H_xy|^2 =
    2^N J^2 (the orthonormal strings P/2^(N/2) are rotated into the orthonormal matrix units). Of the 4^N strings
    3 * 4^(N-1) touch a given spin, so the normalisation asks for J^2 = 4/(3 * 4^N), whence E|H_xy|^2 = 4/(3 * 2^N),
    tr H^2/2^N = 4/3 in the mean, and a spectrum on a half circle of radius 2 sqrt(4/3).

    Parameters
    ----------
    N
        Spins.
    seed
        Seed of the matrix.

    Returns
    -------
    numpy.ndarray
        Hermitian, shape (2^N, 2^N). The sum over strings is 1 in the mean and within about 2^(-N) of it in a draw.

    Raises
    ------
    MemoryError
        Two matrices of 16 * 4^N bytes are not free.
    """
    require_dense(check_spins(N), 2)
    rng = generator(check_seed(seed), 1)
    dimension = 2**N
    # (A + A^H)/2 with E|A_xy|^2 = 2 v has E|H_xy|^2 = v.
    scale = math.sqrt(4 / (3 * dimension))
    matrix: ComplexArray = np.empty((dimension, dimension), dtype=np.complex128)
    matrix.real = rng.standard_normal((dimension, dimension))
    matrix.imag = rng.standard_normal((dimension, dimension))
    matrix *= scale
    matrix += matrix.conj().T
    matrix *= 0.5
    return matrix
