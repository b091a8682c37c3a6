"""How many numbers the output distribution of a network takes on N inputs, order by order in 1/n.

Given the last hidden layer, the outputs are independent Gaussians whose covariance is the random N x N Gram matrix G.
Their distribution is that of G, and the joint cumulant of j + 1 entries of G is of order 1/n^j: the mean K, the
four-point vertex V/n, the six-point vertex X/n^2 (PDLT chapter 4). That cumulant is the connected (2j+2)-point function
of outputs. It has N^(2j+2) entries and is symmetric in the two inputs of each entry of G and under exchange of
entries, in nothing else: V_abcd = Cov(G_ab, G_cd) is not V_acbd. So it has as many independent components as there are
multisets of j + 1 among the P = N (N + 1)/2 pairs of inputs,

    C(P + j, j + 1)  ~  N^(2j+2) / (2^(j+1) (j+1)!)                                                              (1)

Couplings of the action are counted likewise: (j+1)-th powers of M_ab = sum_i z_{i;a} z_{i;b}, which are independent as
long as there are j + 1 neurons or more. For m neurons M has rank m at most, and the polynomials of degree d in such an
M are the sum of the representations of GL(N) with Young diagrams 2 lambda, lambda a partition of d into m parts at most
(the second fundamental theorem of invariant theory; C. De Concini and C. Procesi, Adv. Math. 21, 330 (1976)), so that

    C = sum_lambda dim S_{2 lambda}(N)                                                                           (2)

which is (1) for m > j and C(N + 2j + 1, 2j + 2), symmetric in all inputs, for a single neuron.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

#: Numbers closer than this times the largest are taken as equal.
_TOLERANCE = 1e-11


@dataclass(frozen=True)
class CouplingsCount:
    """What :func:`couplings_count` returns.

    Attributes
    ----------
    inputs
        N.
    order
        k, the highest order of 1/n.
    neurons
        m; None for as many as it takes to see every component.
    by_order
        Independent components of the (2j+2)-point coupling, which is of order 1/n^j, j = 0..k.
    """

    inputs: int
    order: int
    neurons: int | None
    by_order: tuple[int, ...]

    @property
    def total(self) -> int:
        """All that the distribution takes to order 1/n^k.

        Corrections of higher order to a coupling have its shape, and count as part of it.
        """
        return sum(self.by_order)

    @property
    def entries(self) -> tuple[int, ...]:
        """N^(2j+2), the entries of the array of each order."""
        return tuple(self.inputs ** (2 * j + 2) for j in range(self.order + 1))

    @property
    def general(self) -> int:
        """2^N: without any expansion, a distribution of N binary outputs has as many (less one, its norm)."""
        return 2**self.inputs

    @property
    def coefficients(self) -> tuple[Fraction, ...]:
        """c_j, with the components of order j growing as c_j N^(2j+2)."""
        return tuple(_leading(j + 1, self.neurons) for j in range(self.order + 1))

    @property
    def scaling(self) -> tuple[str, ...]:
        """The growth of the components of each order, as text: ``N^2/2``, ``N^4/8``, ``N^6/48``."""
        found = []
        for j, c in enumerate(self.coefficients):
            times = "" if c.numerator == 1 else f"{c.numerator} "
            found.append(f"{times}N^{2 * j + 2}/{c.denominator}")
        return tuple(found)

    def __str__(self) -> str:
        orders = ", ".join(f"{count:,} at order {j}" for j, count in enumerate(self.by_order))
        return f"{self.inputs} inputs: {orders}"


def couplings_count(inputs: int, order: int, neurons: int | None = None) -> CouplingsCount:
    """Independent couplings of the output distribution on N inputs, exactly, at each order of 1/n up to k.

    They depend on neither the widths nor the depth, hence not on the number of parameters: that is ``n_parameters`` of
    a network.

    Parameters
    ----------
    inputs
        N, 1 or more: inputs of which none repeats and no symmetry of the data relates two.
    order
        k, 0 or more.
    neurons
        m, 1 or more; None for k + 1 or more of them, which see everything.

    Raises
    ------
    TypeError, ValueError
        One of them is not a whole number in its range.

    Examples
    --------
    >>> couplings_count(4, 2).by_order
    (10, 55, 220)
    >>> couplings_count(4, 2, neurons=1).by_order
    (10, 35, 84)
    """
    inputs, order = _whole("inputs", inputs, 1), _whole("order", order, 0)
    if neurons is not None:
        neurons = _whole("neurons", neurons, 1)
    found = tuple(_components(inputs, j + 1, neurons) for j in range(order + 1))
    return CouplingsCount(inputs, order, neurons, found)


def inputs_within(parameters: int, order: int | None) -> int:
    """The largest number of inputs whose output distribution takes no more numbers than a network has parameters.

    Parameters
    ----------
    parameters
        1 or more, ``n_parameters`` of a network.
    order
        k, 0 or more; None for a general distribution, 2^N.

    Returns
    -------
    int
        N, 0 where already one input takes more.
    """
    parameters = _whole("parameters", parameters, 1)
    if order is None:
        return parameters.bit_length() - 1
    order = _whole("order", order, 0)
    low, high = 0, 1
    while couplings_count(high, order).total <= parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if couplings_count(middle, order).total <= parameters else (low, middle)
    return low


def distinct_entries(values: Any, tolerance: float = _TOLERANCE) -> int:
    """How many different numbers other than 0 an array or tensor holds: what symmetry has left of its entries.

    Parameters
    ----------
    values
        Any shape.
    tolerance
        Numbers are equal, or 0, that are closer than this times the largest magnitude.

    Raises
    ------
    ValueError
        The array is empty or not finite.
    """
    flat = np.sort(np.asarray(values.cpu() if hasattr(values, "cpu") else values, dtype=np.float64), axis=None)
    if flat.size == 0 or not np.isfinite(flat).all():
        raise ValueError(f"values must hold one finite number or more, got {flat.size} of which some are not finite")
    near = tolerance * float(np.abs(flat).max())
    flat = flat[np.abs(flat) > near]
    return int(flat.size and 1 + (np.diff(flat) > near).sum())


def _components(inputs: int, degree: int, neurons: int | None) -> int:
    """(1) and (2) for d = j + 1."""
    if neurons is None or neurons >= degree:
        return math.comb(inputs * (inputs + 1) // 2 + degree - 1, degree)
    return sum(_dimension(part, inputs) for part in _partitions(degree, neurons))


def _dimension(part: tuple[int, ...], inputs: int) -> int:
    """Dimension of the representation of GL(N) with Young diagram 2 lambda: hook content formula."""
    rows = [2 * length for length in part]
    contents = math.prod(inputs + column - row for row, length in enumerate(rows) for column in range(length))
    return contents // _hooks(tuple(rows))


@cache
def _hooks(rows: tuple[int, ...]) -> int:
    """The product of the hook lengths of a Young diagram."""
    return math.prod(
        length - column + sum(other > column for other in rows[row + 1 :])
        for row, length in enumerate(rows)
        for column in range(length)
    )


def _leading(degree: int, neurons: int | None) -> Fraction:
    """Coefficient of N^(2d): the contents of every diagram grow as N^(2d)."""
    m = degree if neurons is None else min(neurons, degree)
    return sum(
        (Fraction(1, _hooks(tuple(2 * length for length in part))) for part in _partitions(degree, m)), Fraction()
    )


def _partitions(total: int, parts: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Partitions of a number into so many parts at most, in falling order."""
    if total == 0:
        yield ()
        return
    if parts == 0:
        return
    for first in range(min(total, largest or total), 0, -1):
        for rest in _partitions(total - first, parts - 1, first):
            yield (first, *rest)


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, got {value}")
    return int(value)
