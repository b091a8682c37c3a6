"""How many numbers a theory takes: spins, output distributions of networks, and weights of a layer, on one chart.

Everything is counted by one rule. There are N degrees of freedom, a coupling for each interaction, and assumptions that
remove couplings (k-local, local) or make some of them equal (translation invariance). The degrees of freedom of an
output distribution are the N_D inputs on which the network is looked at; those of a layer are its sites.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from repflow.theories.families import Family, Generic, KLocal, Local, TranslationInvariant
from repflow.theories.spins import check_size

Wiring = Literal["fully connected", "locally connected", "convolutional"]
#: From most to fewest weights.
WIRINGS: tuple[Wiring, ...] = ("fully connected", "locally connected", "convolutional")


@dataclass(frozen=True)
class OutputDistribution:
    """The joint distribution of a network's outputs on N inputs, over initialisations, to order 1/n^k.

    Given the last hidden layer, outputs are independent Gaussians with the random covariance G, an N x N Gram matrix.
    Its distribution is that of the outputs: the mean of G counts at every order, and the joint cumulant of j + 1
    entries of G is of order 1/n^j (PDLT chapter 4: kernel, four-point vertex, six-point vertex). That cumulant is the
    connected (2j+2)-point function; it is symmetric in the two inputs of each entry and under exchange of entries, and
    in nothing else: V_abcd = Cov(G_ab, G_cd) is not V_acbd. So it has as many components as there are multisets of
    j + 1 among the P = N (N + 1)/2 pairs of inputs,

        C(P + j, j + 1)  ~  N^(2j+2) / (2^(j+1) (j+1)!)

    A single output sees less: its connected (2j+2)-point function is the sum over all pairings and hence symmetric in
    all its inputs, C(N + 2j + 1, 2j + 2) components. j + 1 outputs show all of them.

    Corrections of higher order to a cumulant have its shape, and count as part of it.

    Parameters
    ----------
    N
        Number of inputs, N_D.
    order
        k, 0 or more.
    outputs
        n_L, 1 or more; ``None`` for as many as it takes to see everything.

    Raises
    ------
    TypeError, ValueError
        One of them is not a whole number in its range.
    """

    N: int
    order: int
    outputs: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "N", _whole("N", self.N, 1))
        object.__setattr__(self, "order", _whole("order", self.order, 0))
        if self.outputs is not None:
            object.__setattr__(self, "outputs", _whole("outputs", self.outputs, 1))
            if 1 < self.outputs < self.order + 1:
                raise ValueError(
                    f"outputs must be 1, or order + 1 = {self.order + 1} or more so that every component is seen; "
                    f"got {self.outputs}"
                )

    @property
    def pairs(self) -> int:
        """P = N (N + 1)/2, the entries of a symmetric matrix."""
        return self.N * (self.N + 1) // 2

    def components(self, order: int) -> int:
        """Components of the connected (2j+2)-point function, j = ``order``."""
        j = _whole("order", order, 0)
        if self.outputs == 1:
            return math.comb(self.N + 2 * j + 1, 2 * j + 2)
        return math.comb(self.pairs + j, j + 1)

    @property
    def count(self) -> int:
        """The exact number of couplings: the components of all orders up to k."""
        return sum(self.components(j) for j in range(self.order + 1))

    @property
    def scaling(self) -> str:
        """Growth of the number of couplings, as text."""
        power = 2 * self.order + 2
        if self.outputs == 1:
            return f"N^{power}/{math.factorial(power)}"
        return f"N^{power}/{2 ** (self.order + 1) * math.factorial(self.order + 1)}"

    @property
    def asymptotic_count(self) -> float:
        """The leading growth of :attr:`count` at large N, evaluated at this N."""
        power = 2 * self.order + 2
        if self.outputs == 1:
            return float(self.N) ** power / math.factorial(power)
        return float(self.N) ** power / (2 ** (self.order + 1) * math.factorial(self.order + 1))


def layer_count(
    wiring: Wiring, sites_in: int, channels_in: int, sites_out: int, channels_out: int, field: int, biases: bool = True
) -> int:
    """Parameters of a layer between two lattices: W_oi for output unit o and input unit i, and the biases.

    A unit is a site and a channel. Fully connected, each pair of units has its own weight. Locally connected, only
    pairs whose sites are within a receptive field have one. Convolutional, pairs at the same displacement share it:
    translation invariance, under which the number does not grow with the lattice.

    Parameters
    ----------
    wiring
        One of :data:`WIRINGS`.
    sites_in, channels_in, sites_out, channels_out
        Of the two lattices.
    field
        Sites in a receptive field, at most ``sites_in``.
    biases
        Count one a unit (one a channel where they are shared).

    Raises
    ------
    TypeError, ValueError
        A number is not a whole number of 1 or more, the field is larger than the lattice, or the wiring is unknown.
    """
    if wiring not in WIRINGS:
        raise ValueError(f"wiring must be one of {', '.join(WIRINGS)}, got {wiring!r}")
    sites_in, channels_in = _whole("sites_in", sites_in, 1), _whole("channels_in", channels_in, 1)
    sites_out, channels_out = _whole("sites_out", sites_out, 1), _whole("channels_out", channels_out, 1)
    field = _whole("field", field, 1)
    if field > sites_in:
        raise ValueError(f"field must be at most sites_in = {sites_in}, got {field}")
    seen = sites_in if wiring == "fully connected" else field
    places = 1 if wiring == "convolutional" else sites_out
    return places * channels_out * (seen * channels_in + int(biases))


def distinct(values: ArrayLike, tolerance: float = 1e-10) -> int:
    """How many different numbers an array holds, taking those closer than ``tolerance`` times the largest as equal.

    Raises
    ------
    ValueError
        The array is empty or not finite.
    """
    flat = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    if flat.size == 0 or not np.isfinite(flat).all():
        raise ValueError("values must hold one finite number or more")
    return 1 + int((np.diff(flat) > tolerance * np.abs(flat).max()).sum())


@dataclass(frozen=True)
class Curve:
    """A number of couplings against a number of degrees of freedom.

    Attributes
    ----------
    name
        What is counted.
    kind
        ``"spins"``, ``"outputs"`` or ``"weights"``.
    size
        Numbers of degrees of freedom: spins, inputs, or pixels.
    count
        The exact number of couplings at each.
    scaling
        Its growth, as text.
    """

    name: str
    kind: Literal["spins", "outputs", "weights"]
    size: tuple[int, ...]
    count: tuple[int, ...]
    scaling: str


def spin_curves(sizes: Sequence[int], locality: Sequence[int] = (2, 4)) -> list[Curve]:
    """Generic, k-local, and on a square periodic lattice local and translation-invariant theories of N spins.

    Parameters
    ----------
    sizes
        Numbers of spins, each 2 or more; the lattices take the squares among them.
    locality
        The values of k; sizes below k are left out of its curve.

    Raises
    ------
    TypeError, ValueError
        A size is not a whole number of 2 or more.
    """
    spins = [check_size(N, 2) for N in sizes]
    squares = [N for N in spins if math.isqrt(N) ** 2 == N]
    shape = {N: (math.isqrt(N),) * 2 for N in squares}
    found: list[tuple[str, list[Family]]] = [("generic", [Generic(N, fields=True) for N in spins])]
    found += [(f"{k}-local", [KLocal(N, k) for N in spins if k <= N]) for k in locality]
    found.append(("local, square lattice", [Local(shape[N]) for N in squares]))
    found.append(("translation invariant", [TranslationInvariant(shape[N]) for N in squares]))
    return [
        Curve(
            name, "spins", tuple(each.N for each in lot), tuple(each.count for each in lot), lot[-1].scaling
        )
        for name, lot in found
        if lot
    ]  # fmt: skip


def output_curves(sizes: Sequence[int], orders: Sequence[int] = (0, 1, 2)) -> list[Curve]:
    """Output distributions on N inputs at each order in 1/n; without any expansion they are generic, as for spins.

    Signs of one output on N inputs are N spins: a distribution over their 2^N values has 2^N - 1 couplings.
    """
    found = []
    for order in orders:
        lot = [OutputDistribution(N, order) for N in sizes]
        name = (
            "infinite width"
            if order == 0
            else "order 1/n"
            if order == 1
            else "order 1/n²"
            if order == 2
            else f"order 1/n^{order}"
        )
        found.append(
            Curve(
                name, "outputs", tuple(each.N for each in lot), tuple(each.count for each in lot), lot[-1].scaling
            )
        )  # fmt: skip
    return found


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, got {value}")
    return int(value)
