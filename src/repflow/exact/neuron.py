"""The law of one neuron's log sigma(z)^2, z ~ N(0, g), as masses at points.

Composite Gauss-Legendre quadrature in z, cut where sigma is not smooth and graded geometrically towards the zeros of
sigma, where log sigma(z)^2 falls to minus infinity: there the law of sigma^2 is singular as x^(-1/2), and a function
of log x is smooth in log |z - zero| only.
"""

from __future__ import annotations

import numpy as np
import torch

from repflow.activation import Activation
from repflow.exact.panels import Array, gauss_legendre

#: Half-range in z / sqrt(g): exp(-u^2/2) is 5e-32 there, and 1e-18 of E[u^12] lies beyond.
REACH = 12.0
_PANEL_U = 0.5
_PANEL_Z = 0.75
_NEAR_Z = 40.0
# sigma(z)^2 below this is a neuron that is silent.
_TINY = 1e-290


def square(activation: Activation, z: Array) -> Array:
    """sigma(z)^2 of NumPy points."""
    values: Array = activation(torch.from_numpy(np.ascontiguousarray(z))).detach().numpy() ** 2
    return values


def zeros(activation: Activation, reach: float) -> Array:
    """Points of [-reach, reach] where sigma vanishes: crossings, touchings, and the ends of intervals of zeros."""
    from scipy.optimize import brentq, minimize_scalar

    def value(z: float) -> float:
        return float(activation(torch.tensor([z], dtype=torch.float64))[0])

    grid = np.linspace(-reach, reach, 2 * int(np.ceil(32 * reach)) + 2)  # even: 0 itself is no point of it
    s = activation(torch.from_numpy(grid)).detach().numpy()
    found = [float(brentq(value, grid[i], grid[i + 1], xtol=1e-300)) for i in np.flatnonzero(s[1:] * s[:-1] < 0)]
    for i in np.flatnonzero((s[1:] == 0) != (s[:-1] == 0)):
        low, high = float(grid[i]), float(grid[i + 1])
        silent = value(low) == 0.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            if (value(middle) == 0.0) == silent:
                low = middle
            else:
                high = middle
        found.append(0.0 if abs(high) < 1e-15 else high)
    a = np.abs(s)
    for i in np.flatnonzero((a[1:-1] < a[:-2]) & (a[1:-1] <= a[2:]) & (a[1:-1] > 0) & (s[:-2] * s[2:] > 0)) + 1:
        touch = minimize_scalar(
            lambda z: abs(value(z)), bounds=(grid[i - 1], grid[i + 1]), method="bounded", options={"xatol": 1e-12}
        )
        if touch.fun < 1e-9 * (a[i - 1] + a[i + 1]):
            near = float(touch.x)
            found.append(0.0 if abs(near) < 1e-6 else near)
    return np.unique(np.asarray(found, dtype=np.float64))


def _edges(activation: Activation, roots: Array, low: float, high: float, depth: int) -> Array:
    """Panel edges in z for all g between low and high; ``depth`` halvings towards each root."""
    reach, narrow = REACH * np.sqrt(high), np.sqrt(low)
    half = [0.0]
    while half[-1] < reach:
        start = half[-1]
        near = _PANEL_Z if start < _NEAR_Z else max(_PANEL_Z, 0.25 * start)
        half.append(start + min(near, _PANEL_U * narrow))
    half[-1] = reach
    uniform = np.asarray(half)
    scale = min(_PANEL_Z, _PANEL_U * narrow)
    steps = scale * 0.5 ** np.arange(0, depth)
    graded = [root + sign * np.maximum(steps, 4e-16 * abs(root)) for root in roots for sign in (-1.0, 1.0)]
    kinks = np.asarray(activation.kinks, dtype=np.float64)
    every = np.unique(np.concatenate([-uniform, uniform, roots, kinks, *graded]))
    edges: Array = every[(every >= -reach) & (every <= reach)]
    return edges


def neuron_law(activation: Activation, g: Array, roots: Array, depth: int, points: int) -> tuple[Array, Array, Array]:
    """Where log sigma(z)^2 lies and with which mass.

    Parameters
    ----------
    activation
        sigma.
    g
        Variances of z, shape (R,), positive and of one scale.
    roots
        Zeros of sigma.
    depth
        Halvings of the panels towards each root.
    points
        Nodes a panel.

    Returns
    -------
    t, mass, silent
        log sigma(z)^2 at the nodes where sigma is not 0, shape (M,); the masses of these, shape (R, M); the
        probability that sigma(z) = 0, shape (R,).
    """
    edges = _edges(activation, roots, float(g.min()), float(g.max()), depth)
    x, w = gauss_legendre(points)
    half, middle = 0.5 * np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    z = (middle[:, None] + half[:, None] * x).ravel()
    dz = (half[:, None] * w).ravel()
    mass = dz * np.exp(-0.5 * z * z / g[:, None]) / np.sqrt(2 * np.pi * g)[:, None]
    mass /= mass.sum(axis=1, keepdims=True)
    s2 = square(activation, z)
    speaks = s2 > _TINY
    return np.log(s2[speaks]), mass[:, speaks], mass[:, ~speaks].sum(axis=1)
