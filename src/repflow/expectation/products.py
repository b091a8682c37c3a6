"""Functions of one Gaussian variable made of one activation: d^p/dy^p of a product of sigma(c y), as distributions.

Inputs that are collinear are one variable y with a ratio c each, and repeated inputs are powers. Where sigma has kinks,
the p-th derivative is its regular part and delta functions, a jump J of the j-th derivative at k giving J delta^(p - 1
- j)(y - k). Averaged over a Gaussian of spread s around m they are numbers,

    E[delta^(q)(m + s e - k)] = (-1)^q He_q(t) phi(t) / s^(q + 1),      t = (m - k)/s,

and for scale-invariant activations so is everything else: with I_q(m) = E[(m + s e)^q; m + s e > 0],

    I_0 = Phi(m/s),    I_1 = m Phi(m/s) + s phi(m/s),    I_q = m I_(q-1) + (q - 1) s^2 I_(q-2),    dI_q/dm = q I_(q-1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.legendre import normal_panels
from repflow.expectation.pair_tables import derivatives
from repflow.expectation.single import REACH

_POINTS = 10
_CHUNK = 2_000_000
#: Distance from a kink at which its sides are read; what is left out is its third power.
_SIDE = 1e-5
_NEGLIGIBLE = 1e-10
#: Highest derivative of sigma that is computed as such. In an average over the private part, higher ones of the regular
#: part are moved onto the Gaussian: E f^(p + q)(m + s e) = E f^(p)(m + s e) He_q(e) / s^q.
_DIRECT = 4


class Product(NamedTuple):
    """The ``order``-th derivative of y -> prod_c sigma(c y), c in ``ratios``; 1 where there are none."""

    ratios: tuple[float, ...]
    order: int = 0


class Products:
    """Several such functions of one variable, evaluated together.

    Parameters
    ----------
    activation
        sigma.
    products
        The functions.
    """

    def __init__(self, activation: Activation, products: Sequence[Product]) -> None:
        self.activation = activation
        self.products = list(products)
        self._highest = max((product.order for product in self.products), default=0)
        self._direct = min(self._highest, _DIRECT)
        ratios = sorted({c for product in self.products for c in product.ratios})
        self.kinks = sorted({kink / c for kink in activation.kinks for c in ratios if c != 0.0})
        self._sides: list[tuple[float, dict[tuple[float, ...], Tensor]]] | None = None

    def __len__(self) -> int:
        return len(self.products)

    def at(self, y: Tensor) -> Tensor:
        """Regular parts at points of any shape, shape (F, ...)."""
        if self._highest > self._direct:
            raise ValueError(f"order must be {_DIRECT} or less without averaging, got {self._highest}")
        stacks = self._stacks(y)
        return torch.stack([stacks[product.ratios][product.order] for product in self.products])

    def averaged(self, mean: Tensor, spread: float) -> Tensor:
        """E f(m + s e), e standard normal, for means m (n,) and one s > 0, delta functions included; shape (F, n)."""
        if self.activation.slopes is not None:
            return self._homogeneous(mean, spread)
        found = self._regular_average(mean, spread)
        if not self.activation.smooth:
            for kink, jumps in self._jumps():
                t = (mean - kink) / spread
                density = torch.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)
                hermite = [torch.ones_like(t), t]
                for q in range(1, self._highest):
                    hermite.append(t * hermite[q] - q * hermite[q - 1])
                for number, (ratios, order) in enumerate(self.products):
                    for j in range(min(order, self._direct)):
                        size, q = float(jumps[ratios][j]), order - 1 - j
                        if size:
                            found[number] += size * (-1) ** q * hermite[q] * density / spread ** (q + 1)
        return found

    @property
    def singular(self) -> bool:
        """Whether one of them has a delta function, which has no value at a point."""
        if self.activation.smooth:
            return False
        return any(
            bool(jumps[ratios][: min(order, self._direct)].any())
            for _, jumps in self._jumps()
            for ratios, order in self.products
            if order
        )

    def _stacks(self, y: Tensor) -> dict[tuple[float, ...], Tensor]:
        """Derivatives 0 to the highest direct one of each product, axis 0."""
        one = torch.zeros(self._direct + 1, *y.shape, dtype=torch.float64, device=y.device)
        one[0] = 1.0
        found: dict[tuple[float, ...], Tensor] = {(): one}
        single: dict[float, Tensor] = {}
        for ratios, _ in self.products:
            for length in range(1, len(ratios) + 1):
                head, c = ratios[: length - 1], ratios[length - 1]
                if ratios[:length] in found:
                    continue
                if c not in single:
                    slopes = derivatives(self.activation, c * y, self._direct)
                    single[c] = torch.stack([slope * c**order for order, slope in enumerate(slopes)])
                found[ratios[:length]] = _leibniz(found[head], single[c]) if head else single[c]
        return found

    def _jumps(self) -> list[tuple[float, dict[tuple[float, ...], Tensor]]]:
        """For each kink the jumps of the derivatives 0 to the highest direct one of each product."""
        if self._sides is None:
            self._sides = []
            for kink in self.kinks:
                step = _SIDE * max(1.0, abs(kink))
                offsets = torch.tensor([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], dtype=torch.float64)
                stacks = self._stacks(kink + step * offsets)
                low = {key: v[:, 0] - 3 * v[:, 1] + 3 * v[:, 2] for key, v in stacks.items()}
                high = {key: v[:, 5] - 3 * v[:, 4] + 3 * v[:, 3] for key, v in stacks.items()}
                jumps = {}
                for key in stacks:
                    size, scale = high[key] - low[key], 1.0 + low[key].abs()
                    jumps[key] = torch.where(size.abs() > _NEGLIGIBLE * scale, size, 0.0)
                self._sides.append((kink, jumps))
        return self._sides

    def _regular_average(self, mean: Tensor, spread: float) -> Tensor:
        width = min(2.0, 1.25 / spread)
        base = torch.linspace(-REACH, REACH, 2 * math.ceil(REACH / width) + 1, dtype=torch.float64, device=mean.device)
        kinks = torch.tensor(self.kinks, dtype=torch.float64, device=mean.device)
        found = mean.new_empty(len(self), len(mean))
        step = max(1, _CHUNK // (_POINTS * (len(base) + len(kinks)) * max(1, len(self))))
        for start in range(0, len(mean), step):
            m = mean[start : start + step, None]
            edges = base.expand(len(m), -1)
            if len(kinks):
                cuts = ((kinks - m) / spread).clamp(-REACH, REACH)
                edges, _ = torch.cat([edges, cuts], dim=1).sort(dim=1)
            v, w = normal_panels(edges, _POINTS)
            stacks = self._stacks(m + spread * v)
            weights = [w]
            for q in range(self._highest - self._direct):  # He_q(e) / s^q
                last = weights[q - 1] if q else torch.zeros_like(w)
                weights.append((v * weights[q] - q * last / spread) / spread)
            for number, (ratios, order) in enumerate(self.products):
                direct = min(order, self._direct)
                average = (stacks[ratios][direct] * weights[order - direct]).sum(-1)
                found[number, start : start + step] = average
        return found

    def _homogeneous(self, mean: Tensor, spread: float) -> Tensor:
        assert self.activation.slopes is not None
        degree = max((len(product.ratios) for product in self.products), default=0)
        up = _HalfMoments(mean, spread, degree, self._highest)
        down = _HalfMoments(-mean, spread, degree, self._highest)
        low, high = self.activation.slopes
        found = mean.new_empty(len(self), len(mean))
        for number, (ratios, order) in enumerate(self.products):
            right = math.prod(c * (high if c > 0 else low) for c in ratios)
            left = math.prod(c * (low if c > 0 else high) for c in ratios)
            sign = (-1) ** (len(ratios) + order)
            found[number] = right * up(len(ratios), order) + sign * left * down(len(ratios), order)
        return found


def _leibniz(f: Tensor, g: Tensor) -> Tensor:
    """Derivatives of f g from those of f and of g, axis 0."""
    found = torch.zeros_like(f)
    for order in range(len(f)):
        for part in range(order + 1):
            found[order] += math.comb(order, part) * f[part] * g[order - part]
    return found


class _HalfMoments:
    """I_q(m) and its derivatives: ``half(q, p)`` is d^p I_q/dm^p."""

    def __init__(self, mean: Tensor, spread: float, degree: int, order: int) -> None:
        t = mean / spread
        density = torch.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)
        self._moments = [0.5 * torch.special.erfc(-t * math.sqrt(0.5))]
        self._moments.append(mean * self._moments[0] + spread * density)
        for q in range(2, degree + 1):
            self._moments.append(mean * self._moments[q - 1] + (q - 1) * spread**2 * self._moments[q - 2])
        self._steps = [density / spread]
        hermite = [torch.ones_like(t), t]
        for q in range(1, order):
            self._steps.append((-1) ** q * hermite[q] * density / spread ** (q + 1))
            hermite.append(t * hermite[q] - q * hermite[q - 1])

    def __call__(self, q: int, p: int) -> Tensor:
        if p <= q:
            return math.perm(q, p) * self._moments[q - p]
        return math.factorial(q) * self._steps[p - q - 1]


class Table:
    """Averages of products on a range of means, by interpolation.

    Piecewise Chebyshev polynomials of high degree, which need few averages, are cut into short pieces of low degree,
    which are quick to evaluate.

    Parameters
    ----------
    products
        The functions.
    reach
        Largest |m| asked for; means beyond it are taken there.
    spread
        s.
    """

    _POINTS, _PIECES, _TERMS = 15, 8, 7
    _NEAR, _FAR = 1.0, 0.75  # widest panel within ten spreads of a kink in spreads, and elsewhere in y

    def __init__(self, products: Products, reach: float, spread: float, device: torch.device) -> None:
        self._edges = self._panel_edges(products.kinks, reach, spread).to(device)
        self._reach = reach
        low, high = self._edges[:-1], self._edges[1:]
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        x, fit = _chebyshev(self._POINTS, device)
        values = products.averaged((middle[:, None] + half[:, None] * x).reshape(-1), spread)
        modes = torch.einsum("fps,sk->pkf", values.reshape(len(products), len(low), self._POINTS), fit)
        self._start, self._inverse = low, self._PIECES / (high - low)
        # On piece k of a panel, t in (-1, 1) is x = (t + 2 k + 1)/pieces - 1.
        t, short = _chebyshev(self._TERMS, device)
        piece = torch.arange(self._PIECES, dtype=torch.float64, device=device)
        inside = (t + 2 * piece[:, None] + 1) / self._PIECES - 1
        order = torch.arange(self._POINTS, dtype=torch.float64, device=device)
        basis = torch.cos(order * torch.acos(inside.clamp(-1, 1))[:, :, None])
        fine = torch.einsum("jsk,pkf->pjsf", basis, modes)
        powers = torch.as_tensor(_chebyshev_to_powers(self._TERMS), device=device)
        coefficients = torch.einsum("pjsf,sk,km->pjmf", fine, short, powers)
        self._coefficients = coefficients.reshape(-1, self._TERMS, len(products)).contiguous()

    def _panel_edges(self, kinks: Sequence[float], reach: float, spread: float) -> Tensor:
        fine = self._NEAR * spread
        edges = [torch.linspace(-reach, reach, 2 + math.ceil(2 * reach / self._FAR), dtype=torch.float64)]
        for kink in kinks if fine < self._FAR else ():
            low, high = max(kink - 10 * spread, -reach), min(kink + 10 * spread, reach)
            if low < high:
                edges.append(torch.linspace(low, high, 2 + math.ceil((high - low) / fine), dtype=torch.float64))
        found = torch.cat(edges).unique()
        return found[torch.cat([torch.tensor([True]), found.diff() > 1e-12 * reach])]

    def __call__(self, mean: Tensor) -> Tensor:
        """Values at means (n,), shape (F, n)."""
        mean = mean.clamp(-self._reach, self._reach).contiguous()
        panel = (torch.searchsorted(self._edges, mean, right=True) - 1).clamp(0, len(self._start) - 1)
        place = (mean - self._start[panel]) * self._inverse[panel]
        piece = place.floor().clamp(0, self._PIECES - 1)
        t = (2 * (place - piece) - 1)[:, None]
        kept = self._coefficients[panel * self._PIECES + piece.long()]
        found = kept[:, -1]
        for m in range(self._TERMS - 2, -1, -1):
            found = torch.addcmul(kept[:, m], found, t)
        return found.T


def _chebyshev(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Chebyshev points in (-1, 1), and the matrix from values there to coefficients."""
    angle = math.pi * (torch.arange(count, dtype=torch.float64, device=device) + 0.5) / count
    fit = 2 / count * torch.cos(angle[:, None] * torch.arange(count, dtype=torch.float64, device=device))
    fit[:, 0] *= 0.5
    return torch.cos(angle), fit


def _chebyshev_to_powers(terms: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Row k: T_k in powers of t."""
    found = np.zeros((terms, terms))
    for k in range(terms):
        row = np.polynomial.chebyshev.cheb2poly(np.eye(terms)[k])
        found[k, : len(row)] = row
    return found
