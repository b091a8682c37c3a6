"""Kinks smoothed exactly: part of a variable's variance is averaged over before the grid is laid.

For z = z' + s e with e standard normal and independent of everything, E f_1(z_1)...f_4(z_4) over z is E
g_1(z'_1)...g_4(z'_4) over z', with g(z') = E f(z' + s e). The kinks of f become smooth on the scale s in g, and a
trapezoid rule of about that step converges again. Near a kink the average is known in closed form; elsewhere it is the
heat expansion f + s^2 f''/2 + s^4 f''''/8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from repflow.activation import Activation

_PROBE = torch.linspace(-7.3, 7.1, 301, dtype=torch.float64)


class Smoothed:
    """g(z, s) = E f(z + s e) for an activation with jumps in f or its first three derivatives, for s below the scale
    on which f varies otherwise.

    The first terms left out are of order s^4 within a few s of a kink, and s^6 elsewhere.
    """

    def __init__(self, activation: Activation) -> None:
        self._function = activation
        self._jumps = [activation.jumps(order) for order in range(4)]
        self._curved = [bool((activation.derivative(_PROBE, order).abs() > 1e-12).any()) for order in (2, 4)]

    @property
    def curved(self) -> bool:
        """Whether f is anything but straight between its kinks: only then is s bounded from above."""
        return any(self._curved)

    def __call__(self, z: Tensor, s: Tensor) -> Tensor:
        """Elementwise in z; s broadcasts against it and is positive."""
        activation, square = self._function, s * s
        value = activation(z)
        if self._curved[0]:
            value = value + 0.5 * square * activation.derivative(z, 2)
        if self._curved[1]:
            value = value + 0.125 * square * square * activation.derivative(z, 4)
        for order, jumps in enumerate(self._jumps):
            for point, size in jumps:
                value = value + size * _excess(order, (z - point) / s, s)
        return value


def _excess(order: int, t: Tensor, s: Tensor) -> Tensor:
    """What averaging adds to (z - c)^k/k! for z > c, beyond the heat expansion, at t = (z - c)/s."""
    far = t.abs()
    tail = 0.5 * torch.special.erfc(far * math.sqrt(0.5))  # Phi(-|t|)
    if order == 0:
        return torch.where(t > 0, -tail, tail)
    density = torch.exp(-0.5 * far * far) / math.sqrt(2 * math.pi)
    if order == 1:
        return s * (density - far * tail)
    if order == 2:
        half = 0.5 * ((far * far + 1) * tail - far * density)
        return s * s * torch.where(t > 0, -half, half)
    return s**3 * ((far * far + 2) * density - (far**3 + 3 * far) * tail) / 6
