"""An activation near z = 0: one-sided Taylor coefficients, and how K falls to K* = 0 (PDLT section 5.3.3).

With sigma(0) = 0 and C_W = 2/(a_-^2 + a_+^2), where a_-, a_+ are the slopes on the two sides,

    F(K) = K (1 + sum_m alpha_m K^(m/2)),   alpha_m = C_W E|u|^(m+2) (c^+_(m+2) + (-1)^m c^-_(m+2)) / 2

with c^(+-)_k the Taylor coefficients of sigma^2 on either side; a smooth activation has only even m. The first m that
does not vanish rules: K -> (-alpha_m m l / 2)^(-2/m) where alpha_m < 0, and K* = 0 repels where alpha_m > 0. Where none
exists, sigma is linear on both sides of 0 out to a breakpoint z_0, and K -> z_0^2 / (2 log l).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from repflow.activation import Activation

_ORDERS = 6
_STEP = 1e-17  # to the side of a breakpoint at 0
_AT_ZERO = 1e-12


@dataclass(frozen=True)
class Origin:
    """Taylor coefficients of sigma at 0 from the left and from the right, of order 0, 1, ...; as many as are finite."""

    minus: tuple[float, ...]
    plus: tuple[float, ...]
    exact: bool  #: whether they come from automatic differentiation (to rounding) rather than from a local fit

    @property
    def square(self) -> float:
        """lim K -> 0 of <s s>: the mean of sigma^2 on the two sides."""
        return 0.0 if self.vanishes else 0.5 * (self.minus[0] ** 2 + self.plus[0] ** 2)

    @property
    def vanishes(self) -> bool:
        """Whether sigma(0) = 0 on both sides."""
        return max(abs(self.minus[0]), abs(self.plus[0])) < _AT_ZERO

    @property
    def slope_square(self) -> float:
        """lim K -> 0 of <s' s'>: (a_-^2 + a_+^2)/2, infinite at a jump."""
        if abs(self.plus[0] - self.minus[0]) > _AT_ZERO:
            return math.inf
        return 0.5 * (self.minus[1] ** 2 + self.plus[1] ** 2)

    @property
    def slope_fourth(self) -> float:
        """(a_-^4 + a_+^4)/2."""
        return 0.5 * (self.minus[1] ** 4 + self.plus[1] ** 4)

    @property
    def square_slope(self) -> float:
        """lim K -> 0 of d<s s>/dK."""
        low, high = self.minus, self.plus
        if abs(high[0] ** 2 - low[0] ** 2) > _AT_ZERO:
            return 0.0  # <s s> tends to the mean of the two sides, symmetric in u
        if self.vanishes:
            return self.slope_square
        kink = high[0] * high[1] - low[0] * low[1]
        if abs(kink) > 1e-9:  # d<s s>/dK ~ kink / sqrt(2 pi K)
            return math.copysign(math.inf, kink)
        return 0.5 * sum(side[1] ** 2 + 2.0 * side[0] * side[2] for side in (low, high))


def origin(activation: Activation) -> Origin:
    """One-sided Taylor coefficients at 0, to order 5 where automatic differentiation reaches, to order 3 otherwise."""
    broken = any(abs(point) < _AT_ZERO for point in activation.kinks)
    points = torch.tensor([-_STEP, _STEP] if broken else [0.0, 0.0], dtype=torch.float64)
    sides: list[list[float]] = [[], []]
    for order in range(_ORDERS if activation.differentiable else 4):
        try:
            values = activation.derivative(points, order).tolist()
        except RuntimeError:  # an operation without a derivative of this order
            break
        if not np.isfinite(values).all():
            break
        for side, value in zip(sides, values, strict=True):
            side.append(value / math.factorial(order))
    for side, sign in zip(sides, (-1.0, 1.0), strict=True):
        side.extend([0.0] * (3 - len(side)))
        if not activation.differentiable:
            slope = _difference(activation, sign)
            if abs(side[1] - slope) > 1e-6 * (1.0 + abs(slope)):  # the fit does not resolve what happens near 0
                side[1:] = [slope, 0.0]
    return Origin(tuple(sides[0]), tuple(sides[1]), activation.differentiable)


def _difference(activation: Activation, sign: float) -> float:
    """Slope at 0 on one side from differences of values, to about 1e-9."""
    step = 1e-6 * sign
    zero, half, full = activation(torch.tensor([_STEP * sign, 0.5 * step, step], dtype=torch.float64)).tolist()
    return float((4.0 * half - full - 3.0 * zero) / step)


def absolute_moment(k: int) -> float:
    """E|u|^k of a standard normal variable."""
    return 2.0 ** (k / 2) * math.gamma((k + 1) / 2) / math.sqrt(math.pi)


def small_kernel_series(at: Origin, C_W: float) -> list[float]:
    """alpha_1, alpha_2, ... of F(K) = K (1 + sum_m alpha_m K^(m/2)) at C_b = 0, for sigma(0) = 0; rounding put to 0."""
    low, high = (np.asarray([0.0, *side[1:]]) for side in (at.minus, at.plus))
    known = len(low)  # sigma^2 starts at z^2, so that one order more than sigma's own is known
    low2, high2 = np.convolve(low, low)[: known + 1], np.convolve(high, high)[: known + 1]
    noise = 1e-9 if at.exact else 1e-4
    series = []
    for k in range(3, len(low2)):
        alpha = 0.5 * C_W * absolute_moment(k) * float(high2[k] + (-1.0) ** k * low2[k])
        series.append(alpha if abs(alpha) > noise else 0.0)
    return series
