"""An activation as theory and experiment see it: values, breakpoints, derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Where activations are compared with each other, and with their saved values.
GRID = torch.linspace(-6.0, 6.0, 97, dtype=torch.float64)
# Nodes and half-width of the local Chebyshev fit that replaces automatic differentiation where a callable blocks it.
_LOCAL_NODES = 13
_LOCAL_RADIUS = 0.06


@dataclass(frozen=True, eq=False)
class Activation:
    """One elementwise nonlinearity sigma.

    Build it with :func:`as_activation`; the constructor checks nothing.

    Attributes
    ----------
    name
        Registered name, with a parameter after a colon where it has one (``"leaky_relu:0.2"``), or the import path of
        a callable.
    function
        Elementwise map of float64 tensors.
    breakpoints
        Points where sigma or one of its first two derivatives jumps, ascending, as ``(point, order)``: order 0 a jump
        of sigma, 1 of its slope (a kink), 2 of its curvature.
    slopes
        ``(a_minus, a_plus)`` if sigma(z) = a_minus z for z < 0 and a_plus z for z > 0, the scale-invariant class (PDLT
        section 2.2), else ``None``.
    registered
        Whether ``name`` alone identifies it.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    breakpoints: tuple[tuple[float, int], ...] = ()
    slopes: tuple[float, float] | None = None
    registered: bool = True
    differentiable: bool = field(default=True, repr=False)

    def __call__(self, z: Tensor) -> Tensor:
        """sigma(z), elementwise; same shape."""
        return self.function(z)

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Activation):
            return NotImplemented
        if self.registered and other.registered:
            return self.name == other.name
        return self.name == other.name and bool(torch.equal(self(GRID), other(GRID)))

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def kinks(self) -> tuple[float, ...]:
        """Every point where sigma is not smooth, ascending."""
        return tuple(point for point, _ in self.breakpoints)

    @property
    def smooth(self) -> bool:
        """Whether sigma and its first two derivatives are continuous."""
        return not self.breakpoints

    @property
    def continuous(self) -> bool:
        """Whether sigma itself has no jump."""
        return all(order > 0 for _, order in self.breakpoints)

    def derivative(self, z: Tensor, order: int = 1) -> Tensor:
        """The regular part of the ``order``-th derivative: what holds away from the breakpoints.

        Parameters
        ----------
        z
            Points, any shape, float64. A value at a breakpoint belongs to one of its sides.
        order
            0 or more; 0 returns sigma itself.

        Returns
        -------
        Tensor
            Same shape as ``z``.
        """
        if order == 0:
            return self(z)
        if not self.differentiable:
            return self.local_derivative(z, order)
        with torch.enable_grad():
            x = z.detach().requires_grad_(True)
            y = self.function(x)
            for k in range(order):
                if not y.requires_grad:  # a polynomial of lower degree: its derivative is a constant
                    return torch.zeros_like(z)
                (y,) = torch.autograd.grad(y.sum(), x, create_graph=k + 1 < order)
        return y.detach() + torch.zeros_like(z)  # the sum materialises the symbolic zeros of autograd

    def jumps(self, order: int) -> tuple[tuple[float, float], ...]:
        """Jumps of the ``order``-th derivative, as ``(point, size)``; those of size zero are left out."""
        found = []
        for point, _ in self.breakpoints:
            step = 1e-9 * max(1.0, abs(point))
            sides = torch.tensor([point - step, point + step], dtype=torch.float64)
            low, high = self.derivative(sides, order).tolist()
            if abs(high - low) > 1e-7 * (1.0 + abs(low)):
                found.append((point, high - low))
        return tuple(found)

    def local_derivative(self, z: Tensor, order: int) -> Tensor:
        """Derivative of a Chebyshev fit on a window around each point that crosses no breakpoint."""
        edges = torch.tensor([-math.inf, *self.kinks, math.inf], dtype=z.dtype, device=z.device)
        flat = z.detach().reshape(-1).contiguous()
        cell = torch.searchsorted(edges, flat, right=True).clamp(1, len(edges) - 1)
        low, high = edges[cell - 1], edges[cell]
        radius = torch.minimum(torch.full_like(flat, _LOCAL_RADIUS), 0.5 * (high - low))
        centre = torch.minimum(torch.maximum(flat, low + radius), high - radius)
        nodes = np.cos(np.pi * (np.arange(_LOCAL_NODES) + 0.5) / _LOCAL_NODES)
        fit = torch.as_tensor(np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, _LOCAL_NODES - 1)).T)
        points = centre[:, None] + radius[:, None] * torch.as_tensor(nodes)
        coefficients = (self.function(points).detach() @ fit).numpy()
        coefficients = np.polynomial.chebyshev.chebder(coefficients, order, axis=1)
        offset = ((flat - centre) / radius).numpy()
        basis = np.polynomial.chebyshev.chebvander(offset, coefficients.shape[1] - 1)
        values = torch.as_tensor((basis * coefficients).sum(axis=1)) / radius**order
        return values.reshape(z.shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a file: the name, or for a callable its import path and its values on a fixed grid."""
        if self.registered:
            return {"name": self.name}
        return {
            "callable": self.name,
            "values": self(GRID).tolist(),
        }
