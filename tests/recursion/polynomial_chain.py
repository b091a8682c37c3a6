"""The chain of Gram matrices of a network whose activation is a polynomial, order by order in 1/n, by brute force.

Nothing here knows of cumulants, vertices or Taylor formulas for them. A layer's state is the table of the moments
M[delta^alpha] of delta = G - K to degree four, each a series in e = 1/n to e^2, which is all that is of order e^2: a
product of k entries of delta is of order e^ceil(k/2). The next layer's moments are those of a mean of n independent
terms phi_j = C_W s s^T, by sums over set partitions, given G; expectations of phi given G are polynomials in G by Stein's
recursion E[z_a z^m] = sum_b G_ab m_b E[z^(m - e_b)], written in powers of delta and truncated at degree four.
"""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from math import prod

import numpy as np

DEGREE = 4
ORDERS = 3


class Polynomials:
    """Arithmetic of truncated polynomials in P variables: arrays of coefficients over the monomials."""

    def __init__(self, variables):
        self.monomials = [m for d in range(DEGREE + 1) for m in combinations_with_replacement(range(variables), d)]
        self.place = {m: k for k, m in enumerate(self.monomials)}
        table = [
            (i, j, self.place[tuple(sorted(a + b))])
            for i, a in enumerate(self.monomials)
            for j, b in enumerate(self.monomials)
            if len(a) + len(b) <= DEGREE
        ]
        self._left, self._right, self._target = np.array(table).T

    def constant(self, value):
        found = np.zeros(len(self.monomials))
        found[0] = value
        return found

    def linear(self, value, variable):
        """value + delta_variable."""
        found = self.constant(value)
        found[self.place[(variable,)]] = 1.0
        return found

    def times(self, f, g):
        return np.bincount(self._target, f[self._left] * g[self._right], len(self.monomials))


def _partitions(items):
    if not items:
        yield []
        return
    head, *rest = items
    for partition in _partitions(rest):
        yield [[head], *partition]
        for k, block in enumerate(partition):
            yield [*partition[:k], [head, *block], *partition[k + 1 :]]


class Moments:
    """E[z^m] given G = K + delta, as polynomials in delta."""

    def __init__(self, ring, kernel, index):
        self.ring, self.kernel, self.index = ring, kernel, index
        self._known = {(0,) * len(kernel): ring.constant(1.0)}

    def __call__(self, powers):
        if powers in self._known:
            return self._known[powers]
        if sum(powers) % 2:
            return self.ring.constant(0.0)
        a = next(k for k, power in enumerate(powers) if power)
        rest = tuple(power - (k == a) for k, power in enumerate(powers))
        total = self.ring.constant(0.0)
        for b, power in enumerate(rest):
            if power:
                lower = self(tuple(p - (k == b) for k, p in enumerate(rest)))
                entry = self.ring.linear(self.kernel[a, b], self.index[a, b])
                total += power * self.ring.times(entry, lower)
        self._known[powers] = total
        return total


def expansion(sigma, x, widths, C_W, C_b):
    """Layers 1..L: (K, E G, Cov G, third cumulant) by pairs, the last three as coefficients of e^0, e^1, e^2.

    ``sigma`` holds the coefficients of the polynomial, ``widths`` are n_0, ..., n_L in units of 1/e.
    """
    count = len(x)
    pairs = list(combinations_with_replacement(range(count), 2))
    index = np.zeros((count, count), dtype=int)
    for k, (a, b) in enumerate(pairs):
        index[a, b] = index[b, a] = k
    ring = Polynomials(len(pairs))
    kernel = C_b + C_W * x @ x.T / x.shape[1]
    state = np.zeros((len(ring.monomials), ORDERS))
    state[0, 0] = 1.0
    found = [(kernel, *_cumulants(kernel, state, ring, pairs))]
    for width in widths[1:-1]:
        given = Moments(ring, kernel, index)
        blocks = _blocks(sigma, given, pairs, ring, C_W)
        mean = np.array([blocks[k,][0] for k in range(len(pairs))])
        new_kernel = np.array([[C_b + mean[index[a, b]] for b in range(count)] for a in range(count)])
        new = np.zeros_like(state)
        for row, monomial in enumerate(ring.monomials):
            for order, polynomial in _given(monomial, blocks, mean, ring):
                series = polynomial @ state  # M of the layer below
                for lower in range(ORDERS - order):
                    new[row, order + lower] += series[lower] / width**order
        kernel, state = new_kernel, new
        found.append((kernel, *_cumulants(kernel, state, ring, pairs)))
    return pairs, found


def _blocks(sigma, given, pairs, ring, C_W):
    """E[phi_p phi_q ...] given G for up to four pairs."""
    found = {}
    powers = {}
    for size in range(1, DEGREE + 1):
        for chosen in combinations_with_replacement(range(len(pairs)), size):
            inputs = [member for k in chosen for member in pairs[k]]
            counts = tuple(inputs.count(a) for a in range(len(given.kernel)))
            expanded = []
            for count in counts:  # sigma^count as a polynomial in one z
                if count not in powers:
                    powers[count] = np.polynomial.polynomial.polypow(sigma, count) if count else np.ones(1)
                expanded.append(powers[count])
            total = ring.constant(0.0)
            for degrees in product(*(range(len(p)) for p in expanded)):
                factor = prod(p[d] for p, d in zip(expanded, degrees, strict=True))
                if factor and sum(degrees) % 2 == 0:
                    total += factor * given(degrees)
            found[chosen] = C_W**size * total
    return found


def _given(monomial, blocks, mean, ring):
    """E[delta'^alpha | G] as (order in 1/n, polynomial): delta' = (1/n) sum_j (phi_j - mean)."""
    centred = {}

    def block(members):
        members = tuple(sorted(members))
        if members not in centred:  # E[prod (phi - mean)] by expanding the product
            total = ring.constant(0.0)
            for keep in product((0, 1), repeat=len(members)):
                kept = tuple(m for m, k in zip(members, keep, strict=True) if k)
                factor = prod(-mean[m] for m, k in zip(members, keep, strict=True) if not k)
                total += factor * (blocks[kept] if kept else ring.constant(1.0))
            centred[members] = total
        return centred[members]

    for partition in _partitions(list(monomial)):
        polynomial = ring.constant(1.0)
        for members in partition:
            polynomial = ring.times(polynomial, block(members))
        # n (n - 1) ... (n - m + 1)/n^k as a polynomial in 1/n
        falling = np.ones(1)
        for j in range(len(partition)):
            falling = np.polynomial.polynomial.polymul(falling, [1.0, -j])
        for power, coefficient in enumerate(falling):
            order = len(monomial) - len(partition) + power
            if coefficient and order < ORDERS:
                yield order, coefficient * polynomial


def _cumulants(kernel, state, ring, pairs):
    """Mean, covariance and third cumulant from the moments, series in e truncated at e^2."""

    def times(f, g):
        return np.array([sum(f[k] * g[order - k] for k in range(order + 1)) for order in range(ORDERS)])

    def moment(*members):
        return state[ring.place[tuple(sorted(members))]]

    count = len(pairs)
    mean, cov, third = np.zeros((count, 3)), np.zeros((count, count, 3)), np.zeros((count, count, count, 3))
    for i, j, k in product(range(count), repeat=3):
        mean[i] = moment(i)
        cov[i, j] = moment(i, j) - times(moment(i), moment(j))
        third[i, j, k] = moment(i, j, k) + 2 * times(times(moment(i), moment(j)), moment(k))
        for a, b, c in ((i, j, k), (j, i, k), (k, i, j)):
            third[i, j, k] -= times(moment(a), moment(b, c))
    mean[:, 0] += [kernel[pair] for pair in pairs]
    return mean, cov, third
