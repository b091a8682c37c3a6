"""The exact law of a Gram entry carried through the layers of a network.

Given G of one layer, the next one's is G' = C_b + (C_W/n) sum_i sigma(z_i)^2 with z_i ~ N(0, G) independent: a Markov
chain of one number. Its law is carried from layer to layer as a functional on panels in log G, exact at any width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from repflow.activation import Activation
from repflow.exact.law import Law
from repflow.exact.neuron import neuron_law, square, zeros
from repflow.exact.panels import Array, Panels, graded_edges
from repflow.exact.sums import SumTable
from repflow.network import Layer

# What a tail is cut at: its probability, and its share of the highest moment kept.
_TAIL = 1e-17
# Panel length over the standard deviation of log G; and the longest, since log chi^2 has structure of its own.
_PER_DEVIATION = 0.75
_WIDEST = 0.26
_NARROWEST = 0.1
_LONGEST = 1.0  # panel in the tails
_LONGEST_RANGE = 5000.0


@dataclass(frozen=True)
class Resolution:
    """How fine the laws are held: nodes a panel, and a factor on the panels' lengths."""

    points: int
    stretch: float


FINE = Resolution(16, 1.0)
COARSE = Resolution(12, 1.25)


def carry(start: float, layers: Sequence[Layer], resolution: Resolution, moments: int) -> list[Law]:
    """The laws of G^(1) = start, G^(2), ..., one for each layer.

    Parameters
    ----------
    start
        G^(1), not negative.
    layers
        Layers 1..L of the network.
    resolution
        Of the panels.
    moments
        Highest moment that tails are kept for.
    """
    law = Law(np.empty(0), np.empty(0), np.array([start]), np.array([1.0]))
    found = [law]
    tables: dict[tuple[Activation, int], SumTable] = {}
    roots: dict[Activation, Array] = {}
    spreads = _spreads(start, layers)
    keys = [(layer.activation, layer.n_out) for layer in layers[:-1] if layer.activation is not None]
    biases = _biases(keys, layers)
    for key, (fresh, _) in zip(keys, spreads, strict=True):
        activation, width = key
        if activation not in roots:
            roots[activation] = zeros(activation, 48.0)
        panel = resolution.stretch * min(_WIDEST, _PER_DEVIATION * fresh)
        if key not in tables or tables[key].panel > panel:
            tables[key] = SumTable(activation, width, roots[activation], panel, resolution.points, moments, biases[key])
    for layer, key, (_, spread) in zip(layers[1:], keys, spreads, strict=True):
        panel = resolution.stretch * min(_WIDEST, _PER_DEVIATION * spread)
        law = _next(law, tables[key], layer.C_W, layer.C_b, panel)
        found.append(law)
    return found


def _biases(keys: Sequence[tuple[Activation, int]], layers: Sequence[Layer]) -> dict[tuple[Activation, int], float]:
    """log(n C_b / C_W) for each kind of layer, the smallest where several layers share a table."""
    found: dict[tuple[Activation, int], float] = {}
    for key, layer in zip(keys, layers[1:], strict=True):
        here = math.log(layer.n_in * layer.C_b / layer.C_W) if layer.C_b > 0 and layer.C_W > 0 else -math.inf
        found[key] = min(found.get(key, math.inf), here)
    return found


def _spreads(start: float, layers: Sequence[Layer]) -> list[tuple[float, float]]:
    """Standard deviation of log S given the layer before, and altogether, of layers 2..L to leading order.

    They set the length of panels alone, so no more is needed.
    """
    found: list[tuple[float, float]] = []
    kernel, variance = start, 0.0
    for before, layer in itertools.pairwise(layers):
        assert before.activation is not None
        mean, fresh, slope = float(square(before.activation, np.zeros(1))[0]), 0.0, 0.0
        if kernel > 1e-290:
            g = kernel * np.exp(np.array([0.0, -0.02, 0.02]))
            t, mass, _ = neuron_law(before.activation, g, np.empty(0), 1, 16)
            s2 = np.exp(t)
            means = mass @ s2
            mean = float(means[0])
            if mean > 0:
                fresh = float(mass[0] @ (s2 - mean) ** 2) / (before.n_out * mean**2)
                slope = float(np.log(means[2] / means[1])) / 0.04
        fresh = max(fresh, _NARROWEST**2 / before.n_out)
        kernel = layer.C_b + layer.C_W * mean
        if not math.isfinite(kernel):
            raise ValueError(f"network: the kernel is not finite at layer {len(found) + 2}; choose a smaller C_W")
        share = layer.C_W * mean / kernel if kernel > 0 else 1.0
        total = slope**2 * variance + fresh
        variance = share**2 * total
        found.append((math.sqrt(fresh), math.sqrt(total)))
    return found


def _next(law: Law, table: SumTable, C_W: float, C_b: float, panel: float) -> Law:
    """One layer; ``panel`` is the length of the new law's panels."""
    if C_W == 0.0:
        return Law(np.empty(0), np.empty(0), np.array([C_b]), np.array([law.total()]))
    atoms: dict[float, float] = {}
    places: list[Array] = []
    masses: list[Array] = []

    def absorb(shift: Array, s: Array, weights: Array, silent: Array, mass: Array) -> None:
        """Rows of laws of the sum, shape (R,), (M,), (R, M), (R,), and the mass of each row."""
        product = mass[:, None] * weights
        log_sum = shift[:, None] + s[None, :] + math.log(C_W / table.n)
        size = np.abs(product)
        kept = size * np.maximum(1.0, np.exp(np.minimum(table.moments * (log_sum - centre), 600.0))) > 1e-3 * _TAIL
        kept &= size > 0
        places.append(log_sum[kept])
        masses.append(product[kept])
        gone = float(mass @ silent)
        if gone != 0.0:
            atoms[C_b] = atoms.get(C_b, 0.0) + gone

    level = max(0, math.floor(math.log2(panel / table.panel)))
    centre = _typical(law, table, C_W)
    for point, mass in zip(law.points, law.mass, strict=True):
        if point <= 0.0:
            place = C_b + C_W * float(square(table.activation, np.zeros(1))[0])
            atoms[place] = atoms.get(place, 0.0) + float(mass)
            continue
        laws = table.one(float(point))
        absorb(laws.shift, laws.s, laws.weights, laws.silent, np.array([mass]))
    if len(law.t):
        log_g = np.log(law.g)
        numbers = table.panel_of(log_g)
        for number in np.unique(numbers):
            rows = numbers == number
            laws = table.laws(int(number), level)
            shift, weights, silent = laws.at(table.place_of(int(number), log_g[rows]))
            absorb(shift, laws.s, weights, silent, law.w[rows])
    if places:
        negligible = math.log(C_b) if C_b > 0 else -math.inf
        t, w = _on_panels(np.concatenate(places), np.concatenate(masses), table, panel, negligible)
    else:
        t, w = np.empty(0), np.empty(0)
    return Law(t, w, np.array(list(atoms)), np.array(list(atoms.values())), C_b, panel)


def _typical(law: Law, table: SumTable, C_W: float) -> float:
    """log of C_W E[sigma^2] at the mean of G, where moments are counted from."""
    mean = law.moment(1)
    if mean <= 0.0:
        return 0.0
    t, mass, _ = neuron_law(table.activation, np.array([mean]), np.empty(0), 1, 16)
    total = float((mass[0] * np.exp(t)).sum()) if len(t) else 0.0
    return math.log(C_W * total) if total > 0 else 0.0


def _on_panels(t: Array, mass: Array, table: SumTable, panel: float, negligible: float) -> tuple[Array, Array]:
    """A law's masses at points, cut at its tails, as weights on new panels."""
    order = np.argsort(t)
    t, mass = t[order], mass[order]
    size = np.abs(mass)
    heavy = np.log(np.maximum(size, 1e-300)) + table.moments * (t - t[-1])
    heavy = np.exp(heavy - heavy.max())
    beyond = np.cumsum(heavy[::-1])[::-1]
    kept = (beyond > _TAIL * beyond[0]) | (np.cumsum(size[::-1])[::-1] > _TAIL)
    t, mass, size, heavy = t[kept], mass[kept], size[kept], heavy[kept]
    t = np.maximum(t, t[min(int(np.searchsorted(np.cumsum(size), _TAIL)), len(t) - 1)])
    if t[-1] - t[0] > _LONGEST_RANGE:
        raise ValueError(
            f"network: G spreads over exp({t[-1] - t[0]:.0f}), more than exp({_LONGEST_RANGE:.0f}) that are carried; "
            "take fewer layers, or couplings nearer to criticality"
        )
    panels = Panels(graded_edges(t, size, heavy, panel, max(panel, _LONGEST), negligible), table.points)
    return panels.nodes, panels.weights(t, mass)
