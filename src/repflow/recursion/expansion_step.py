"""One layer of the expansion to any order in 1/n: all joint cumulants of the Gram entries at once.

Given the Gram matrix g = K + delta of one layer, the next one's entries are C_b + (1/n) sum_i phi_i with n independent
neurons, so that the law of total cumulance reads, for the generating function of cumulants in lambda,

    log E exp(lambda . G') = log E_delta exp( sum_{m>=1} n^(1-m) C_m(K + delta)[lambda, ..., lambda] / m! )

with C_1 = F = C_b + <phi> and C_m the m-th joint cumulant of phi under N(0, g). The right side is computed by truncated
power series alone: C_m by the logarithm of the moments' series, the exponential, its expectation by the moments of
delta (the exponential of the old layer's cumulants), and the logarithm. A term delta^r n^-e is of order |r|/2 + e.
"""

from __future__ import annotations

import numpy as np

from repflow.recursion.expansion_algebra import (
    Array,
    Monomials,
    Ring,
    exponential,
    logarithm,
    truncated_product,
)


class Algebra:
    """The series of one expansion: P Gram entries, to order k in 1/n.

    Attributes
    ----------
    sources
        Monomials in lambda, degree k + 1: cumulants beyond start at higher orders.
    ring
        Series in the shifts delta and in 1/n.
    """

    def __init__(self, entries: int, order: int) -> None:
        self.order = order
        self.sources = Monomials(entries, order + 1)
        self.ring = Ring(entries, order)

    def start(self) -> Array:
        """Cumulants of a first layer, which does not fluctuate; shape (sources, order + 1)."""
        return np.zeros((len(self.sources), self.order + 1))


def next_cumulants(algebra: Algebra, cumulants: Array, moments: Array, n: int) -> Array:
    """Joint cumulants of the next layer's G' - K'.

    Parameters
    ----------
    algebra
        Of the expansion.
    cumulants
        Of this layer's G - K, as coefficients of lambda^a (that is, over a!) by powers of 1/n with the widths put in:
        their sum over the second axis is the cumulant over a!. Shape (sources, order + 1).
    moments
        Taylor coefficients of E[phi^a] in delta, shape (sources, shifts).
    n
        Width of this layer.

    Returns
    -------
    ndarray
        The same for the next layer.
    """
    ring, sources, order = algebra.ring, algebra.sources, algebra.order
    generating = np.zeros((len(sources), *ring.shape))
    generating[:, :, 0] = moments / sources.factorials[:, None]
    single = logarithm(sources, generating, ring.multiply)  # C_m[lambda^m] / m!
    exponent = np.zeros_like(single)
    for number, degree in enumerate(sources.degrees.tolist()):
        if degree:
            power = degree - 1
            exponent[number, :, power:] = single[number, :, : order + 1 - power] / float(n) ** power
            for shift, own in enumerate(ring.shifts.degrees.tolist()):
                exponent[number, shift, max(0, (2 * order - own) // 2 + 1) :] = 0.0
            if degree == 1:
                exponent[number, 0, 0] = 0.0  # the new kernel K', which cumulants are counted from
    series = exponential(sources, exponent, ring.multiply, ring.one())
    expected = _expected(algebra, series, cumulants)
    found = logarithm(sources, expected, truncated_product)
    for number, degree in enumerate(sources.degrees.tolist()):
        found[number, : max(degree - 1, 0)] = 0.0  # what cancels exactly
    return found


def _expected(algebra: Algebra, series: Array, cumulants: Array) -> Array:
    """E over delta of series (sources, shifts, powers): (sources, powers)."""
    ring, order = algebra.ring, algebra.order
    shifts = ring.shifts
    wide = np.zeros((len(shifts), order + 1))
    for number, exponents in enumerate(algebra.sources.exponents):
        place = shifts.index.get(exponents)
        if place is not None:
            wide[place] = cumulants[number]
    one = np.zeros(order + 1)
    one[0] = 1.0
    raw = exponential(shifts, wide, truncated_product, one) * shifts.factorials[:, None]  # E[delta^r]
    out = np.zeros((len(series), order + 1))
    for power in range(order + 1):
        for more in range(order + 1 - power):
            out[:, power + more] += series[:, :, power] @ raw[:, more]
    return out
