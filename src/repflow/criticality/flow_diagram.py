"""The renormalisation group flow of one input in the plane of kernel and fluctuation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.activation import ActivationLike, as_activation
from repflow.criticality.susceptibility import check_couplings
from repflow.criticality.trajectory import local

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class FlowDiagram:
    """What one layer does to (K, r), r = V/(n K^2) the relative variance of the Gram entry between networks.

    Attributes
    ----------
    kernel, ratio
        Where: (A,) values of K and (B,) of r.
    next_kernel
        K' = F(K), shape (A,).
    next_ratio
        r' = [C_W^2 (<s^4> - <s^2>^2)/n + F_K^2 K^2 r]/K'^2, shape (A, B).
    growth
        chi_parallel^2 (K/K')^2, shape (A,): by what a small r is multiplied where the width is infinite.
    source
        What a layer adds to r at width n, shape (A,): (1/n) Var(s^2)/<...>^2, so that r = 0 is no fixed point.
    """

    kernel: FloatArray
    ratio: FloatArray
    next_kernel: FloatArray
    next_ratio: FloatArray
    growth: FloatArray
    source: FloatArray


def flow_diagram(
    activation: ActivationLike, C_W: float, C_b: float, width: int, kernel: ArrayLike, ratio: ArrayLike
) -> FlowDiagram:
    """One layer's step from every point of a grid in the plane (K, V/(n K^2)), at order 1 in 1/n.

    At infinite width V/n = 0 stays 0: a fixed point, where nothing interacts. At finite width every layer adds its
    source, at criticality nu/n a layer, and V/(n K^2) grows as l/n: the fixed point is unstable, with 1/n the relevant
    direction (PDLT section 4.2).

    Parameters
    ----------
    activation
        Anything :func:`repflow.activation.as_activation` takes.
    C_W, C_b
        Couplings, 0 or more.
    width
        n.
    kernel
        (A,) positive values of K.
    ratio
        (B,) values of V/(n K^2), 0 or more.

    Raises
    ------
    ValueError
        A number is out of its range.
    """
    sigma = as_activation(activation)
    weight, bias = check_couplings(C_W, C_b)
    if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 1:
        raise ValueError(f"width must be a whole number of 1 or more, got {width!r}")
    K, r = np.atleast_1d(np.asarray(kernel, dtype=np.float64)), np.atleast_1d(np.asarray(ratio, dtype=np.float64))
    if K.ndim != 1 or not np.isfinite(K).all() or (K <= 0).any():
        raise ValueError("kernel must hold positive numbers in one axis")
    if r.ndim != 1 or not np.isfinite(r).all() or (r < 0).any():
        raise ValueError("ratio must hold numbers of 0 or more in one axis")
    at = [local(sigma, float(value)) for value in K]
    square, slope, fourth = (np.array([getattr(one, name) for one in at]) for name in ("square", "square_K", "fourth"))
    after = bias + weight * square
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = (weight * slope * K / after) ** 2
        source = weight**2 * (fourth - square**2) / (width * after**2)
    return FlowDiagram(K, r, after, source[:, None] + growth[:, None] * r, growth, source)
