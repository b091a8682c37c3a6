"""All fixed points K* = F(K*) of the kernel map at given couplings, tangencies included.

Between two neighbouring extrema of g(K) = F(K) - K, where chi_parallel = 1, g is monotone and has at most one root; an
extremum at which g vanishes is a double root, stable from one side only. So the extrema are found first and the roots
between them; and the inflections before both, since two extrema may lie closer than the scan (silu: K = 14.32 and
14.50).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.optimize import brentq

from repflow.activation import Activation, ActivationLike, as_activation
from repflow.criticality.origin import origin
from repflow.criticality.susceptibility import FloatArray, Moments, check_couplings, correlation_length, moments

#: The scan: K from 1e-8 to 1e6, 20 points a decade.
LOWEST, HIGHEST, PER_DECADE = 1e-8, 1e6, 20
_FLAT = 1e-11  # |g|/K and |chi - 1| below this are rounding
_TANGENT = 4e-9  # |g|/K at an extremum below this is a double root: what couplings rounded to 8 decimals leave

EVERY_K = "every K"


@dataclass(frozen=True)
class FixedPoint:
    """One fixed point of the kernel map of one input.

    Attributes
    ----------
    K
        Its kernel. Where every K is a fixed point (scale-invariant activations at criticality) one of them, 1, stands
        for all.
    chi_parallel, chi_perpendicular
        Susceptibilities there (limits for K = 0).
    stability
        ``"stable"``, ``"unstable"``, ``"stable from above"``, ``"stable from below"`` or ``"every K"``.
    """

    K: float
    chi_parallel: float
    chi_perpendicular: float
    stability: str

    @property
    def xi_parallel(self) -> float:
        """Layers over which a difference in norm changes by a factor e."""
        return float(correlation_length(self.chi_parallel))

    @property
    def xi_perpendicular(self) -> float:
        """Layers over which a difference in direction changes by a factor e."""
        return float(correlation_length(self.chi_perpendicular))

    @property
    def attracts(self) -> bool:
        """Whether K comes to it from at least one side, or stays at it wherever it starts."""
        return self.stability != "unstable"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return asdict(self)


@dataclass(frozen=True)
class CorrelationLengths:
    """What a kernel near one fixed point remembers, from :func:`correlation_lengths`.

    Attributes
    ----------
    fixed_point
        The fixed point that K reaches from its start.
    parallel, perpendicular
        xi = 1/|log chi|, layers over which a difference in norm or direction changes by a factor e; infinite where chi
        = 1.
    phase
        ``"ordered"`` (chi_perpendicular < 1: inputs grow alike), ``"chaotic"`` (> 1: they grow apart) or
        ``"critical"``.
    """

    fixed_point: FixedPoint
    parallel: float
    perpendicular: float
    phase: str


@lru_cache(maxsize=64)
def scan(activation: Activation) -> Moments:
    """Moments of an activation on the scan's grid of K; computed once."""
    count = round(np.log10(HIGHEST / LOWEST) * PER_DECADE) + 1
    return moments(activation, np.geomspace(LOWEST, HIGHEST, count))


def bracketed_roots(x: FloatArray, values: FloatArray, flat: float, function: Callable[[float], float]) -> list[float]:
    """Roots of ``function`` where ``values`` at ``x`` change sign, those within ``flat`` of 0 being passed over."""
    significant = np.flatnonzero(np.abs(values) > flat)
    signs = np.sign(values[significant])
    roots = []
    for i in np.flatnonzero(signs[1:] != signs[:-1]):
        low, high = x[significant[i]], x[significant[i + 1]]
        if function(low) * function(high) < 0:  # else the signs of the table were rounding
            roots.append(float(brentq(function, low, high, xtol=1e-300, rtol=1e-13, maxiter=200)))
    return roots


def fixed_points(activation: ActivationLike, C_W: float, C_b: float) -> tuple[FixedPoint, ...]:
    """Every fixed point of F(K) = C_b + C_W <s s>_K with K = 0 or 1e-8 <= K <= 1e6, ascending, with its stability.

    Parameters
    ----------
    activation
        Anything :func:`repflow.activation.as_activation` takes.
    C_W, C_b
        Couplings, 0 or more.

    Returns
    -------
    tuple of FixedPoint
        Empty where the kernel runs away from every start.

    Raises
    ------
    ValueError
        A coupling is negative or not finite.
    """
    sigma = as_activation(activation)
    weight, bias = check_couplings(C_W, C_b)
    at = origin(sigma)
    if sigma.slopes is not None:
        return _scale_invariant(weight * at.slope_square, bias)
    table = scan(sigma)

    def gap(K: float) -> float:
        return (bias + weight * float(moments(sigma, K).square[0])) / K - 1.0

    def excess(K: float) -> float:
        return weight * float(moments(sigma, K).square_K[0]) - 1.0

    def curvature(K: float) -> float:
        return weight * K * float(moments(sigma, K).square_KK[0])

    inflections = bracketed_roots(table.K, weight * table.K * table.square_KK, 1e-9, curvature)
    x, chi = _refined(sigma, table.K, weight * table.square_K, inflections, lambda m: weight * m.square_K)
    extrema = bracketed_roots(x, chi - 1.0, _FLAT, excess)
    x, mapped = _refined(sigma, table.K, weight * table.square, extrema, lambda m: weight * m.square)
    g = (bias + mapped) / x - 1.0
    double = _double_roots(extrema, [float(g[np.searchsorted(x, K)]) for K in extrema])
    # Rounding of the couplings parts a double root into two, sqrt(2 |g| / |g''|) to either side.
    apart = {K: 1e-6 + 1.2 * np.sqrt(2.0 * abs(off) / max(abs(curvature(K)), 1e-12)) for K, off in double.items()}
    simple = [
        K for K in bracketed_roots(x, g, _FLAT, gap) if all(abs(K / point - 1.0) > apart[point] for point in double)
    ]
    found = []
    if bias + weight * at.square == 0.0:
        stability = {-1: "stable", 0: EVERY_K, 1: "unstable"}[_first_sign(g)]
        found.append(FixedPoint(0.0, weight * at.square_slope, weight * at.slope_square, stability))
    roots = sorted([*double, *simple])
    if roots:
        local = moments(sigma, roots)
        for i, K in enumerate(roots):
            slope = weight * float(local.slope[i])
            if K in double:
                side = "above" if local.square_KK[i] < 0 else "below"
                found.append(FixedPoint(K, 1.0, slope, f"stable from {side}"))
                continue
            parallel = weight * float(local.square_K[i])
            found.append(FixedPoint(K, parallel, slope, "stable" if abs(parallel) < 1.0 else "unstable"))
    return tuple(found)


def _scale_invariant(factor: float, C_b: float) -> tuple[FixedPoint, ...]:
    """F(K) = C_b + factor K: a line, with every K, one K or no K fixed."""
    if abs(factor - 1.0) < 1e-9:
        return (FixedPoint(1.0, 1.0, 1.0, EVERY_K),) if C_b == 0.0 else ()
    if factor < 1.0:
        return (FixedPoint(C_b / (1.0 - factor), factor, factor, "stable"),)
    return (FixedPoint(0.0, factor, factor, "unstable"),) if C_b == 0.0 else ()


def _double_roots(extrema: list[float], gaps: list[float]) -> dict[float, float]:
    """Extrema at which g vanishes, with what is left of g; of two neighbours only the one where less is left."""
    double: dict[float, float] = {}
    last: float | None = None
    for K, off in zip(extrema, gaps, strict=True):
        if abs(off) >= _TANGENT:
            last = None
            continue
        if last is not None:
            if abs(off) >= abs(double[last]):
                continue
            del double[last]
        double[K] = off
        last = K
    return double


def _refined(
    sigma: Activation, K: FloatArray, values: FloatArray, extra: list[float], of: Callable[[Moments], FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """A table of values at K with those at the ``extra`` points sorted in."""
    if not extra:
        return K, values
    x, first = np.unique(np.concatenate([K, extra]), return_index=True)
    return x, np.concatenate([values, of(moments(sigma, extra))])[first]


def _first_sign(g: FloatArray) -> int:
    """Sign of g at the smallest K where it is more than rounding; 0 if nowhere."""
    clear = g[np.abs(g) > _FLAT]
    return int(np.sign(clear[0])) if len(clear) else 0


def reached(points: Iterable[FixedPoint], K1: float) -> FixedPoint | None:
    """The fixed point that K comes to from K1 for a kernel map that increases with K; None if it runs away."""
    ordered = sorted(points, key=lambda point: point.K)
    if any(point.stability == EVERY_K for point in ordered):
        return ordered[0]
    below = [point for point in ordered if point.K <= K1 * (1 + 1e-9)]
    above = [point for point in ordered if point.K > K1 * (1 + 1e-9)]
    if below and (abs(below[-1].K - K1) <= 1e-9 * K1 or below[-1].stability in ("stable", "stable from above")):
        return below[-1]
    if above and above[0].stability in ("stable", "stable from below"):
        return above[0]
    return None


def phase_of(chi_perpendicular: float, tolerance: float = 1e-6) -> str:
    """``"ordered"``, ``"critical"`` or ``"chaotic"``: chi_perpendicular below, at or above 1."""
    if abs(chi_perpendicular - 1.0) <= tolerance:
        return "critical"
    return "ordered" if chi_perpendicular < 1.0 else "chaotic"


def correlation_lengths(activation: ActivationLike, C_W: float, C_b: float, K1: float = 1.0) -> CorrelationLengths:
    """Both correlation lengths at the fixed point that a kernel starting at K1 reaches.

    Off criticality a perturbation grows or decays as exp(l / xi): it has changed a thousandfold after 6.9 xi layers.

    Parameters
    ----------
    activation
        Anything :func:`repflow.activation.as_activation` takes.
    C_W, C_b
        Couplings, 0 or more.
    K1
        Kernel of the first layer, positive.

    Raises
    ------
    ValueError
        A coupling is negative or not finite, K1 is not positive, or the kernel reaches no fixed point from K1.
    """
    if not (np.isfinite(K1) and K1 > 0):
        raise ValueError(f"K1 must be positive and finite, got {K1!r}")
    point = reached(fixed_points(activation, C_W, C_b), K1)
    if point is None:
        raise ValueError(
            f"K1={K1:g} reaches no fixed point at C_W={C_W:g}, C_b={C_b:g}: the kernel grows without bound; "
            "choose a smaller C_W"
        )
    phase = phase_of(point.chi_perpendicular)
    return CorrelationLengths(point, point.xi_parallel, point.xi_perpendicular, phase)
