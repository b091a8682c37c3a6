"""The map K -> <s_a s_b> with all its derivatives in the kernel's entries up to the fourth order, for all pairs.

<s_a s_b> depends on K_aa, K_bb and K_ab, and d<f>/dK_ab = <d_a d_b f>, d<f>/dK_aa = <d_a d_a f>/2 (Price 1958), so

    d^(i+j+k) S / dK_aa^i dK_bb^j dK_ab^k = 2^-(i+j) <s^(2i+k)_a s^(2j+k)_b>.

Smooth activations: the Mehler series, where a derivative of s shifts the Hermite coefficients of s(sqrt(K) u), a_m ->
sqrt(m + 1) a_(m+1)/sqrt(K), so that no derivative of s is taken. Scale-invariant ones: the closed form S = c (sqrt(D) +
K_12 asin rho) + beta^2 K_12, D = K_11 K_22 - K_12^2 (Cho and Saul 2009), differentiated. Others with kinks: one
integral over the common part of z_a and z_b, the functions averaged over their private parts, kinks exactly
(:mod:`repflow.expectation.products`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product as cartesian
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.axes import LADDER, axis
from repflow.expectation.kinked import COLLINEAR
from repflow.expectation.mehler import correlations
from repflow.expectation.products import Product, Products
from repflow.expectation.single import hermite_coefficients, rule
from repflow.expectation.split import split_expectations

#: Highest order of derivatives in the kernel.
HIGHEST = 4
#: The orders (i, j, k).
KEYS = [(i, j, k) for i, j, k in cartesian(range(HIGHEST + 1), repeat=3) if i + j + k <= HIGHEST]
_TERMS = (64, 128, 256, 512, 1024)
_TOL = 1e-11
_AXIS_TOL = 1e-11
#: Nodes with which to begin, times the private share of the spread.
_PER_SCALE = 16


@dataclass
class PairJets:
    """<s_a s_b> and its derivatives.

    Attributes
    ----------
    values
        By (i, j, k), the orders in K_aa, K_bb and K_ab: a matrix (N, N), a by rows; i + j + k from 0 to 4. A function
        of one variance, a = b or for kinks a collinear pair, has all of its derivative under K_aa.
    error
        Largest error estimate, in units of <s^2> after multiplication by the variances differentiated by.
    """

    values: dict[tuple[int, int, int], Float64[Tensor, "N N"]]
    error: float

    def tensor(self, order: int, a: Tensor, b: Tensor) -> Tensor:
        """Derivatives of one order for pairs (P,), each axis of three over K_aa, K_bb, K_ab; shape (P, 3, ..., 3)."""
        found = self.values[0, 0, 0].new_empty(len(a), *([3] * order))
        for slots in cartesian(range(3), repeat=order):
            key = slots.count(0), slots.count(1), slots.count(2)
            at: tuple[Any, ...] = (slice(None), *slots)
            found[at] = self.values[key][a, b]
        return found


def pair_jets(activation: Activation, kernel: Float64[Tensor, "N N"]) -> PairJets:
    """All derivatives of <s_a s_b> to the fourth order.

    Parameters
    ----------
    activation
        sigma, continuous.
    kernel
        K, shape (N, N), symmetric and positive semidefinite; it may be singular.

    Raises
    ------
    ValueError
        The activation jumps.
    """
    if not activation.continuous:
        raise ValueError(f"activation {activation.name!r} jumps: derivatives to the fourth order do not exist for it")
    variance = kernel.diagonal().clamp(min=0.0)
    values = {key: torch.zeros_like(kernel) for key in KEYS}
    rho = correlations(kernel)
    a, b = torch.triu_indices(len(kernel), len(kernel), offset=1, device=kernel.device)
    live = (variance[a] > 0) & (variance[b] > 0)
    near = live & ((1 - rho[a, b]) * (1 + rho[a, b]) < COLLINEAR)
    error = 0.0
    for chosen, method in (
        (~live, _constant),
        (near if not activation.smooth else torch.zeros_like(near), _one_variable),
        (live & ~near if not activation.smooth else live, _general(activation)),
    ):
        i, j = a[chosen], b[chosen]
        if not len(i):
            continue
        found, uncertain = method(activation, kernel, i, j)
        error = max(error, uncertain)
        for (p, q, k), value in found.items():
            values[p, q, k][i, j] = value
            if method is not _one_variable or not p:
                values[q, p, k][j, i] = value
            else:  # of the pair (b, a) the same function, booked under its own first variance
                values[p, q, k][j, i] = value * (variance[i] / variance[j]) ** p
    own, _ = _one_variable(activation, kernel, *[torch.arange(len(kernel), device=kernel.device)] * 2)
    for key, value in own.items():
        values[key].diagonal().copy_(value)
    return PairJets(values, error)


Found = tuple[dict[tuple[int, int, int], Tensor], float]


def _general(activation: Activation) -> Callable[[Activation, Tensor, Tensor, Tensor], Found]:
    if activation.smooth:
        return _series
    return _homogeneous if activation.slopes is not None else _averaged


def _constant(activation: Activation, kernel: Tensor, a: Tensor, b: Tensor) -> Found:
    """One of the two has no variance: what its s is multiplied by moves with the other's variance."""
    variance = kernel.diagonal().clamp(min=0.0)
    quadrature = rule(activation, variance)
    moments = hermite_coefficients(quadrature, activation(quadrature.z), 2 * HIGHEST + 1)
    inverse = torch.where(variance > 0, 1.0 / variance.clamp(min=1e-300), 0.0)
    found = {}
    for p in range(HIGHEST + 1):
        # d^p <s>/dK^p = 2^-p <s^(2p)>
        slope = [moments[i, 2 * p] * inverse[i] ** p * math.sqrt(math.factorial(2 * p)) / 2**p for i in (a, b)]
        found[p, 0, 0] = slope[0] * moments[b, 0]
        found[0, p, 0] = moments[a, 0] * slope[1]
    return found, 0.0


def _one_variable(activation: Activation, kernel: Tensor, a: Tensor, b: Tensor) -> Found:
    """z_b = c z_a: d^k S/dK^k = <(s(z) s(c z))^(2k)>/2^k, moved onto the Gaussian."""
    variance = kernel[a, a].clamp(min=0.0)
    safe = torch.where(variance > 0, variance, 1.0)
    ratio = torch.where(variance > 0, kernel[a, b].sign() * (kernel[b, b].clamp(min=0.0) / safe).sqrt(), 1.0)
    kinks = torch.tensor(activation.kinks, dtype=torch.float64, device=kernel.device)
    edges = torch.cat([kinks.expand(len(a), -1), kinks / ratio[:, None]], dim=1)
    quadrature = rule(edges, variance)
    z = quadrature.z
    moments = hermite_coefficients(quadrature, activation(z) * activation(ratio[:, None] * z), 2 * HIGHEST + 1)
    inverse = torch.where(variance > 0, 1.0 / safe, 0.0)
    factors = [math.sqrt(math.factorial(2 * k)) / 2**k for k in range(HIGHEST + 1)]
    return {(k, 0, 0): moments[:, 2 * k] * inverse**k * factors[k] for k in range(HIGHEST + 1)}, 0.0


def _series(activation: Activation, kernel: Tensor, a: Tensor, b: Tensor) -> Found:
    variance = kernel.diagonal().clamp(min=0.0)
    rho = correlations(kernel)[a, b]
    scale = variance.sqrt()
    orders = sorted({(2 * i + k, 2 * j + k) for i, j, k in KEYS})
    moments: dict[tuple[int, int], Tensor] = {}
    worst = rho.new_zeros(len(a))
    for terms in _TERMS:
        quadrature = rule(activation, variance, terms + 2 * HIGHEST)
        values = activation(quadrature.z)
        coefficients = hermite_coefficients(quadrature, values, terms + 2 * HIGHEST)
        norm = quadrature.mean(values * values).clamp(min=1e-300).sqrt()
        m = torch.arange(terms, dtype=torch.float64, device=kernel.device)
        shifted, grown = [], torch.ones_like(m)
        for p in range(2 * HIGHEST + 1):
            shifted.append(coefficients[:, p : p + terms] * grown)
            grown = grown * (m + p + 1).sqrt()
        powers = torch.sign(rho)[:, None] ** (m % 2) * rho.abs()[:, None] ** m
        worst = torch.zeros_like(rho)
        for p, q in orders:
            parts = shifted[p][a] * shifted[q][b] * powers
            moments[p, q] = parts.sum(1)
            left = parts[:, 3 * terms // 4 :].abs().sum(1) / (norm[a] * norm[b])
            worst = torch.maximum(worst, left / math.factorial((p + q) // 2))
        if float(worst.max()) < _TOL:
            break
    open_ = torch.nonzero(worst >= _TOL).ravel()
    if len(open_) and activation.differentiable:
        _by_quadrature(activation, kernel, a[open_], b[open_], moments, open_)
        worst[open_] = _TOL
    found = {}
    for i, j, k in KEYS:
        p, q = 2 * i + k, 2 * j + k
        found[i, j, k] = moments[p, q] / (scale[a] ** p * scale[b] ** q * 2 ** (i + j))
    return found, float(worst.max())


def _by_quadrature(
    activation: Activation, kernel: Tensor, a: Tensor, b: Tensor, moments: dict[tuple[int, int], Tensor], where: Tensor
) -> None:
    """Two-dimensional integrals of the derivatives themselves, for pairs that the series does not resolve."""
    variance = kernel.diagonal()
    wide = variance[a] >= variance[b]  # goes outside: the slope of the conditional mean stays below one
    first, second = torch.where(wide, a, b), torch.where(wide, b, a)
    functions = [partial(activation.derivative, order=order) for order in range(2 * HIGHEST + 1)]
    table = split_expectations(functions, functions, (), variance[first], variance[second], kernel[first, second])
    for p, q in moments:
        value = torch.where(wide, table[p][q], table[q][p])
        moments[p, q][where] = value * variance[a] ** (p / 2) * variance[b] ** (q / 2)


def _averaged(activation: Activation, kernel: Tensor, a: Tensor, b: Tensor) -> Found:
    """z_a = sqrt(K_aa) (sqrt|rho| u + sqrt(1 - |rho|) e_a), and z_b with the sign of rho."""
    rho = correlations(kernel)[a, b]
    found = {key: kernel.new_empty(len(a)) for key in KEYS}
    products = Products(activation, [Product((1.0,), order) for order in range(2 * HIGHEST + 1)])
    error = 0.0
    quadrature = rule(activation, kernel.diagonal())
    square = quadrature.mean(activation(quadrature.z) ** 2).clamp(min=1e-300)
    bound = (square[a] * square[b]).sqrt()
    for number, (i, j, r) in enumerate(zip(a.tolist(), b.tolist(), rho.tolist(), strict=True)):
        size = float(kernel[i, i].sqrt()), float(kernel[j, j].sqrt())
        share = 1.0 - abs(r)
        loading = size[0] * abs(r) ** 0.5, math.copysign(size[1] * abs(r) ** 0.5, r)
        natural = kernel.new_tensor([share ** (0.5 * max(p - 1, 0)) for p in range(2 * HIGHEST + 1)])
        units = [kernel.new_tensor([s**p for p in range(2 * HIGHEST + 1)])[:, None] for s in size]
        before = None
        change = 0.0
        start = next((n for n, count in enumerate(LADDER) if count >= _PER_SCALE / share**0.5), len(LADDER) - 2)
        for step in range(min(start, len(LADDER) - 2), len(LADDER)):
            u, w = (part.to(kernel.device) for part in axis(step))
            f, g = (
                products.averaged(load * u, s * share**0.5) * unit
                for load, s, unit in zip(loading, size, units, strict=True)
            )
            table = (f * w) @ g.T
            if before is not None:
                change = float(((table - before) * natural[:, None] * natural).abs().max() / bound[number])
                if change < _AXIS_TOL:
                    break
            before = table
        error = max(error, change)
        for p, q, k in KEYS:
            left, right = 2 * p + k, 2 * q + k
            value = table[left, right] / (size[0] ** left * size[1] ** right * 2 ** (p + q))
            found[p, q, k][number] = value
    return found, error


def _homogeneous(activation: Activation, kernel: Tensor, a: Tensor, b: Tensor) -> Found:
    """From dS/dK_12 = c asin rho + beta^2 and dS/dK_11 = c sqrt(D)/(2 K_11), which are differentiated further."""
    assert activation.slopes is not None
    alpha, beta = (
        0.5 * (activation.slopes[1] - activation.slopes[0]),
        0.5 * (activation.slopes[1] + activation.slopes[0]),
    )
    c = alpha * alpha * 2 / math.pi
    first, second, cross = kernel[a, a], kernel[b, b], kernel[a, b]
    size = (first * second).sqrt()
    determinant = (size - cross) * (size + cross)
    angle = torch.asin((cross / size).clamp(-1.0, 1.0))
    root = _powers_of_determinant(first, second, cross, determinant, 0.5)
    inverse = _powers_of_determinant(first, second, cross, determinant, -0.5)

    def by_first(own: Tensor, i: int, j: int, k: int, swap: bool) -> Tensor:
        """d^(i, j, k) of sqrt(D)/K_11, i in K_11."""
        total = torch.zeros_like(own)
        for part in range(i + 1):
            reciprocal = (-1) ** (i - part) * math.factorial(i - part) / own ** (i - part + 1)
            key = (j, part, k) if swap else (part, j, k)
            total = total + math.comb(i, part) * root[key] * reciprocal
        return total

    found = {(0, 0, 0): c * (determinant.clamp(min=0.0).sqrt() + cross * angle) + beta * beta * cross}
    for i, j, k in cartesian(range(HIGHEST + 1), repeat=3):
        if not 0 < i + j + k <= HIGHEST:
            continue
        if i:
            found[i, j, k] = 0.5 * c * by_first(first, i - 1, j, k, swap=False)
        elif j:
            found[i, j, k] = 0.5 * c * by_first(second, j - 1, i, k, swap=True)
        elif k == 1:
            found[i, j, k] = c * angle + beta * beta
        else:
            found[i, j, k] = c * inverse[0, 0, k - 2]
    return found, 0.0


def _powers_of_determinant(
    first: Tensor, second: Tensor, cross: Tensor, determinant: Tensor, power: float
) -> dict[tuple[int, int, int], Tensor]:
    """Derivatives of D^power to the third order, from (D + e)^power with e = K_22 x + K_11 y - 2 K_12 z + x y - z^2."""
    step = {(1, 0, 0): second, (0, 1, 0): first, (0, 0, 1): -2 * cross}
    step |= {(1, 1, 0): torch.ones_like(first), (0, 0, 2): -torch.ones_like(first)}
    total = {key: torch.zeros_like(first) for key in KEYS if sum(key) < HIGHEST}
    term = {(0, 0, 0): torch.ones_like(first)}
    factor = determinant**power
    for n in range(HIGHEST):
        for key, value in term.items():
            total[key] = total[key] + factor * value
        grown: dict[tuple[int, int, int], Tensor] = {}
        for one, value in term.items():
            for other, coefficient in step.items():
                key = one[0] + other[0], one[1] + other[1], one[2] + other[2]
                if sum(key) < HIGHEST:
                    grown[key] = grown.get(key, torch.zeros_like(first)) + value * coefficient
        term = grown
        factor = factor * (power - n) / ((n + 1) * determinant)
    return {key: value * math.prod(map(math.factorial, key)) for key, value in total.items()}
