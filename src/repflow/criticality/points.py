"""Critical points of an activation: fixed points K* at which both susceptibilities are 1 (PDLT section 5.3).

Three kinds exist. Scale-invariant: sigma(z) = a_-+ z; every K is fixed. K* = 0: sigma(0) = 0 with a slope there;
C_b = 0 and both susceptibilities tend to C_W (a_-^2 + a_+^2)/2. Half-stable: K* > 0 where d<s s>/dK = <s' s'>; the
susceptibilities agree there whatever C_W is, which then makes them 1, and C_b closes the fixed point, if it is not
negative. Since chi_parallel = 1, such a K* is a double root, stable from one side only.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from repflow.activation import Activation
from repflow.criticality.fixed_points import bracketed_roots, scan
from repflow.criticality.origin import Origin, origin, small_kernel_series
from repflow.criticality.susceptibility import FINE_POINTS, moments

SCALE_INVARIANT, K_STAR_ZERO, HALF_STABLE, NONE = "scale-invariant", "K*=0", "half-stable", "none"

# Half-stable points are looked for here. Beyond, every activation is its own asymptote: a difference of
# susceptibilities is small there because both tend to those of a scale-invariant activation, not because they cross.
_LOWEST, _HIGHEST = 1e-4, 1e4
_FLAT = 1e-9
# Where the fall of the kernel is read off: at the first K with a relative fall above this, and ten times further.
_CLEAR = 1e-6
# A fall steeper than this power of K is none: sigma is linear out to a breakpoint.
_STEEPEST = 4.0


@dataclass(frozen=True)
class Approach:
    """How the kernel of one input nears K* in deep layers, at criticality.

    Attributes
    ----------
    exponent, coefficient
        K^(l) - K* ~ coefficient / l^exponent. With ``logarithmic`` the exponent is 0 and K ~ coefficient / log l.
        ``None`` where K is constant, or leaves K*.
    logarithmic
        Whether the fall is logarithmic.
    law
        The same in words.
    """

    exponent: float | None
    coefficient: float | None
    logarithmic: bool
    law: str

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return asdict(self)


@dataclass(frozen=True)
class CriticalPoint:
    """One point of couplings and kernel at which both susceptibilities are 1.

    Attributes
    ----------
    universality_class
        ``"scale-invariant"``, ``"K*=0"`` or ``"half-stable"``.
    C_W, C_b
        Couplings.
    K_star
        The fixed point; ``None`` where every K is one.
    stability
        As in :class:`~repflow.criticality.fixed_points.FixedPoint`.
    approach
        How K nears it.
    nu
        V/K^2 ~ nu l in deep layers; ``None`` where K leaves the point.
    """

    universality_class: str
    C_W: float
    C_b: float
    K_star: float | None
    stability: str
    approach: Approach
    nu: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return asdict(self)


def critical_points(activation: Activation) -> tuple[CriticalPoint, ...]:
    """Every critical point of an activation, the one to use first.

    Order: scale-invariant; K* = 0 where it attracts; half-stable, by K*; K* = 0 where it repels.
    """
    at = origin(activation)
    if activation.slopes is not None:
        return (_scale_invariant(at),)
    if not activation.continuous:  # chi_perpendicular is infinite
        return ()
    half = _half_stable(activation)
    zero = _at_zero(activation, at)
    if zero is None:
        return tuple(half)
    return (zero, *half) if zero.stability == "stable" else (*half, zero)


def _scale_invariant(at: Origin) -> CriticalPoint:
    """C_W = 2/(a_-^2 + a_+^2), C_b = 0 (PDLT section 5.2). V' = C2 + V with C2/K^2 = <s^4>/<s^2>^2 - 1, all along."""
    approach = Approach(None, None, False, "K stays where it starts")
    return CriticalPoint(
        SCALE_INVARIANT, 1.0 / at.slope_square, 0.0, None, "every K", approach, _linear_fluctuation(at)
    )


def _linear_fluctuation(at: Origin) -> float:
    """C_W^2 (<s^4> - <s^2>^2)/K^2 as K -> 0 at C_W <s' s'> = 1: that of slopes a_-, a_+."""
    return 3.0 * at.slope_fourth / at.slope_square**2 - 1.0


def _at_zero(activation: Activation, at: Origin) -> CriticalPoint | None:
    """The K* = 0 point (PDLT section 5.3.3).

    K ~ l^-p gives F_K = 1 - (p + 1)/l, whatever p is, and with V = nu K^2 l the recursion V' = C2 + F_K^2 V reads
    (1 - 2p) nu = C2/K^2 - 2 (p + 1) nu: nu is a third of C2/K^2.
    """
    if not at.vanishes or at.slope_square < 1e-12:
        return None
    C_W = 1.0 / at.slope_square
    approach, stable = _fall(activation, at, C_W)
    nu = _linear_fluctuation(at) / 3.0 if stable else None
    return CriticalPoint(K_STAR_ZERO, C_W, 0.0, 0.0, "stable" if stable else "unstable", approach, nu)


def _fall(activation: Activation, at: Origin, C_W: float) -> tuple[Approach, bool]:
    """How K falls to 0, and whether it does: from the series at 0 where it describes small K, else measured there."""
    away = Approach(None, None, False, "K leaves 0")
    K = np.geomspace(1e-10, 1.0, 51)
    fall = C_W * moments(activation, K).square / K - 1.0
    first = int(np.argmax(np.abs(fall) > _CLEAR))
    clear = abs(fall[first]) > _CLEAR
    for m, alpha in enumerate(small_kernel_series(at, C_W), start=1):
        if alpha == 0.0:
            continue
        if clear and abs(fall[first] - alpha * K[first] ** (m / 2)) > 0.1 * abs(fall[first]):
            break  # another term, not a power of z, is larger
        return (_power_law(m, alpha), True) if alpha < 0 else (away, False)
    beyond = min(first + 5, len(K) - 1)
    edge = min((abs(kink) for kink in activation.kinks if abs(kink) > 1e-9), default=math.nan)
    if clear and fall[first] * fall[beyond] > 0 and not _linear_up_to(activation, edge):
        slope = math.log(fall[beyond] / fall[first]) / math.log(K[beyond] / K[first])
        if slope < _STEEPEST:
            alpha = float(fall[first] / K[first] ** slope)
            return (_power_law(2.0 * slope, alpha), True) if alpha < 0 else (away, False)
    table = scan(activation)
    gap = C_W * table.square / table.K - 1.0
    clear = gap[np.abs(gap) > 1e-11]
    if not len(clear) or clear[0] > 0:
        return away, False
    coefficient = 0.5 * edge**2 if math.isfinite(edge) else None
    law = "K falls logarithmically" if coefficient is None else f"K ~ {coefficient:.4g} / log l"
    return Approach(0.0, coefficient, True, law), True


def _linear_up_to(activation: Activation, edge: float) -> bool:
    """Whether it has one slope on each side of 0 up to its first kink: K then feels it by exp(-edge^2/2K) alone."""
    if not math.isfinite(edge):
        return False
    z = torch.linspace(0.05, 0.95, 19, dtype=torch.float64) * edge
    slopes = torch.stack([activation(z) / z, activation(-z) / -z])
    return bool((slopes - slopes[:, :1]).abs().max() <= 1e-12 * (1 + slopes.abs().max()))


def _power_law(m: float, alpha: float) -> Approach:
    """dK/dl = alpha K^(1 + m/2) with alpha < 0: K = (-alpha m l / 2)^(-2/m)."""
    exponent = 2.0 / m
    if not math.isfinite(alpha) or alpha >= 0:
        return Approach(exponent, None, False, "K leaves 0")
    coefficient = (-alpha * m / 2.0) ** -exponent
    power = "l" if exponent == 1.0 else f"l^{exponent:.4g}"
    return Approach(exponent, coefficient, False, f"K ~ {coefficient:.4g} / {power}")


def _half_stable(activation: Activation) -> list[CriticalPoint]:
    """Roots K* of d<s s>/dK = <s' s'>, equal to <s s''> = 0 (PDLT section 5.3.4), with C_b >= 0."""
    table = scan(activation)
    inside = (table.K >= _LOWEST) & (table.K <= _HIGHEST)

    def mismatch(K: float) -> float:
        at = moments(activation, K)
        return float(at.square_K[0] / at.slope[0] - 1.0)

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        difference = table.square_K[inside] / table.slope[inside] - 1.0
    candidates = bracketed_roots(table.K[inside], difference, _FLAT, mismatch)
    central = np.abs(np.log10(table.K[inside])) <= 1.0
    if (
        np.abs(difference[central]) < _FLAT
    ).all():  # sigma sigma'' = 0 throughout, a shifted ReLU: couplings exist for every K*
        candidates = [1.0]
    found = []
    for K in candidates:
        if not _resolved(activation, K):
            continue
        at = moments(activation, K)
        C_W = 1.0 / float(at.slope[0])
        C_b = K - C_W * float(at.square[0])
        if C_b < -1e-10 * K:
            continue
        curvature = C_W * float(at.square_KK[0])
        side = "above" if curvature < 0 else "below"
        nu = C_W**2 * float(at.fourth[0] - at.square[0] ** 2) / K**2
        coefficient = -2.0 / curvature
        approach = Approach(1.0, coefficient, False, f"K - K* ~ {coefficient:.4g} / l, from {side}")
        found.append(CriticalPoint(HALF_STABLE, C_W, max(C_b, 0.0), K, f"stable from {side}", approach, nu))
    return found


def _resolved(activation: Activation, K: float) -> bool:
    """Whether the quadrature is converged at K, in its nodes and in its range."""
    at, fine = moments(activation, K), moments(activation, K, FINE_POINTS)
    if abs(fine.slope[0] / at.slope[0] - 1.0) > 1e-7 or abs(fine.square_K[0] / at.square_K[0] - 1.0) > 1e-7:
        return False
    return bool(at.resolved[0])
