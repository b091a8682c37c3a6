"""The plane of couplings: where inputs grow alike, where they grow apart, and the line between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from repflow.activation import Activation, ActivationLike, as_activation
from repflow.criticality.fixed_points import scan
from repflow.criticality.origin import origin
from repflow.criticality.susceptibility import FloatArray, correlation_length, kernel_map
from repflow.criticality.trajectory import per_layer

_FLAT = 1e-10


@dataclass(frozen=True)
class PhaseDiagram:
    """Fixed points over a grid of couplings; arrays have shape (len(C_W), len(C_b)).

    Attributes
    ----------
    activation
        Its name.
    C_W, C_b
        The grid's axes.
    K_star
        The fixed point that K reaches from ``K1``; infinite where it runs away.
    chi_parallel, chi_perpendicular
        Susceptibilities there; NaN where K runs away.
    line_C_W, line_C_b, line_K
        The line chi_perpendicular = 1 at a fixed point with chi_parallel <= 1, as a curve ordered by K, cut to C_b >=
        0; NaN where the curve is interrupted. Empty for an activation with a jump.
    """

    activation: str
    C_W: FloatArray
    C_b: FloatArray
    K_star: FloatArray
    chi_parallel: FloatArray
    chi_perpendicular: FloatArray
    line_C_W: FloatArray
    line_C_b: FloatArray
    line_K: FloatArray

    @property
    def xi_parallel(self) -> FloatArray:
        """Correlation length of the norm."""
        return np.asarray(correlation_length(self.chi_parallel))

    @property
    def xi_perpendicular(self) -> FloatArray:
        """Correlation length of the direction."""
        return np.asarray(correlation_length(self.chi_perpendicular))

    @property
    def phase(self) -> NDArray[Any]:
        """``"ordered"``, ``"critical"``, ``"chaotic"`` or ``"diverging"`` at each point, an array of strings."""
        chi = self.chi_perpendicular
        names = np.where(chi < 1.0, "ordered", "chaotic").astype(object)
        names[np.abs(chi - 1.0) <= 1e-6] = "critical"
        names[~np.isfinite(self.K_star)] = "diverging"
        return names


def phase_diagram(activation: ActivationLike, C_W: ArrayLike, C_b: ArrayLike, K1: float = 1.0) -> PhaseDiagram:
    """The fixed point that a kernel K1 reaches, with its susceptibilities, at every pair of couplings.

    Taken for a kernel map that increases with K: the nearest root of F(K) = K in the direction in which K moves from
    K1.

    Parameters
    ----------
    activation
        Anything :func:`repflow.activation.as_activation` takes.
    C_W, C_b
        Axes of the grid, one-dimensional, 0 or more.
    K1
        Kernel of the first layer, from 1e-6 to 1e4.

    Returns
    -------
    PhaseDiagram

    Raises
    ------
    ValueError
        An axis is empty, not one-dimensional, negative or not finite, or K1 is out of range.
    """
    sigma = as_activation(activation)
    axes = []
    for name, values in (("C_W", C_W), ("C_b", C_b)):
        axis = np.asarray(values, dtype=np.float64)
        if axis.ndim != 1 or not len(axis):
            raise ValueError(f"{name} must be a one-dimensional array of at least one value, got shape {axis.shape}")
        axes.append(per_layer(name, axis, len(axis)))
    if not 1e-6 <= K1 <= 1e4:
        raise ValueError(f"K1 must be from 1e-6 to 1e4, got {K1!r}")
    table = scan(sigma)
    x = np.log(table.K)
    square = CubicHermiteSpline(x, table.square, table.square_K * table.K)
    weight, bias = (array.reshape(-1) for array in np.meshgrid(*axes, indexing="ij"))
    K = _reached(sigma, weight, bias, float(K1), x, table.square, square)
    inside = np.isfinite(K) & (K > 0)
    at = np.log(np.clip(K, table.K[0], table.K[-1], where=inside, out=np.ones_like(K)))
    near = origin(sigma)
    chi = []
    for values, limit in ((table.square_K, near.square_slope), (table.slope, near.slope_square)):
        smooth = CubicSpline(x, values)(at) if np.isfinite(values).all() else np.full_like(at, np.inf)
        with np.errstate(invalid="ignore"):
            chi.append(weight * np.where(inside, smooth, np.where(K == 0.0, limit, np.nan)))
    shape = (len(axes[0]), len(axes[1]))
    line = _line(sigma)
    fields = [*axes, *(values.reshape(shape) for values in (K, *chi)), *line]
    return PhaseDiagram(sigma.name, *fields)


def _reached(
    sigma: Activation,
    weight: FloatArray,
    bias: FloatArray,
    K1: float,
    x: FloatArray,
    values: FloatArray,
    square: CubicHermiteSpline,
) -> FloatArray:
    """The nearest root of F(K) = K in the direction of F(K1) - K1, for every pair of couplings at once."""
    K = np.exp(x)
    g = (bias[:, None] + weight[:, None] * values) / K - 1.0
    start = kernel_map(sigma, K1, 1.0, 0.0) * weight / K1 + bias / K1 - 1.0
    first = int(np.searchsorted(K, K1, side="right"))  # K[first - 1] <= K1 < K[first]
    grows, falls = start > _FLAT, start < -_FLAT
    up, down = g[:, first:] < -_FLAT, g[:, :first][:, ::-1] > _FLAT
    any_up, any_down = up.any(axis=1), down.any(axis=1)
    high = np.where(grows, first + up.argmax(axis=1), first - down.argmax(axis=1))
    high = np.clip(high, 1, len(K) - 1)
    low_x, high_x = x[high - 1].copy(), x[high].copy()
    log_start = np.log(K1)
    low_x = np.where(grows, np.maximum(low_x, log_start), low_x)
    high_x = np.where(falls, np.minimum(high_x, log_start), high_x)
    for _ in range(60):
        middle = 0.5 * (low_x + high_x)
        positive = bias + weight * square(middle) > np.exp(middle)
        low_x, high_x = np.where(positive, middle, low_x), np.where(positive, high_x, middle)
    root = np.exp(0.5 * (low_x + high_x))
    root = np.where(grows & ~any_up, np.inf, root)
    root = np.where(falls & ~any_down, 0.0, root)
    return np.where(grows | falls, root, K1)


def _line(sigma: Activation) -> tuple[FloatArray, FloatArray, FloatArray]:
    """chi_perpendicular = 1 as a curve in K: C_W = 1/<s' s'>, C_b = K - C_W <s s>."""
    table = scan(sigma)
    keep = (table.K >= 1e-6) & (table.K <= 1e4) & np.isfinite(table.slope) & (table.slope > 1e-12)
    K = table.K[keep]
    if not len(K):
        return K, K, K
    weight = 1.0 / table.slope[keep]
    bias = K - weight * table.square[keep]
    bias[np.abs(bias) < 1e-9 * K] = 0.0
    valid = (bias >= 0.0) & (weight * table.square_K[keep] <= 1.0 + 1e-9)
    return tuple(np.where(valid, column, np.nan) for column in (weight, bias, K))  # type: ignore[return-value]
