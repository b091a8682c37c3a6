"""<f_a f_b> and its derivatives in K for a function f that jumps, or has kinks: derivatives of f as distributions.

The p-th derivative of f is its regular part plus delta functions, a jump J of the regular j-th derivative at c giving J
delta^(p - 1 - j)(z - c). Against another function, a derivative of a delta function is a derivative of the density
times a conditional mean,

    E[delta^(m)(z_1 - c) g(z_2)] = (-1)^m d^m/dx^m [p(x) E[g(z_2) | z_1 = x]] at x = c,
    d/dx E[g | x] = (K_12 / K_11) E[g' | x],

where g' again is a distribution, and a delta function there is a density. It all exists as long as the pair is not
collinear.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.kinked import COLLINEAR, collinear_pairs
from repflow.expectation.mehler import correlations
from repflow.expectation.split import Function, conditional_means, split_expectations

#: Orders (p, q) of <f^(p)_a f^(q)_b> behind each part of a PairMap, and the factor in front.
_PARTS = {
    "mean": ((0, 0), 1.0),
    "d_cross": ((1, 1), 1.0),
    "d_self": ((2, 0), 0.5),
    "h_cross": ((2, 2), 1.0),
    "h_self_other": ((2, 2), 0.25),
    "h_self_cross": ((3, 1), 0.5),
    "h_self": ((4, 0), 0.25),
}
_COUNT = (1, 3, 7)


def distributional_pair_map(f: Activation, kernel: Tensor, derivatives: int) -> dict[str, Tensor]:
    """The parts of a PairMap of f, off-diagonal entries of inputs with a variance valid, the rest 0."""
    names = list(_PARTS)[: _COUNT[derivatives]]
    parts = {name: torch.zeros_like(kernel) for name in names}
    variance = kernel.diagonal().clamp(min=0.0)
    rho = correlations(kernel)
    live = torch.ones_like(rho, dtype=torch.bool).triu(1) & (variance[:, None] > 0) & (variance[None, :] > 0)
    collinear = (1 - rho) * (1 + rho) < COLLINEAR
    collinear_pairs(f, kernel, live & collinear, parts)
    a, b = torch.nonzero(live & ~collinear, as_tuple=True)
    if len(a):
        swap = variance[a] < variance[b]  # the wider one outside
        a, b = torch.where(swap, b, a), torch.where(swap, a, b)
        moments = _Moments(f, kernel[a, a], kernel[b, b], kernel[a, b])
        for name in names:
            (p, q), factor = _PARTS[name]
            parts[name][a, b] = factor * moments(p, q)
            parts[name][b, a] = factor * moments(q, p)
    return parts


class _Moments:
    """<f^(p)(z_1) f^(q)(z_2)> for a list of pairs, covariances of shape (P,)."""

    def __init__(self, f: Activation, k11: Tensor, k22: Tensor, k12: Tensor) -> None:
        self._f = f
        self._sides = ((k11, k22), (k22, k11))
        self._k12 = k12
        self._known: dict[tuple[int, int], Tensor] = {}

    def __call__(self, p: int, q: int) -> Tensor:
        if (p, q) not in self._known:
            (k11, k22), _ = self._sides
            regular = split_expectations([self._regular(p)], [self._regular(q)], self._f.kinks, k11, k22, self._k12)[0][
                0
            ]
            self._known[p, q] = regular + self._deltas(0, p, 0, q) + self._deltas(1, q, p, 0)
        return self._known[p, q]

    def _regular(self, order: int) -> Function:
        return lambda z: self._f.derivative(z, order)

    def _deltas(self, side: int, p: int, base: int, times: int) -> Tensor:
        """E of the delta functions in f^(p) at one variable against g^(times) at the other, g the regular part of
        f^(base).
        """
        own, _ = self._sides[side]
        slope = self._k12 / own
        total = torch.zeros_like(own)
        for j in range(p):
            m = p - 1 - j
            for c, size in self._f.jumps(j):
                # d^m [p(x) G(x)] by Leibniz' rule
                for i in range(m + 1):
                    given = slope**i * self._given(side, c, base, times + i)
                    total += (-1) ** m * size * math.comb(m, i) * _density(c, own, m - i) * given
        return total

    def _given(self, side: int, x: float, base: int, times: int) -> Tensor:
        """E[g^(times) | x] at the other variable, delta functions included."""
        own, other = self._sides[side]
        mean = self._k12 / own * x
        square = (other - self._k12 * self._k12 / own).clamp(min=0.0)
        order = base + times
        value = conditional_means([self._regular(order)], self._f.kinks, mean, square.sqrt())[0]
        for j in range(base, order):
            n = order - 1 - j
            for c, size in self._f.jumps(j):
                value = value + size * (-1) ** n * _density(c - mean, square, n)
        return value


def _density(x: Tensor | float, variance: Tensor, order: int) -> Tensor:
    """The ``order``-th derivative in x of the normal density, (-1/s)^n He_n(x/s) p(x)."""
    s = variance.clamp(min=1e-300).sqrt()
    u = x / s
    previous, current = torch.zeros_like(u), torch.ones_like(u)
    for n in range(order):
        previous, current = current, u * current - n * previous
    return current * (-1.0 / s) ** order * torch.exp(-0.5 * u * u) / (math.sqrt(2 * math.pi) * s)
