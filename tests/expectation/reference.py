"""Gaussian expectations worked out without repflow: adaptive and nested integration in NumPy.

One and two variables: Gauss-Legendre panels that are halved until two orders agree, the inner integral inside the
outer. Four variables: nested panels cut at every kink and around every place where a later variable is likely to cross
one, the last variable through a table of its conditional mean; smooth functions on the trapezoid rule in whitened
coordinates. Both are run at two resolutions that have to agree.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import erf, expit

REACH = 9.0
_A = 1.6732632423543772848170429916717
_S = 1.0507009873554804934193349852946


def _gelu(z):
    return 0.5 * z * (1 + erf(z / math.sqrt(2)))


def _gelu_tanh(z):
    return 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def _softplus(z):
    if np.iscomplexobj(z):
        return np.where(z.real > 0, z, 0) + np.log1p(np.exp(np.where(z.real > 0, -z, z)))
    return np.logaddexp(0.0, z)


def _sigmoid(z):
    return 0.5 * (1 + np.tanh(0.5 * z)) if np.iscomplexobj(z) else expit(z)


#: name -> (function of arrays, complex ones where it is analytic; points where it is not smooth)
ACTIVATIONS = {
    "identity": (lambda z: z, ()),
    "relu": (lambda z: np.maximum(z, 0.0), (0.0,)),
    "leaky_relu:0.2": (lambda z: np.where(z > 0, z, 0.2 * z), (0.0,)),
    "abs": (np.abs, (0.0,)),
    "tanh": (np.tanh, ()),
    "sin": (np.sin, ()),
    "erf": (erf, ()),
    "arctan": (np.arctan, ()),
    "gelu": (_gelu, ()),
    "gelu_tanh": (_gelu_tanh, ()),
    "silu": (lambda z: z * _sigmoid(z), ()),
    "mish": (lambda z: z * np.tanh(_softplus(z)), ()),
    "softplus": (_softplus, ()),
    "sigmoid": (_sigmoid, ()),
    "monomial:2": (lambda z: z**2, ()),
    "monomial:3": (lambda z: z**3, ()),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0.0))), (0.0,)),
    "elu:0.5": (lambda z: np.where(z > 0, z, 0.5 * np.expm1(np.minimum(z, 0.0))), (0.0,)),
    "selu": (lambda z: _S * np.where(z > 0, z, _A * np.expm1(np.minimum(z, 0.0))), (0.0,)),
    "softsign": (lambda z: z / (1 + np.abs(z)), (0.0,)),
    "hardtanh": (lambda z: np.clip(z, -1.0, 1.0), (-1.0, 1.0)),
    "hardswish": (lambda z: z * np.clip(z + 3.0, 0.0, 6.0) / 6.0, (-3.0, 3.0)),
    "perceptron": (lambda z: (z > 0).astype(float), (0.0,)),
}

#: first derivatives, away from the kinks where there are any
SLOPES = {
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "erf": lambda z: 2 / math.sqrt(math.pi) * np.exp(-z * z),
    "gelu": lambda z: 0.5 * (1 + erf(z / math.sqrt(2))) + z * _density(z),
    "arctan": lambda z: 1 / (1 + z * z),
    "softplus": lambda z: expit(z),
    "sigmoid": lambda z: expit(z) * expit(-z),
    "relu": lambda z: (z > 0) * 1.0,
    "leaky_relu:0.2": lambda z: np.where(z > 0, 1.0, 0.2),
    "abs": np.sign,
    "elu": lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0.0))),
    "elu:0.5": lambda z: np.where(z > 0, 1.0, 0.5 * np.exp(np.minimum(z, 0.0))),
    "selu": lambda z: _S * np.where(z > 0, 1.0, _A * np.exp(np.minimum(z, 0.0))),
    "softsign": lambda z: 1 / (1 + np.abs(z)) ** 2,
    "hardtanh": lambda z: (np.abs(z) < 1) * 1.0,
    "hardswish": lambda z: np.where(z > 3, 1.0, np.where(z < -3, 0.0, (2 * z + 3) / 6)),
    "perceptron": lambda z: 0.0 * z,
}


def derivative(name, order):
    """sigma^(order) as a function of real arrays: written out, or Cauchy's integral on a circle."""
    f, kinks = ACTIVATIONS[name]
    if order == 0:
        return f
    if order == 1 and name in SLOPES:
        return SLOPES[name]
    assert not kinks
    radius, points = (0.04, 12) if name == "gelu_tanh" else (0.25, 24)
    circle = np.exp(2j * np.pi * np.arange(points) / points)
    factor = math.factorial(order) / radius**order

    def value(z):
        return factor * (f(z[..., None] + radius * circle) * circle**-order).real.mean(-1)

    return value


_X8, _W8 = np.polynomial.legendre.leggauss(8)
_X13, _W13 = np.polynomial.legendre.leggauss(13)


def adaptive(f, rows, low, high, count, tol):
    """Integrals of f(row, points) over panels [low, high], summed by row, halved until two Gauss rules agree to
    ``tol`` (of the largest panel, if that is above 1)."""
    total = np.zeros(count)
    scale = 1.0
    for _ in range(60):
        if not len(rows):
            return total
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        fine = half * (f(rows, middle[:, None] + half[:, None] * _X13) @ _W13)
        coarse = half * (f(rows, middle[:, None] + half[:, None] * _X8) @ _W8)
        scale = max(scale, float(np.abs(fine).max()))  # z^24 is an integrand too
        done = (np.abs(fine - coarse) <= tol * scale) | (half < 1e-13)
        np.add.at(total, rows[done], fine[done])
        rows, low, middle, high = rows[~done], low[~done], middle[~done], high[~done]
        rows, low, high = np.concatenate([rows, rows]), np.concatenate([low, middle]), np.concatenate([middle, high])
    raise AssertionError("the reference did not converge")


def _density(u):
    return np.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)


def _edges(breaks):
    """Panels of [-REACH, REACH] by row from break points (rows, k); non-finite ones are dropped."""
    breaks = np.clip(np.nan_to_num(breaks, nan=0.0, posinf=REACH, neginf=-REACH), -REACH, REACH)
    edges = np.sort(np.concatenate([np.broadcast_to(np.linspace(-REACH, REACH, 19), (len(breaks), 19)), breaks], 1), 1)
    rows = np.repeat(np.arange(len(breaks)), edges.shape[1] - 1)
    low, high = edges[:, :-1].ravel(), edges[:, 1:].ravel()
    keep = high > low
    return rows[keep], low[keep], high[keep]


def one(f, kinks, variance, tol=1e-13):
    """E[f(z)], z ~ N(0, variance)."""
    if variance == 0:
        return float(f(np.zeros(1))[0])
    sigma = math.sqrt(variance)
    rows, low, high = _edges(np.array([kinks], dtype=float).reshape(1, -1) / sigma)
    return float(adaptive(lambda _, u: f(sigma * u) * _density(u), rows, low, high, 1, tol)[0])


def two(f, g, kinks, k11, k22, k12, tol=1e-12):
    """E[f(z_1) g(z_2)] by nested adaptive integration; exactly (anti-)parallel and zero inputs in one dimension."""
    kinks = np.asarray(kinks, dtype=float)
    if k11 == 0 or k22 == 0:
        return one(f, kinks, k11) * one(g, kinks, k22)
    if k11 * k22 - k12 * k12 <= 1e-15 * k11 * k22:
        ratio = math.copysign(math.sqrt(k22 / k11), k12)
        return one(lambda z: f(z) * g(ratio * z), np.concatenate([kinks, kinks / ratio]), k11, tol)
    if k11 < k22:
        f, g, k11, k22 = g, f, k22, k11
    sigma, slope = math.sqrt(k11), k12 / k11
    spread = math.sqrt(k22 - k12 * slope)

    def inner(z1):
        flat = z1.ravel()
        mean = slope * flat
        rows, low, high = _edges((kinks - mean[:, None]) / spread)
        value = adaptive(
            lambda r, v: g(mean[r][:, None] + spread * v) * _density(v), rows, low, high, len(flat), 0.1 * tol
        )
        return value.reshape(z1.shape)

    breaks = [kinks / sigma]
    if slope != 0:
        smear = spread / abs(slope * sigma)
        breaks += [kinks / (slope * sigma) + grade * smear for grade in (-6, -3, -1.5, 0, 1.5, 3, 6)]
    rows, low, high = _edges(np.concatenate(breaks)[None, :])
    return float(adaptive(lambda _, u: f(sigma * u) * inner(sigma * u) * _density(u), rows, low, high, 1, tol)[0])


def bound2(f, g, kinks, k11, k22):
    """sqrt(<f^2><g^2>)."""
    return math.sqrt(one(lambda z: f(z) ** 2, kinks, k11) * one(lambda z: g(z) ** 2, kinks, k22))


def bound4(f, kinks, variances):
    """prod <f_i^4>^(1/4)."""
    return math.prod(one(lambda z: f(z) ** 4, kinks, v) ** 0.25 for v in variances)


def _loadings(covariance):
    """Lower-triangular factor of a semidefinite matrix without pivoting, columns that add nothing removed."""
    k = np.array(covariance, dtype=float)
    n, scale = len(k), np.diag(covariance).copy()
    columns = []
    for j in range(n):
        if k[j, j] > 1e-13 * scale[j]:
            column = k[:, j] / math.sqrt(k[j, j])
            column[:j] = 0.0
            column[np.abs(column) < 1e-9 * np.sqrt(scale)] = 0.0
            k -= np.outer(column, column)
            columns.append(column)
    return np.stack(columns, 1) if columns else np.zeros((n, 0))


def _table(f, kinks, spread, low, high):
    """A spline of m -> E[f(m + spread v)] on [low, high], as fine as the spread where f has kinks."""
    step = 0.01
    grid = [np.arange(low, high + step, step)]
    for kink in kinks:
        grid.append(kink + spread * np.linspace(-10, 10, 4001))
        grid.append(kink + np.concatenate([-np.geomspace(1e-9, 1, 800), np.geomspace(1e-9, 1, 800)]))
    grid = np.unique(np.concatenate(grid))
    grid = grid[np.concatenate([[True], np.diff(grid) > 1e-12])]
    cuts = (np.asarray(kinks, dtype=float) - grid[:, None]) / spread
    base = np.linspace(-REACH, REACH, 2 * math.ceil(REACH * max(1.0, spread / 1.2)) + 1)
    values = np.empty_like(grid)
    for start in range(0, len(grid), 2000):
        part = slice(start, start + 2000)
        m = grid[part, None]
        edges = np.sort(
            np.concatenate([np.broadcast_to(base, (len(m), len(base))), np.clip(cuts[part], -REACH, REACH)], 1), 1
        )
        u, w = _nodes(edges, 10)
        values[part] = (f(m + spread * u) * w).sum(1)
    return CubicSpline(grid, values)


def _nodes(edges, points):
    x, w = np.polynomial.legendre.leggauss(points)
    half, middle = 0.5 * (edges[:, 1:] - edges[:, :-1]), 0.5 * (edges[:, 1:] + edges[:, :-1])
    u = (middle[..., None] + half[..., None] * x).reshape(len(edges), -1)
    return u, (half[..., None] * w).reshape(len(edges), -1) * _density(u)


class Nested:
    """E[prod_i f_i(z_i)] over any number of variables, one Gaussian direction inside the other; ``f`` is one function
    or a list of one for each variable."""

    def __init__(self, f, kinks, covariance, points, trapezoid=None):
        order = np.argsort(-np.diag(covariance), kind="stable")
        functions = f if isinstance(f, list) else [f] * len(order)
        self.kinks, self.points, self.trapezoid = np.asarray(kinks, dtype=float), points, trapezoid
        silent = [i for i in order if covariance[i, i] == 0]
        self.silent = math.prod(float(functions[i](np.zeros(1))[0]) for i in silent)
        order = order[: len(order) - len(silent)]
        self.f = [functions[i] for i in order]
        self.loading = _loadings(np.asarray(covariance, dtype=float)[np.ix_(order, order)])
        rank = self.loading.shape[1]
        self.last = [int(np.nonzero(row)[0].max()) for row in self.loading]
        final = [i for i, level in enumerate(self.last) if level == rank - 1]
        self.table = None
        if rank > 1 and len(final) == 1:  # the last direction moves one variable: tabulate its conditional mean
            spread = abs(self.loading[final[0], -1])
            reach = 1.01 * (REACH + 0.5) * np.linalg.norm(self.loading[final[0], :-1]) * math.sqrt(rank) + 1.0
            self.table = (final[0], _table(self.f[final[0]], self.kinks, spread, -reach, reach))

    def value(self):
        if not self.loading.shape[1]:
            return self.silent
        total = self._level(0, np.zeros((1, len(self.loading))))
        return float(total[0]) * self.silent

    def _level(self, level, means):
        """Integral over directions ``level`` and later, for rows of conditional means (rows, variables)."""
        if self.table is not None and level == self.loading.shape[1] - 1:
            return self.table[1](means[:, self.table[0]])
        column = self.loading[:, level]
        rows = len(means)
        if self.trapezoid is not None:
            count = 2 * math.ceil(REACH / min(0.7, self.trapezoid / np.abs(column).max())) + 1
            u = np.linspace(-REACH, REACH, count)[None, :]
            w = _density(u) * (u[0, 1] - u[0, 0])
            u, w = np.broadcast_to(u, (rows, count)), np.broadcast_to(w, (rows, count))
        else:
            width = min(1.5, 3.0 / np.abs(column).max())
            base = np.linspace(-REACH, REACH, 2 * math.ceil(REACH / width) + 1)
            edges = [np.broadcast_to(base, (rows, len(base)))]
            for i in np.nonzero(column)[0]:
                centre = (self.kinks - means[:, i, None]) / column[i]
                spread = np.linalg.norm(self.loading[i, level + 1 :]) / abs(column[i])
                grades = [0.0]
                if 0 < spread < 0.5:
                    grades = [g * spread for g in (-5.0, -2.0, 0.0, 2.0, 5.0)]
                edges += [centre + g for g in grades]
            u, w = _nodes(np.clip(np.sort(np.concatenate(edges, 1), 1), -REACH, REACH), self.points)
        done = [i for i, last in enumerate(self.last) if last == level]
        out = np.empty(rows)
        step = max(1, 400_000 // u.shape[1]) if level + 1 < self.loading.shape[1] else rows
        for start in range(0, rows, step):
            part = slice(start, start + step)
            z = means[part, None, :] + u[part, :, None] * column
            product = w[part].copy()
            for i in done:
                product *= self.f[i](z[:, :, i])
            if level + 1 < self.loading.shape[1]:
                product *= self._level(level + 1, z.reshape(-1, z.shape[2])).reshape(product.shape)
            out[part] = product.sum(1)
        return out


def four(name, covariance, check=1e-7):
    """E[f f f f] and its Cauchy-Schwarz bound; two resolutions are asserted to agree to ``check`` of the bound,
    refined until they do.

    ``name`` is that of an activation, or a pair (function, kinks).
    """
    f, kinks = ACTIVATIONS[name] if isinstance(name, str) else name
    return _refined([f] * len(covariance), kinks, covariance, check)


def mixed(name, orders, covariance, check=1e-8):
    """E[s^(i) s^(j) s^(k) s^(l)] for orders 0 and 1, and its Cauchy-Schwarz bound, like ``four``."""
    functions = [derivative(name, order) for order in orders]
    return _refined(functions, ACTIVATIONS[name][1], covariance, check)


def _refined(functions, kinks, covariance, check):
    norms = [one(lambda z, f=f: f(z) ** 4, kinks, v) ** 0.25 for f, v in zip(functions, np.diag(covariance))]
    bound = max(math.prod(norms), 1e-300)
    difference = math.inf
    for coarse, fine in ((4, 6), (7, 10), (14, 18)) if kinks else ((0.5, 0.4), (0.35, 0.28), (0.2, 0.16)):
        values = [
            Nested(functions, kinks, covariance, size if kinks else 0, None if kinks else size).value()
            for size in (coarse, fine)
        ]
        difference = abs(values[0] - values[1]) / bound
        if difference <= check:
            return values[1], bound
    raise AssertionError(f"the reference itself is known to {difference:.1e} only")
