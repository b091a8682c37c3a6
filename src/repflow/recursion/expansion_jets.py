"""Taylor coefficients in the kernel of the moments of one neuron, to any order and for any activation.

With phi = C_W sigma(z)^2 (one input) or C_W (s_1^2, s_1 s_2, s_2^2) (two), every moment of phi under N(0, g) is an
expectation <f_1(z_1) f_2(z_2)> of powers f = sigma^p. A derivative with respect to a kernel entry takes derivatives
inside, d<f>/dg_aa = 1/2 <d_a d_a f> and d<f>/dg_12 = <d_1 d_2 f>, and a derivative of f shifts its Hermite
coefficients: with f(sqrt(g) u) = sum_m a_m h_m(u) and orthonormal h_m, f' has sqrt((m+1)/g) a_{m+1}. So one quadrature
for each power of sigma gives all derivatives, for smooth and for kinked activations alike, and nothing is inverted but
the two variances:

    <f_1^(a) f_2^(b)> = (g_11)^(-a/2) (g_22)^(-b/2) sum_m sqrt((m+a)! (m+b)!)/m! a_{m+a} b_{m+b} rho^m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from repflow.activation import Activation
from repflow.expectation.legendre import normal_panels
from repflow.expectation.single import REACH, Rule, hermite_coefficients, rule
from repflow.recursion.expansion_algebra import Array, Monomials

#: Quadrature nodes a panel; the second number is for an estimate of rounding.
POINTS = (12, 15)
#: Numbers of Hermite coefficients tried for two inputs, until the series of <f_1^(a) f_2^(b)> have converged.
TERMS = (160, 480, 1440)
#: Share of a derivative that its series may leave out.
UNRESOLVED = 1e-7


# Half-range in u: a Hermite function of degree 60 has not fallen far where the Gaussian alone would end.
_REACH = 18.0


@dataclass(frozen=True)
class Moments:
    """Taylor coefficients of E[phi^a] in the shift delta of the kernel.

    Attributes
    ----------
    values
        Shape (monomials a of phi, monomials of delta).
    unresolved
        Largest share of a coefficient that its series left out; 0 for one input.
    """

    values: Array
    unresolved: float


def one_input(
    activation: Activation, C_W: float, kernel: float, highest: int, degree: int, points: int = POINTS[0]
) -> Moments:
    """Moments 0 to ``highest`` of phi = C_W sigma(z)^2 about the kernel K, to ``degree`` in delta.

    The coefficient of delta^r is sqrt((2r)!) a_{2r} / (2^r r! K^r). At K = 0 the derivatives are left 0: there G does
    not fluctuate. For a scale-invariant activation moment m is a multiple of g^m, and is expanded as such. ``points``
    are the quadrature's nodes a panel.
    """
    values = np.zeros((highest + 1, degree + 1))
    values[0, 0] = 1.0
    if kernel <= 0.0:
        silent = float(activation(torch.zeros(1, dtype=torch.float64))[0]) ** 2
        values[:, 0] = (C_W * silent) ** np.arange(highest + 1)
        return Moments(values, 0.0)
    if activation.slopes is not None:
        for m in range(1, highest + 1):
            mean = 0.5 * sum(slope ** (2 * m) for slope in activation.slopes) * math.prod(range(1, 2 * m, 2))
            for r in range(min(m, degree) + 1):
                values[m, r] = C_W**m * mean * math.comb(m, r) * kernel ** (m - r)
        return Moments(values, 0.0)
    quadrature = _rule(activation, kernel, 2 * degree + 1, points)
    phi = C_W * activation(quadrature.z) ** 2
    log_factor = [
        0.5 * math.lgamma(2 * r + 1) - math.lgamma(r + 1) - r * math.log(2.0 * kernel) for r in range(degree + 1)
    ]
    for m in range(1, highest + 1):
        a = hermite_coefficients(quadrature, phi**m, 2 * degree + 1)[0, ::2].numpy()
        values[m] = np.exp(log_factor) * a
    return Moments(values, 0.0)


def two_inputs(
    activation: Activation, C_W: float, kernel: Array, phi: Monomials, shifts: Monomials, points: int = POINTS[0]
) -> Moments:
    """Moments of phi = C_W (s_1^2, s_1 s_2, s_2^2) about the kernel, shape (2, 2), in the shifts of (11, 12, 22).

    Moments of degree m are given to degree 2 (phi.degree - m) in the shifts, and at least 0, which is what the
    expansion to order phi.degree - 1 needs.

    Raises
    ------
    ValueError
        The derivatives do not exist or cannot be resolved: an activation with kinks and inputs that are (nearly)
        collinear.
    """
    variances = np.maximum(np.diag(kernel), 0.0)
    scale = math.sqrt(variances[0] * variances[1])
    rho = float(np.clip(kernel[0, 1] / scale, -1.0, 1.0)) if scale > 0 else 0.0
    for terms in TERMS:
        found = _two_inputs(activation, C_W, variances, rho, phi, shifts, (terms, points))
        if found.unresolved <= UNRESOLVED:
            return found
    raise ValueError(
        f"x: at a correlation of {rho:.6g} between the two inputs the derivatives of {activation.name}'s expectations "
        f"are resolved to {found.unresolved:.1e} only (1e-7 is asked for); take a lower order, inputs further apart, "
        "or one input"
    )


def _two_inputs(
    activation: Activation,
    C_W: float,
    variances: Array,
    rho: float,
    phi: Monomials,
    shifts: Monomials,
    resolution: tuple[int, int],
) -> Moments:
    terms, points = resolution
    # A derivative to degree r in the shifts takes up to 2 r derivatives of each factor.
    reach = terms + 2 * shifts.degree
    coefficients = [_powers(activation, float(variance), 2 * phi.degree, reach, points) for variance in variances]
    log_factorial = np.array([math.lgamma(i + 1) for i in range(reach + 1)])
    m = np.arange(terms)
    powers = rho**m
    values = np.zeros((len(phi), len(shifts)))
    unresolved = 0.0
    scales = np.sqrt(np.maximum(variances, 1e-300))
    known: dict[tuple[int, int, int, int], tuple[float, float]] = {}

    def derivative(p: int, q: int, a: int, b: int) -> tuple[float, float]:
        """<(sigma^p)^(a)_1 (sigma^q)^(b)_2> and what its series left out."""
        if (p, q, a, b) not in known:
            if (a and variances[0] <= 0) or (b and variances[1] <= 0):  # a silent input's entries do not fluctuate
                known[p, q, a, b] = 0.0, 0.0
            else:
                weight = np.exp(0.5 * (log_factorial[m + a] + log_factorial[m + b]) - log_factorial[m])
                series = weight * coefficients[0][p, m + a] * coefficients[1][q, m + b] * powers
                unit = scales[0] ** a * scales[1] ** b
                tail = float(np.abs(series[-(terms // 16) :]).sum()) * 16.0
                known[p, q, a, b] = float(series.sum()) / unit, tail / unit
        return known[p, q, a, b]

    for row, (i, j, k) in enumerate(phi.exponents):
        p, q = 2 * i + j, j + 2 * k
        limit = max(0, 2 * (phi.degree - (i + j + k)))
        if row == 0:
            values[0, 0] = 1.0
            continue
        for column, (r, s, t) in enumerate(shifts.exponents):
            if r + s + t > limit:
                continue
            value, tail = derivative(p, q, 2 * r + s, s + 2 * t)
            factor = C_W ** (i + j + k) * 0.5 ** (r + t) / shifts.factorials[column]
            values[row, column] = factor * value
            if tail:
                # In units of what a shift by the kernel itself would change the moment by.
                unit = variances[0] ** (r + 0.5 * s) * variances[1] ** (t + 0.5 * s)
                bound = math.sqrt(
                    float(coefficients[0][p] @ coefficients[0][p]) * float(coefficients[1][q] @ coefficients[1][q])
                )
                unresolved = max(
                    unresolved, tail * 0.5 ** (r + t) / shifts.factorials[column] * unit / max(bound, 1e-300)
                )
    return Moments(values, unresolved)


def _powers(activation: Activation, variance: float, highest: int, terms: int, points: int) -> Array:
    """Hermite coefficients of sigma^p, p = 0..highest, shape (highest + 1, terms)."""
    out = np.zeros((highest + 1, terms))
    if variance <= 0.0:
        out[:, 0] = float(activation(torch.zeros(1, dtype=torch.float64))[0]) ** np.arange(highest + 1)
        return out
    quadrature = _rule(activation, variance, terms, points)
    s = activation(quadrature.z)
    for p in range(highest + 1):
        out[p] = hermite_coefficients(quadrature, s**p, terms)[0].numpy()
    return out


def _rule(activation: Activation, variance: float, terms: int, points: int) -> Rule:
    """The expectation room's rule, carried on to a wider range."""
    inner = rule(activation, torch.tensor([variance], dtype=torch.float64), terms=terms, points=points)
    u, w = normal_panels(torch.linspace(REACH, _REACH, 25, dtype=torch.float64)[None], points)
    return Rule(torch.cat([inner.u, -u, u], dim=1), torch.cat([inner.w, w, w], dim=1), inner.sigma)
