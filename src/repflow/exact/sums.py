"""The law of a sum of n independent neurons' squares, by adding in log space.

With s = log S, the sum of two independent terms is logaddexp(s, s'), a function that is smooth on the scale of one in
both arguments. So two laws held as weights on panels add as

    w_out = sum_{k, k'} w_k w'_{k'} l(logaddexp(s_k, s'_{k'}))

with l the interpolation weights on the panels of the sum, and n terms take about log2(n) to 2 log2(n) additions. No
density is needed, so singular laws of one term, bounded ones and point masses add alike, over any number of decades.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repflow.activation import Activation
from repflow.exact.neuron import neuron_law, square
from repflow.exact.panels import Array, Panels, gauss_legendre, graded_edges, interpolation

#: Length of the panels in log g on whose nodes laws of sums are computed; in between they are interpolated.
ROW_PANEL = 1.0
_WIDEST = 1.0  # panel in log S of partial sums
_LONGEST = 3.0  # in their tails
# exp(-this) beside the bias is nothing, to the last bit.
_UNSEEN = 37.0
# Where an activation is 0 only if it is on an interval.
_ANYWHERE = np.array([-7.37, -3.41, -1.713, -0.519, 0.519, 1.713, 3.41, 7.37])
# What is dropped, of a mass of 1, where it counts no more than this to any moment kept.
_DROP = 1e-18


@dataclass(frozen=True)
class SumLaws:
    """Laws of S = sum of n sigma(z_i)^2 for the g at the nodes of one panel in log g.

    Attributes
    ----------
    shift
        log E[sigma^2], shape (R,).
    s
        Nodes in log S - shift, shape (M,).
    weights
        Shape (R, M).
    silent
        P(S = 0), shape (R,).
    """

    shift: Array
    s: Array
    weights: Array
    silent: Array

    def at(self, x: Array) -> tuple[Array, Array, Array]:
        """Shift, weights and silent probability at places x in [-1, 1] of the panel."""
        if len(self.shift) == 1:
            one = np.ones((len(x), 1))
            return one[:, 0] * self.shift, one * self.weights, one[:, 0] * self.silent
        rows = interpolation(x, len(self.shift))
        return rows @ self.shift, rows @ self.weights, rows @ self.silent


@dataclass(frozen=True)
class _Partial:
    s: Array
    weights: Array
    silent: Array


class SumTable:
    """Laws of sums of n neurons for any g, computed as they are asked for.

    Parameters
    ----------
    activation
        sigma.
    n
        Number of neurons.
    roots
        Zeros of sigma.
    panel
        Length of the panels in log S of the whole sum.
    points
        Nodes a panel, in log S and in log g.
    moments
        Highest moment of S that tails are kept for.
    bias
        log(n C_b / C_W): the sum is added to this, and counts the less the smaller it is beside it.
    """

    def __init__(
        self,
        activation: Activation,
        n: int,
        roots: Array,
        panel: float,
        points: int,
        moments: int,
        bias: float = -np.inf,
    ) -> None:
        self.activation = activation
        self.n = n
        self.roots = roots
        self.panel = panel
        self.points = points
        self.moments = moments
        self.bias = bias
        self._panels: dict[tuple[int, int], SumLaws] = {}

    def panel_of(self, t: Array) -> Array:
        """Number of the panel in log g that holds each t."""
        return np.floor(t / ROW_PANEL).astype(np.int64)

    def place_of(self, number: int, t: Array) -> Array:
        """Where on panel ``number`` each t lies, in [-1, 1]."""
        return np.clip(2.0 * (t / ROW_PANEL - number) - 1.0, -1.0, 1.0)

    def laws(self, number: int, level: int = 0) -> SumLaws:
        """Of panel ``number``, log g from number * ROW_PANEL to (number + 1) * ROW_PANEL.

        ``level`` is how often the length of the panels in log S is doubled, for a next layer that needs no more.
        """
        if self.activation.slopes is not None:  # S / g has one law for all g
            base = self._at_level(0, level, np.array([1.0]))
            x, _ = gauss_legendre(self.points)
            shift = base.shift + ROW_PANEL * (number + 0.5 + 0.5 * x)
            one = np.ones((self.points, 1))
            return SumLaws(shift, base.s, one * base.weights, one[:, 0] * base.silent)
        x, _ = gauss_legendre(self.points)
        return self._at_level(number, level, np.exp(ROW_PANEL * (number + 0.5 + 0.5 * x)))

    def _at_level(self, number: int, level: int, g: Array) -> SumLaws:
        key = (number, level)
        if key not in self._panels:
            if level == 0:
                self._panels[key] = self._compute(g)
            else:
                fine = self._at_level(number, 0, g)
                size = np.abs(fine.weights).max(axis=0)
                heavy = size * self._heaviness(fine.s, self.n)
                step = self.panel * 2**level
                grid = Panels(graded_edges(fine.s, size, heavy, step, max(step, _WIDEST)), self.points)
                self._panels[key] = SumLaws(fine.shift, grid.nodes, grid.weights(fine.s, fine.weights), fine.silent)
        return self._panels[key]

    def one(self, g: float) -> SumLaws:
        """The law at one g alone, without interpolation in log g."""
        return self._compute(np.array([g]))

    def _compute(self, g: Array) -> SumLaws:
        n = self.n
        # What all n neurons are below with a probability of 10^-17.5; where some can be silent, one alone counts.
        depth = int(np.ceil(17.5 / min(n, 3) * np.log2(10.0))) + 2
        if square(self.activation, _ANYWHERE).min() <= 0.0:
            depth = 60
        t, mass, silent = neuron_law(self.activation, g, self.roots, depth, 26 if n <= 3 else 14)
        if not len(t) or float(mass.sum()) == 0.0:
            return SumLaws(np.zeros(len(g)), np.zeros(1), np.zeros((len(g), 1)), np.ones(len(g)))
        shift = np.log((mass * np.exp(t - t.max())).sum(axis=1)) + t.max()
        relative = t[None, :] - shift[:, None]
        heavy = mass * np.maximum(1.0, np.exp(np.minimum(self.moments * relative, 600.0)))
        kept = (heavy > 1e-3 * _DROP).any(axis=0)
        relative, mass = relative[:, kept], mass[:, kept]
        size = mass.max(axis=0)
        order = np.argsort(relative[0])
        weight = np.cumsum(size[order] * np.exp(relative[:, order].max(axis=0)))
        together = (silent.max() + np.cumsum(size[order])) ** n - silent.max() ** n
        first = min(int(np.searchsorted(together, 10.0**-17.5)), int(np.searchsorted(weight, _DROP)))
        low = float(relative[:, order[min(first, len(order) - 1)]].min())
        relative = np.maximum(relative, np.maximum(low, self.bias - _UNSEEN - np.log(self.n) - shift)[:, None])
        grid = self._on_grid(relative.ravel(), np.broadcast_to(size, relative.shape).ravel(), 1, shift)
        weights = np.stack([grid.weights(r, m) for r, m in zip(relative, mass, strict=True)])
        single = self._pruned(_Partial(grid.nodes, weights, silent), 1)
        total, count = single, 1
        for bit in bin(n)[3:]:
            total, count = self._add(total, total, 2 * count, shift, same=True), 2 * count
            if bit == "1":
                total, count = self._add(total, single, count + 1, shift, same=False), count + 1
        return SumLaws(shift, total.s, total.weights, total.silent)

    def _on_grid(self, t: Array, size: Array, count: int, shift: Array) -> Panels:
        """Panels for the law of the sum of ``count`` neurons with masses of this size at most at t.

        A function of the whole sum that varies on the scale of ``panel`` varies on n / count times that scale with
        the logarithm of a part of ``count`` terms.
        """
        step = min(_WIDEST, self.panel * self.n / count)
        order = np.argsort(t)
        heavy = (size * self._heaviness(t, count))[order]
        negligible = self.bias - float(shift.max())
        return Panels(graded_edges(t[order], size[order], heavy, step, max(step, _LONGEST), negligible), self.points)

    def _heaviness(self, s: Array, count: int) -> Array:
        """Largest factor by which mass at s counts in the moments 0 to ``moments`` of the sum over its mean."""
        return np.maximum(1.0, np.exp(np.minimum(self.moments * (s - np.log(count)), 600.0)))

    def _pruned(self, law: _Partial, count: int) -> _Partial:
        """Without the nodes that no row gives a mass that counts."""
        kept = np.abs(law.weights).max(axis=0) * self._heaviness(law.s, count) > _DROP
        if not kept.any():
            kept[:] = True
        return _Partial(law.s[kept], law.weights[:, kept], law.silent)

    def _add(self, a: _Partial, b: _Partial, count: int, shift: Array, same: bool) -> _Partial:
        """The law of the sum of two independent parts; ``count`` neurons in all."""
        size_a, size_b = np.abs(a.weights).max(axis=0), np.abs(b.weights).max(axis=0)
        s = np.logaddexp(a.s[:, None], b.s[None, :])
        counts = size_a[:, None] * size_b[None, :] * self._heaviness(s, count) > 0.1 * _DROP
        if same:
            counts &= np.tri(len(a.s), dtype=bool)
        i, j = np.nonzero(counts)
        positions = [s[i, j]]
        pair = a.weights[:, i] * b.weights[:, j]
        masses = [pair * np.where(i == j, 1.0, 2.0) if same else pair]
        if a.silent.any() or b.silent.any():  # one part silent, the other not
            positions += [a.s, b.s]
            masses += [a.weights * b.silent[:, None], b.weights * a.silent[:, None]]
        t, mass = np.concatenate(positions), np.concatenate(masses, axis=1)
        grid = self._on_grid(t, np.abs(mass).max(axis=0), count, shift)
        return self._pruned(_Partial(grid.nodes, grid.weights(t, mass), a.silent * b.silent), count)
