"""Truncated power series in several variables: the algebra behind the expansion to any order.

A series in P variables is an array of coefficients by monomial, whose coefficients may be series of their own. What is
beyond the truncation is dropped. ``exp`` and ``log`` follow from the Euler operator, sum_i x_i d/dx_i, which multiplies
a monomial by its degree: E = exp(h) has |a| E_a = sum_{0<b<=a} |b| h_b E_{a-b}.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Product = Callable[[Array, Array], Array]


class Monomials:
    """All monomials of ``variables`` variables up to ``degree``, by degree.

    Attributes
    ----------
    exponents
        One tuple for each.
    index
        Number of each exponent tuple.
    """

    def __init__(self, variables: int, degree: int) -> None:
        self.variables = variables
        self.degree = degree
        self.exponents: list[tuple[int, ...]] = []
        for total in range(degree + 1):
            for chosen in combinations_with_replacement(range(variables), total):
                self.exponents.append(tuple(chosen.count(i) for i in range(variables)))
        self.index = {exponents: number for number, exponents in enumerate(self.exponents)}

    def __len__(self) -> int:
        return len(self.exponents)

    @cached_property
    def degrees(self) -> NDArray[np.int64]:
        """Degree of each monomial."""
        return np.array([sum(e) for e in self.exponents])

    @cached_property
    def factorials(self) -> Array:
        """a! = prod a_i! of each monomial."""
        return np.array([math.prod(math.factorial(i) for i in e) for e in self.exponents], dtype=np.float64)

    @cached_property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """All (i, j, k) with monomial i times monomial j equal to monomial k."""
        found = []
        for i, a in enumerate(self.exponents):
            for j, b in enumerate(self.exponents):
                k = self.index.get(tuple(p + q for p, q in zip(a, b, strict=True)))
                if k is not None:
                    found.append((i, j, k))
        first, second, third = np.array(found).T
        return first, second, third


class Ring:
    """Series in the shifts delta of the Gram entries and in 1/n: arrays (..., shifts, powers of 1/n).

    A term delta^r n^-e counts as order |r|/2 + e, since E[delta^r] is of order n^(-|r|/2); beyond ``order`` it is
    dropped.

    Parameters
    ----------
    entries
        P, the number of Gram entries: 1 for one input, 3 for two.
    order
        The highest power of 1/n kept.
    """

    def __init__(self, entries: int, order: int) -> None:
        self.order = order
        self.shifts = Monomials(entries, 2 * order)
        self.shape = (len(self.shifts), order + 1)
        # Flat terms, and the products of two of them that are kept.
        kept = [(s, e) for s in range(len(self.shifts)) for e in range(order + 1) if self._fits(s, e)]
        self._kept = np.array([s * (order + 1) + e for s, e in kept])
        number = {term: place for place, term in enumerate(kept)}
        triples = []
        i, j, k = self.shifts.pairs
        for s, t, u in zip(i.tolist(), j.tolist(), k.tolist(), strict=True):
            for e in range(order + 1):
                for f in range(order + 1 - e):
                    if self._fits(u, e + f):
                        triples.append((number[s, e], number[t, f], number[u, e + f]))
        triples.sort(key=lambda triple: triple[2])
        self._first, self._second, third = np.array(triples).T
        self._starts = np.flatnonzero(np.diff(third, prepend=-1))  # every kept term is 1 times itself

    def _fits(self, shift: int, power: int) -> bool:
        return int(self.shifts.degrees[shift]) + 2 * power <= 2 * self.order

    def zero(self) -> Array:
        """The series 0."""
        return np.zeros(self.shape)

    def one(self) -> Array:
        """The series 1."""
        out = np.zeros(self.shape)
        out[0, 0] = 1.0
        return out

    def multiply(self, a: Array, b: Array) -> Array:
        """Product of two series."""
        left, right = a.ravel()[self._kept], b.ravel()[self._kept]
        out = np.zeros(self.shape)
        out.ravel()[self._kept] = np.add.reduceat(left[self._first] * right[self._second], self._starts)
        return out


def truncated_product(a: Array, b: Array) -> Array:
    """Product of two power series in one variable, both of this many coefficients."""
    out: Array = np.convolve(a, b)[: len(a)]
    return out


def exponential(monomials: Monomials, h: Array, product: Product, one: Array) -> Array:
    """exp(h) of a series h without constant term, coefficients along the first axis multiplied by ``product``."""
    out = np.zeros_like(h)
    out[0] = one
    present = _present(h)
    for k, terms in _by_target(monomials):
        total = np.zeros_like(one)
        for i, j in terms:
            if present[i]:
                total += monomials.degrees[i] * product(h[i], out[j])
        out[k] = total / monomials.degrees[k]
    return out


def logarithm(monomials: Monomials, e: Array, product: Product) -> Array:
    """log(e) of a series with constant term 1."""
    out = np.zeros_like(e)
    for k, terms in _by_target(monomials):
        total = np.zeros_like(e[0])
        for i, j in terms:
            if j:
                total += monomials.degrees[i] * product(out[i], e[j])
        out[k] = e[k] - total / monomials.degrees[k]
    return out


def _present(h: Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (h.reshape(len(h), -1) != 0).any(axis=1)
    return found


def _by_target(monomials: Monomials) -> list[tuple[int, list[tuple[int, int]]]]:
    """For each monomial k but 1: the pairs (i, j) with i times j equal to k and i not 1."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(len(monomials))]
    for i, j, k in zip(*(part.tolist() for part in monomials.pairs), strict=True):
        if i:
            found[k].append((i, j))
    return [(k, found[k]) for k in range(1, len(monomials))]
