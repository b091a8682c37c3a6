"""The exact law of one Gram entry: a functional on panels in log G, its point masses, and what is read off them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.exact.panels import Array

# The panels resolve exp(i omega log G) to about 1e-10 up to omega = this over the panel's length.
_RESOLVED = 6.0
_DECAYED = 1e-4


@dataclass(frozen=True)
class Law:
    """A law of G >= 0.

    Attributes
    ----------
    t, w
        E[f(G)] = sum_k w_k f(floor + exp(t_k)) over the continuous part, shape (M,) each.
    points, mass
        Point masses: places in G, and probabilities, shape (A,) each.
    floor
        C_b, below which G cannot fall: the density of log(G - C_b) is smooth where that of log G has an edge.
    panel
        Length of the panels in t that the nodes lie on.
    """

    t: Array
    w: Array
    points: Array
    mass: Array
    floor: float = 0.0
    panel: float = field(default=1.0, repr=False)

    @property
    def g(self) -> Array:
        """G at the nodes."""
        return self.floor + np.exp(self.t)

    def expect(self, function: Callable[[Array], Any]) -> float:
        """E[f(G)] for an f that is smooth in log G on the scale of the panels; f takes and returns arrays."""
        total = 0.0
        if len(self.t):
            total += float(self.w @ np.asarray(function(self.g), dtype=np.float64))
        if len(self.points):
            total += float(self.mass @ np.asarray(function(self.points), dtype=np.float64))
        return total

    def total(self) -> float:
        """The mass; 1 up to the error of the method."""
        return float(self.w.sum() + self.mass.sum())

    def moment(self, m: int) -> float:
        """E[G^m]."""
        return self.expect(lambda g: g**m)

    def _central(self, mean: float, m: int) -> float:
        return self.expect(lambda g: (g - mean) ** m)

    def cumulants(self, highest: int) -> list[float]:
        """Cumulants 1 to ``highest`` of G, by its central moments."""
        mean = self.moment(1)
        central = [1.0, 0.0] + [self._central(mean, m) for m in range(2, highest + 1)]
        kappa = [0.0] * (highest + 1)
        for m in range(2, highest + 1):
            lower = sum(math.comb(m - 1, i - 1) * kappa[i] * central[m - i] for i in range(2, m - 1))
            kappa[m] = central[m] - lower
        return [mean, *kappa[2:]]

    @property
    def silent(self) -> float:
        """P(G = 0)."""
        return float(self.mass[self.points == 0.0].sum())

    def log_moment(self, m: int) -> float:
        """E[(log G)^m given G > 0]."""
        total = float(self.w @ np.log(self.g) ** m) if len(self.t) else 0.0
        positive = self.points > 0
        total += float(self.mass[positive] @ np.log(self.points[positive]) ** m)
        alive = self.total() - self.silent
        return total / alive if alive > 0 else math.nan

    @cached_property
    def _spectrum(self) -> tuple[float, float, Array, NDArray[np.complex128], float]:
        """Start, period, omega, E[exp(-i omega (t - start))] up to what the panels resolve, and the size of its end."""
        low, high = float(self.t[0]), float(self.t[-1])
        period = 1.25 * (high - low) + 12.0 * self.panel
        start = low - 0.5 * (period - (high - low))
        count = int(_RESOLVED / self.panel * period / (2 * math.pi)) + 1
        omega: Array = 2 * math.pi / period * np.arange(count, dtype=np.float64)
        psi = np.empty(count, dtype=np.complex128)
        for block in range(0, count, 64):
            psi[block : block + 64] = np.exp(-1j * omega[block : block + 64, None] * (self.t - start)) @ self.w
        # Past its smallest values a spectrum that should fall further is what the panels leave unresolved.
        sizes = np.abs(psi)
        window = max(1, count // 20)
        ends = np.array([sizes[k : k + window].max() for k in range(count - window + 1)])
        if ends.min() < _DECAYED * sizes[0]:
            count = int(np.argmin(ends)) + window
            omega, psi = omega[:count], psi[:count]
        else:  # a singular density: ring less about it
            psi *= np.exp(-36.0 * (omega / omega[-1]) ** 8)
        return (
            float(start),
            float(period),
            omega,
            psi,
            float(sizes[-window:].max() if count == len(sizes) else ends.min()),
        )

    def _read(self, t: Array, integral: bool) -> Array:
        """The density with respect to t, or its integral up to t, by Fourier inversion of the spectrum; t is flat."""
        start, period, omega, psi, _ = self._spectrum
        offset = t - start
        inside = (offset >= 0.0) & (offset <= period)
        out = np.where(offset < 0.0, 0.0, psi[0].real if integral else 0.0)
        places = np.flatnonzero(inside)
        for block in range(0, len(places), 256):
            part = places[block : block + 256]
            wave = np.exp(1j * offset[part, None] * omega[1:])
            if integral:
                swing = (wave - 1.0) @ (psi[1:] / (1j * omega[1:]))
                out[part] = (psi[0].real * offset[part] + 2 * swing.real) / period
            else:
                out[part] = (psi[0].real + 2 * (wave @ psi[1:]).real) / period
        return out

    @property
    def unresolved(self) -> tuple[float, float]:
        """About what the spectrum's missing end leaves out of the distribution function, and of the density in t."""
        if not len(self.t):
            return 0.0, 0.0
        _, _, omega, _, end = self._spectrum
        return end, end * float(omega[-1]) / math.pi

    def density(self, g: Array) -> Array:
        """Density of the continuous part with respect to G."""
        g = np.asarray(g, dtype=np.float64)
        above = g.ravel() - self.floor
        out = np.zeros_like(above)
        speaks = above > 0
        if len(self.t):
            out[speaks] = self._read(np.log(above[speaks]), integral=False) / above[speaks]
        return out.reshape(g.shape)

    def log_density(self, log_g: Array) -> Array:
        """Density of the continuous part with respect to log G."""
        g = np.exp(np.asarray(log_g, dtype=np.float64))
        return self.density(g) * g

    def cdf(self, g: Array) -> Array:
        """P(G <= g)."""
        g = np.asarray(g, dtype=np.float64)
        steps = (self.points[None, :] <= g.ravel()[:, None]) @ self.mass
        if len(self.t):
            above = np.log(np.maximum(g.ravel() - self.floor, 1e-300))
            steps = steps + self._read(above, integral=True)
        found: Array = steps.reshape(g.shape)
        return found

    def quantile(self, probability: float) -> float:
        """The smallest g with P(G <= g) >= probability."""
        from scipy.optimize import brentq

        for place in np.sort(self.points):
            above = float(self.cdf(np.array([place]))[0])
            if above >= probability > above - float(self.mass[self.points == place].sum()):
                return float(place)
        if not len(self.t):
            return float(self.points.max())

        def excess(t: float) -> float:
            return float(self.cdf(np.array([self.floor + math.exp(t)]))[0]) - probability

        start, period, *_ = self._spectrum
        return self.floor + math.exp(float(brentq(excess, start, start + period, xtol=1e-13)))
