"""Four-point expectations of a scale-invariant activation, sigma = alpha |z| + beta z and sigma' = alpha sgn z + beta.

With S_i = sgn z_i everything comes down to <S S S S> (Plackett 1954, :mod:`repflow.expectation.orthant`), to

    M(a, b; I) = <z_a z_b prod_{i in I} S_i>
               = K_ab <S_I> + sum_{i != l in I} K_ai K_bl|i (2/pi) det_il^(-1/2) <S_{I - il} | 0>,

which is integration by parts twice (K_bl|i = K_bl - K_bi K_il / K_ii, det_il = K_ii K_ll - K_il^2, and the last mean at
z_i = z_l = 0), and to the absolute moment of three variables (Nabeya 1951). A collinear pair in I is a constant sign
and drops out of it. Four variables in one plane, where the last mean is 0/0, are arcs of a circle
(:mod:`repflow.expectation.planar`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.kinked import COLLINEAR
from repflow.expectation.orthant import four_steps
from repflow.expectation.planar import correlation_of, outside_plane, planar_moments

_CHUNK = 8192
#: The quadrature of <S S S S>, largest error found.
_QUADRATURE_ERROR = 1e-9
#: Share of the second largest eigenvalue of the correlations below which the others count as absent: a plane.
_PLANE = 1e-9
_ROUNDING = 4e-16
#: Numbers, among the pairs (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), of those within three variables.
_TRIPLES = ((0, 1, 3), (0, 2, 4), (1, 2, 5), (3, 4, 5))


def homogeneous_moments(
    activation: Activation, covariance: Tensor, arrangements: Sequence[tuple[int, ...]]
) -> tuple[Tensor, Tensor]:
    """<s^(i)_1 s^(j)_2 s^(k)_3 s^(l)_4> for orders of which none, two or four are 1, the rest 0.

    Parameters
    ----------
    activation
        sigma, with one slope on either side of 0.
    covariance
        Shape (M, 4, 4).
    arrangements
        The orders (i, j, k, l).

    Returns
    -------
    values, error
        Shapes (M, C) and (M,); the error estimate is that of the moments of signs, which are of order one.
    """
    values = covariance.new_empty(len(covariance), len(arrangements))
    error = covariance.new_empty(len(covariance))
    assert activation.slopes is not None
    low, high = activation.slopes
    at_zero = float(activation.derivative(covariance.new_zeros(1), 1)[0])
    for start in range(0, len(covariance), _CHUNK):
        part = slice(start, start + _CHUNK)
        flat, error[part] = _geometry(covariance[part])
        rows = torch.arange(start, start + len(flat), device=covariance.device)
        values[rows[flat]] = planar_moments(activation, covariance[rows[flat]], arrangements)
        rows = rows[~flat]
        signs = _Signs(covariance[rows], 0.5 * (high - low), 0.5 * (high + low), at_zero)
        values[rows] = signs.moments(arrangements)
    return values, error


def _geometry(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Which quadruples lie in a plane, and what small angles cost in accuracy, (M,) each."""
    rho = correlation_of(covariance)
    outside, second = outside_plane(covariance)
    flat = outside <= _PLANE * second + _ROUNDING
    first, last = torch.triu_indices(4, 4, offset=1, device=covariance.device)
    pairs = rho[:, first, last]
    square = ((1 - pairs) * (1 + pairs)).clamp(min=0.0)
    closed = square < COLLINEAR
    open_ = torch.where(closed, math.inf, square)
    angle = open_.amin(1).sqrt()  # the smallest that is not taken as 0
    three = torch.stack([open_[:, list(triple)].amax(1) for triple in _TRIPLES]).amin(0)  # of the tightest three
    # A sine taken as 0; a distance from the plane taken as 0; conditional correlations out of small differences.
    bent = torch.where(closed, (square - _ROUNDING).clamp(min=0.0), 0.0).sqrt().sum(1)
    lifted = outside / angle
    noisy = 16 * _ROUNDING / (three * angle) + torch.minimum(angle, _ROUNDING / angle**2)
    noisy = noisy + _ROUNDING / (outside / second.clamp(min=1e-300)).clamp(min=_PLANE)
    return flat, torch.where(flat, lifted, bent + noisy) + _QUADRATURE_ERROR


def _arcsine(x: Tensor) -> Tensor:
    return 2 / math.pi * torch.asin(x.clamp(-1.0, 1.0))


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / torch.where(denominator > 0, denominator, 1.0), 0.0)


class _Signs:
    """Moments of one batch of quadruples, each computed when it is first asked for."""

    def __init__(self, covariance: Tensor, alpha: float, beta: float, at_zero: float) -> None:
        self._alpha, self._beta, self._at_zero = alpha, beta, at_zero
        self._silent = covariance.diagonal(dim1=1, dim2=2) <= 0
        self._k = covariance
        self._root = covariance.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt()
        rho = correlation_of(covariance)
        self._rho = torch.where((1 - rho) * (1 + rho) < COLLINEAR, torch.sign(rho), rho)
        self._known: dict[tuple[int, int, tuple[int, ...]], Tensor] = {}
        self._four: Tensor | None = None

    def moments(self, arrangements: Sequence[tuple[int, ...]]) -> Tensor:
        """Shape (M, C)."""
        columns = []
        for orders in arrangements:
            slopes = [i for i in range(4) if orders[i] == 1]
            values = [i for i in range(4) if orders[i] == 0]
            if not slopes:
                column = self._values()
            elif values:
                column = self._mixed(values[0], values[1], slopes[0], slopes[1])
            else:
                column = self._slopes()
            if self._beta != 0:  # sgn 0 dropped out above: a silent input left beta where sigma'(0) belongs
                for i in slopes:
                    column = torch.where(self._silent[:, i], column * (self._at_zero / self._beta), column)
            columns.append(column)
        return torch.stack(columns, dim=1)

    def _pair(self, i: int, j: int) -> Tensor:
        return _arcsine(self._rho[:, i, j])

    def _collinear(self, i: int, j: int) -> Tensor:
        return self._rho[:, i, j].abs() == 1.0

    def _all(self) -> Tensor:
        """<S_1 S_2 S_3 S_4>."""
        if self._four is None:
            pairs = torch.stack([self._pair(i, j) for i, j in combinations(range(4), 2)]).sum(0)
            found = 16 * four_steps(self._k) - 1 - pairs
            self._four = torch.where(self._silent.any(1), 0.0, found)
        return self._four

    def _slopes(self) -> Tensor:
        pairs = torch.stack([self._pair(i, j) for i, j in combinations(range(4), 2)]).sum(0)
        a2, b2 = self._alpha**2, self._beta**2
        return a2 * a2 * self._all() + a2 * b2 * pairs + b2 * b2

    def _mixed(self, a: int, b: int, c: int, d: int) -> Tensor:
        """<s_a s_b s'_c s'_d>: the terms with an even number of odd functions."""
        a2, b2 = self._alpha**2, self._beta**2
        crossed = sum(self._moment(a, b, pair) for pair in ((a, b), (c, d), (a, c), (a, d), (b, c), (b, d)))
        return a2 * a2 * self._moment(a, b, (0, 1, 2, 3)) + a2 * b2 * crossed + b2 * b2 * self._k[:, a, b]

    def _values(self) -> Tensor:
        k, a2, b2 = self._k, self._alpha**2, self._beta**2
        wick = k[:, 0, 1] * k[:, 2, 3] + k[:, 0, 2] * k[:, 1, 3] + k[:, 0, 3] * k[:, 1, 2]
        total = b2 * b2 * wick
        if a2 * b2 > 0:
            for i, j in combinations(range(4), 2):
                m, n = (x for x in range(4) if x not in (i, j))
                total = total + a2 * b2 * (
                    k[:, m, n] * self._moment(i, j, (i, j))
                    + k[:, m, i] * self._moment(n, j, (i, j))
                    + k[:, m, j] * self._moment(n, i, (i, j))
                )
        if a2 > 0:
            everything = (0, 1, 2, 3)
            absolute = sum(
                k[:, 0, i] * self._moment(min({1, 2, 3} - {i}), max({1, 2, 3} - {i}), everything) for i in (1, 2, 3)
            ) + math.sqrt(2 / math.pi) * self._root[:, 0] * _three_absolute(_given(k, (0,), (1, 2, 3)))
            total = total + a2 * a2 * absolute
        return total

    def _moment(self, a: int, b: int, signs: tuple[int, ...]) -> Tensor:
        """M(a, b; I)."""
        signs = tuple(sorted(signs))
        key = (min(a, b), max(a, b), signs)
        if key not in self._known:
            self._known[key] = self._by_parts(*key)
        return self._known[key]

    def _by_parts(self, a: int, b: int, signs: tuple[int, ...]) -> Tensor:
        k = self._k
        total = k[:, a, b] * (self._all() if len(signs) == 4 else self._pair(*signs))
        for i, m in combinations(signs, 2):
            determinant = (k[:, i, i] * k[:, m, m] - k[:, i, m] ** 2).clamp(min=0.0)
            given = torch.ones_like(total)
            if len(signs) == 4:
                rest = _given(k, (i, m), tuple(x for x in signs if x not in (i, m)))
                scale = (rest[:, 0, 0] * rest[:, 1, 1]).clamp(min=0.0).sqrt()
                given = _arcsine(_ratio(rest[:, 0, 1], scale))
            ends = k[:, a, i] * (k[:, b, m] - _ratio(k[:, b, i] * k[:, i, m], k[:, i, i]))
            ends = ends + k[:, a, m] * (k[:, b, i] - _ratio(k[:, b, m] * k[:, i, m], k[:, m, m]))
            total = total + _ratio(ends, determinant.sqrt()) * 2 / math.pi * given
        for i, m in combinations(signs, 2):
            rest_signs = tuple(x for x in signs if x not in (i, m))
            constant = torch.sign(k[:, i, m])
            without = self._moment(a, b, rest_signs) if rest_signs else k[:, a, b]
            total = torch.where(self._collinear(i, m), constant * without, total)
        return total


def _given(covariance: Tensor, known: tuple[int, ...], rest: tuple[int, ...]) -> Tensor:
    """Covariance of the rest given that the known variables, one or two, are 0."""
    block = covariance[:, rest][:, :, rest]
    for step, i in enumerate(known):
        column, pivot = covariance[:, rest, i], covariance[:, i, i]
        if step:  # of what the first one left
            first = known[0]
            lead = covariance[:, first, first]
            column = column - _ratio(covariance[:, rest, first] * covariance[:, first, i, None], lead[:, None])
            pivot = pivot - _ratio(covariance[:, first, i] ** 2, lead)
        block = block - _ratio(column[:, :, None] * column[:, None, :], pivot[:, None, None])
    return block


def _three_absolute(covariance: Tensor) -> Tensor:
    """<|x y z|> for covariances (M, 3, 3)."""
    root = covariance.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt()
    rho = _ratio(covariance, root[:, :, None] * root[:, None, :]).clamp(-1.0, 1.0)
    total = _determinant(rho).clamp(min=0.0).sqrt()
    aligned = torch.ones_like(total, dtype=torch.bool)
    for i, j, m in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        left, right = 1 - rho[:, i, m] ** 2, 1 - rho[:, j, m] ** 2
        partial = _ratio(rho[:, i, j] - rho[:, i, m] * rho[:, j, m], (left * right).clamp(min=0.0).sqrt())
        total = total + (rho[:, i, j] + rho[:, i, m] * rho[:, j, m]) * torch.asin(partial.clamp(-1.0, 1.0))
        aligned &= 1 - rho[:, i, j] ** 2 < _PLANE
    total = torch.where(aligned, math.pi, total)  # <|x|^3>
    return (2 / math.pi) ** 1.5 * root.prod(1) * total


def _determinant(rho: Tensor) -> Tensor:
    x, y, z = rho[:, 0, 1], rho[:, 0, 2], rho[:, 1, 2]
    return 1 - x * x - y * y - z * z + 2 * x * y * z
