"""One-dimensional Gaussian quadrature that knows where an activation is not smooth.

Composite Gauss-Legendre on panels in the whitened variable u = z / sqrt(K), with panel edges at the activation's
breakpoints: spectrally accurate for smooth and for kinked functions alike, where Gauss-Hermite is not (48 of its nodes
are off by 3e-3 for tanh^4 at K = 3.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.legendre import normal_panels

#: Half-range in u: exp(-u^2/2) is 5e-32 there.
REACH = 12.0
_POINTS = 12
_PANEL_U = 0.5  # widest panel in u
_PANEL_Z = 1.0  # widest panel in z where activations vary: their poles and wiggles are of order one
_NEAR_Z = 40.0  # beyond this |z| only the Gaussian is resolved


@dataclass(frozen=True)
class Rule:
    """Nodes u and weights for expectations over a standard normal variable.

    Attributes
    ----------
    u, w
        Shape (1, q) where all variances share the nodes, else (A, q). The weights contain the Gaussian density.
    sigma
        Standard deviations, shape (A,).
    """

    u: Tensor
    w: Tensor
    sigma: Tensor

    @property
    def z(self) -> Tensor:
        """Nodes sqrt(K) u, shape (A, q)."""
        return self.sigma[:, None] * self.u

    def mean(self, values: Tensor) -> Tensor:
        """Expectation of values at the nodes, shape (A, q) -> (A,)."""
        return (values * self.w).sum(-1)


def _uniform_edges(sigma_max: float, widest: float) -> np.ndarray:
    """Panel edges on [0, REACH]: narrow in z near the origin, then widening to ``widest`` in u."""
    edges = [0.0]
    while edges[-1] < REACH:
        start = edges[-1]
        width = widest
        if sigma_max * widest > _PANEL_Z:
            fine = _PANEL_Z / sigma_max
            width = fine if sigma_max * start < _NEAR_Z else min(widest, max(fine, 0.25 * start))
        edges.append(start + width)
    edges[-1] = REACH
    return np.asarray(edges)


def rule(kinks: Activation | Tensor, variance: Tensor, terms: int = 0, points: int = _POINTS) -> Rule:
    """Quadrature rule for E[f(z)], z ~ N(0, K), with f built from an activation and its derivatives.

    Parameters
    ----------
    kinks
        The activation, whose breakpoints become panel edges, or the edges themselves in z, shape (A, k).
    variance
        K, shape (A,), not negative.
    terms
        Highest Hermite degree that will multiply f: panels shrink so that it is resolved.
    points
        Gauss-Legendre nodes a panel.

    Returns
    -------
    Rule
    """
    sigma = variance.detach().double().clamp(min=0.0).sqrt()
    if not bool(torch.isfinite(sigma).all()):  # panels without end otherwise
        raise ValueError("variance must be finite: signals overflow; take a smaller C_W or fewer layers")
    widest = _PANEL_U if terms <= 64 else min(_PANEL_U, 4.0 / math.sqrt(terms))
    half = _uniform_edges(float(sigma.max()) if sigma.numel() else 0.0, widest)
    edges = torch.as_tensor(np.concatenate([-half[:0:-1], half]))
    panels = edges.to(sigma.device)[None, :]
    if isinstance(kinks, Activation):
        away = [kink for kink in kinks.kinks if kink != 0.0]  # 0 is an edge already
        kinks = torch.tensor(away, dtype=torch.float64, device=sigma.device).expand(len(sigma), -1)
    if kinks.shape[1]:
        extra = (kinks / sigma.clamp(min=1e-300)[:, None]).clamp(-REACH, REACH)
        panels, _ = torch.cat([panels.expand(len(sigma), -1), extra], dim=1).sort(dim=1)
    return Rule(*normal_panels(panels, points), sigma)


def nodes(
    activation: Activation, variance: Float64[Tensor, " A"]
) -> tuple[Float64[Tensor, "A q"], Float64[Tensor, "A q"]]:
    """Nodes z and weights w, both (A, q): E[f(z)] = (w f(z)).sum(-1) for z ~ N(0, K_a).

    Exact to rounding for polynomials in z, sigma and its regular derivatives.
    """
    quadrature = rule(activation, variance)
    z = quadrature.z
    return z, quadrature.w.expand_as(z)


def expect(activation: Activation, function: Callable[[Tensor], Tensor], variance: Tensor) -> Tensor:
    """E[function(z)] for z ~ N(0, K), K of shape (A,), with panels cut at the breakpoints; shape (A,)."""
    z, w = nodes(activation, variance)
    return (function(z) * w).sum(-1)


def hermite_values(u: Tensor, terms: int) -> Tensor:
    """Orthonormal probabilists' Hermite polynomials h_m(u) = He_m(u) / sqrt(m!), m < terms; shape (terms, *u.shape)."""
    h = u.new_empty((terms, *u.shape))
    h[0] = 1.0
    if terms > 1:
        h[1] = u
    for m in range(1, terms - 1):
        h[m + 1] = (u * h[m] - math.sqrt(m) * h[m - 1]) / math.sqrt(m + 1)
    return h


def hermite_coefficients(quadrature: Rule, values: Tensor, terms: int) -> Tensor:
    """Coefficients a_m of f(sqrt(K) u) = sum_m a_m h_m(u), from values of f at the nodes.

    Parameters
    ----------
    quadrature
        From :func:`rule` with at least this many terms.
    values
        Shape (A, q).
    terms
        Number of coefficients.

    Returns
    -------
    Tensor
        Shape (A, terms).
    """
    weighted = values * quadrature.w
    if quadrature.u.shape[0] == 1:
        return weighted @ hermite_values(quadrature.u[0], terms).T
    out = values.new_empty((values.shape[0], terms))
    previous = torch.zeros_like(quadrature.u)
    current = torch.ones_like(quadrature.u)
    for m in range(terms):
        out[:, m] = (weighted * current).sum(-1)
        previous, current = current, (quadrature.u * current - math.sqrt(m) * previous) / math.sqrt(m + 1)
    return out


def quadrature_error(activation: Activation, variance: Tensor) -> float:
    """Disagreement of two quadrature rules about <s^2> and <s^4>, relative: an error estimate for a callable of
    unknown behaviour.

    Parameters
    ----------
    activation
        sigma.
    variance
        K, shape (A,); its smallest, median and largest entries are tried.
    """
    ordered = variance.detach().sort().values
    tried = ordered[[0, len(ordered) // 2, -1]]
    worst = 0.0
    for power in (2, 4):
        fine, coarse = rule(activation, tried), rule(activation, tried, points=_POINTS - 5)
        a = fine.mean(activation(fine.z).abs() ** power)
        b = coarse.mean(activation(coarse.z).abs() ** power)
        worst = max(worst, float(((a - b).abs() / a.clamp(min=1e-300)).max()))
    return worst
