"""The density of one output preactivation: Gaussian, nearly Gaussian, and what the ensemble drew.

At order 1/n the density of z is that of a Gaussian with the corrected variance s^2 = K + G1/n, times the first term of
its Edgeworth series with the fourth cumulant 3 V/n:

    p(z) = N(z; 0, s^2) [1 + (V / (8 n K^2)) (u^4 - 6 u^2 + 3)],   u = z / s
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def gaussian_density(z: FloatArray, variance: float) -> FloatArray:
    """N(z; 0, variance) at each z."""
    return np.asarray(np.exp(-(z**2) / (2.0 * variance)) / np.sqrt(2.0 * np.pi * variance))


def nearly_gaussian_density(z: FloatArray, variance: float, excess_kurtosis: float) -> FloatArray:
    """The density at order 1/n; it may fall below 0 where the excess kurtosis is of order 1, and so order 1 fails.

    Parameters
    ----------
    z
        Where, any shape.
    variance
        s^2 = K + G1/n, positive.
    excess_kurtosis
        3 V/(n K^2).
    """
    u2 = z**2 / variance
    return np.asarray(gaussian_density(z, variance) * (1.0 + excess_kurtosis / 24.0 * (u2**2 - 6.0 * u2 + 3.0)))
