"""Laws as weights on the nodes of panels: what every law of the exact oracle is made of.

A law of a real variable t is held as a functional, E[f(t)] = sum_k w_k f(t_k), on the Gauss-Legendre nodes t_k of
panels. A point mass at t has the weights of polynomial interpolation, w_k = l_k(t), with l_k the Lagrange polynomials
of the panel that holds t; a law is a sum of such. So the functional is exact up to the error of interpolating f on
each panel, whatever the law: singular, narrow or a point. Weights may be negative; they sum to the law's mass.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# A panel of a tail ends where the share beyond it has fallen by this factor.
_FALL = 1e-3


@lru_cache(maxsize=16)
def gauss_legendre(points: int) -> tuple[Array, Array]:
    """Nodes and weights on [-1, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return nodes, weights


@lru_cache(maxsize=16)
def _from_legendre(points: int) -> Array:
    """Matrix from E[P_d], d < points, to the weights of the nodes: l_k = w_k sum_d (d + 1/2) P_d(x_k) P_d."""
    nodes, weights = gauss_legendre(points)
    values = np.polynomial.legendre.legvander(nodes, points - 1)
    matrix: Array = ((np.arange(points) + 0.5) * values).T * weights
    return matrix


def legendre(x: Array, points: int) -> Array:
    """P_0, ..., P_{points-1} at x in [-1, 1], shape (points, len(x))."""
    out = np.empty((points, len(x)))
    out[0] = 1.0
    if points > 1:
        out[1] = x
    for d in range(1, points - 1):
        out[d + 1] = ((2 * d + 1) * x * out[d] - d * out[d - 1]) / (d + 1)
    return out


class Panels:
    """Adjacent intervals of a line with Gauss-Legendre nodes on each.

    Parameters
    ----------
    edges
        Ascending, two or more.
    points
        Nodes a panel.

    Attributes
    ----------
    nodes
        All nodes, ascending, shape (panels * points,).
    """

    def __init__(self, edges: Array, points: int) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        self.points = points
        x, _ = gauss_legendre(points)
        self.middle = 0.5 * (self.edges[1:] + self.edges[:-1])
        self.half = 0.5 * (self.edges[1:] - self.edges[:-1])
        self.nodes: Array = (self.middle[:, None] + self.half[:, None] * x).ravel()

    def __len__(self) -> int:
        return len(self.middle)

    def locate(self, t: Array) -> tuple[NDArray[np.int64], Array]:
        """Panel of each point, and its place on it in [-1, 1]; points beyond the ends count as the ends."""
        cell = np.clip(np.searchsorted(self.edges, t, side="right") - 1, 0, len(self) - 1)
        return cell, np.clip((t - self.middle[cell]) / self.half[cell], -1.0, 1.0)

    def weights(self, t: Array, mass: Array) -> Array:
        """Weights of the law with these masses at the points t.

        Parameters
        ----------
        t
            Shape (M,).
        mass
            Shape (M,), or (R, M) for R laws on the same points.

        Returns
        -------
        ndarray
            Shape (nodes,) or (R, nodes).
        """
        cell, x = self.locate(t)
        if mass.ndim == 1:
            moments = np.empty((len(self), self.points))
            before, now = np.ones_like(x), x
            moments[:, 0] = np.bincount(cell, mass, len(self))
            for d in range(1, self.points):
                moments[:, d] = np.bincount(cell, mass * now, len(self))
                before, now = now, ((2 * d + 1) * x * now - d * before) / (d + 1)
            return (moments @ _from_legendre(self.points)).ravel()
        order = np.argsort(cell, kind="stable")
        cuts = np.searchsorted(cell[order], np.arange(len(self) + 1))
        values = legendre(x[order], self.points)
        sorted_mass = mass[:, order]
        out = np.zeros((len(mass), len(self), self.points))
        for panel, (start, stop) in enumerate(itertools.pairwise(cuts)):
            if stop > start:
                out[:, panel] = sorted_mass[:, start:stop] @ values[:, start:stop].T
        return (out @ _from_legendre(self.points)).reshape(len(mass), -1)


def graded_edges(
    t: Array, size: Array, heavy: Array, step: float, longest: float, negligible: float = -np.inf
) -> Array:
    """Edges of panels for a law whose masses lie at ``t``: of length ``step`` in the bulk, longer in the tails.

    Parameters
    ----------
    t
        Ascending, shape (M,).
    size, heavy
        Absolute masses, and what each adds to the highest moment, shape (M,).
    step, longest
        Length of the panels in the bulk, and the limit in the tails.
    negligible
        Below this t, what follows depends on exp(t - negligible) at most, and mass counts the less.

    Notes
    -----
    The error of interpolating an analytic function by 16 nodes falls as length^16, so a panel beyond which a share I
    of everything lies may be I^(-1/16) times as long; unless the law falls steeply there, since a mass at one end of
    a panel has weights of its own size on all of the panel's nodes.
    """
    below = np.cumsum(size) / size.sum()
    middle = float(t[int(np.searchsorted(below, 0.5))])
    if negligible > t[0]:
        below = np.cumsum(size * np.exp(np.minimum(t - negligible, 0.0))) / size.sum()
    above = np.maximum(np.cumsum(size[::-1]) / size.sum(), np.cumsum(heavy[::-1]) / heavy.sum())
    up = _outwards(t[::-1], above, middle, step, longest)
    down = _outwards(-t, below, -middle, step, longest)
    found = np.asarray([*(-edge for edge in down[:0:-1]), *up])
    return found if len(found) > 1 else np.array([middle - 0.5 * step, middle + 0.5 * step])


def _outwards(t: Array, outside: Array, start: float, step: float, longest: float) -> list[float]:
    """Edges from ``start`` up to the largest t, which comes first; ``outside`` is the share at or above each t."""
    edges, end = [start], float(t[0])
    while edges[-1] < end:
        here = float(outside[max(int(np.searchsorted(-t, -edges[-1], side="right")) - 1, 0)])
        falls = float(t[int(np.searchsorted(outside, _FALL * here))])
        graded = step * max(here, 1e-18) ** (-1.0 / 16.0)
        edges.append(edges[-1] + min(longest, graded, max(step, falls - edges[-1])))
    return edges


def interpolation(x: Array, points: int) -> Array:
    """l_k(x) of the Gauss-Legendre nodes on [-1, 1]; shape (len(x), points)."""
    return legendre(x, points).T @ _from_legendre(points)
