"""One input through the layers: kernel, susceptibilities, vertex and first kernel correction.

    K' = F(K)      V' = C2 + F_K^2 V      G1' = F_K G1 + F_KK V / 2 + dC_b + dC_W <s s>_K

with C2 = C_W^2 (<s^4> - <s^2>^2) and dC_W, dC_b the parts of the couplings of order 1/n (PDLT sections 4.3, 5.4). The
mean of G^(l) is K + G1/n + ..., its variance V/n + ..., for hidden layers of n neurons each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from repflow.activation import Activation, ActivationLike, as_activation
from repflow.criticality.origin import origin
from repflow.criticality.susceptibility import FloatArray, correlation_length, moments

_LARGEST = 1e140  # kernels and fourth moments beyond are taken for infinite


@dataclass(frozen=True)
class Trajectory:
    """One input, layer by layer; every array has shape (depth,), entry l - 1 for layer l.

    Attributes
    ----------
    kernel
        K^(l), from K^(1) = K1 on; infinite where it or <s^4> is above 1e140, with NaN in the other arrays.
    chi_parallel, chi_perpendicular
        Susceptibilities at K^(l) with the couplings of layer l + 1 (of layer L for l = L).
    vertex, kernel_correction
        V^(l) and G1^(l) of that input.
    """

    kernel: FloatArray
    chi_parallel: FloatArray
    chi_perpendicular: FloatArray
    vertex: FloatArray
    kernel_correction: FloatArray

    @property
    def xi_parallel(self) -> FloatArray:
        """Correlation length of the norm at each layer."""
        return np.asarray(correlation_length(self.chi_parallel))

    @property
    def xi_perpendicular(self) -> FloatArray:
        """Correlation length of the direction at each layer."""
        return np.asarray(correlation_length(self.chi_perpendicular))

    def __len__(self) -> int:
        return len(self.kernel)


@dataclass(frozen=True)
class Local:
    """What one layer does at one kernel, per unit C_W: the entries of ``Moments``, their limits at K = 0."""

    square: float
    square_K: float
    square_KK: float
    fourth: float
    slope: float
    slope_KK: float


def local(activation: Activation, K: float) -> Local:
    """Moments at one K of 0 or more; at 0 the limits, with second derivatives, which may not exist there, put to 0."""
    if K > 0.0:
        at = moments(activation, K)
        columns = (at.square, at.square_K, at.square_KK, at.fourth, at.slope, at.slope_KK)
        return Local(*(float(column[0]) for column in columns))
    near = origin(activation)
    return Local(near.square, near.square_slope, 0.0, near.square**2, near.slope_square, 0.0)


def per_layer(name: str, value: ArrayLike, depth: int) -> FloatArray:
    """A coupling as one number a layer.

    Raises
    ------
    ValueError
        It is neither one number nor ``depth`` of them, or one is negative or not finite.
    """
    array = np.asarray(value, dtype=np.float64)
    if array.shape not in ((), (depth,)):
        raise ValueError(f"{name} must be one number or one for each of the {depth} layers, got shape {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"{name} must be finite and 0 or more")
    return np.broadcast_to(array, (depth,)).copy()


def check_depth(depth: int) -> int:
    """``depth`` if it is a whole number of 1 or more, else ValueError."""
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < 1:
        raise ValueError(f"depth must be a whole number of layers, 1 or more, got {depth!r}")
    return int(depth)


def typical_behaviour(
    activation: ActivationLike,
    C_W: ArrayLike,
    C_b: ArrayLike,
    K1: float,
    depth: int,
    shift_W: ArrayLike = 0.0,
    shift_b: ArrayLike = 0.0,
) -> Trajectory:
    """The kernel of one input in every layer, with susceptibilities, vertex and first correction along it.

    Parameters
    ----------
    activation
        Anything :func:`repflow.activation.as_activation` takes; the same in every layer.
    C_W, C_b
        Couplings at infinite width: one number, or one for each of layers 1..depth. Those of layer 1 made K1 and are
        not used.
    K1
        K^(1), 0 or more.
    depth
        Number of layers, the first included.
    shift_W, shift_b
        n times the parts of the couplings of order 1/n, either sign, in the shapes of ``C_W``; they enter
        ``kernel_correction`` alone.

    Returns
    -------
    Trajectory

    Raises
    ------
    ValueError
        A number is out of its range or an array has another length than ``depth``.
    """
    sigma = as_activation(activation)
    layers = check_depth(depth)
    weight, bias = per_layer("C_W", C_W, layers), per_layer("C_b", C_b, layers)
    more_W = np.broadcast_to(np.asarray(shift_W, dtype=np.float64), (layers,))
    more_b = np.broadcast_to(np.asarray(shift_b, dtype=np.float64), (layers,))
    if not np.isfinite(K1) or K1 < 0:
        raise ValueError(f"K1 must be finite and 0 or more, got {K1!r}")
    out = np.full((5, layers), np.nan)
    K, V, G = float(K1), 0.0, 0.0
    for index in range(layers):
        following = min(index + 1, layers - 1)
        at = local(sigma, K) if K < _LARGEST else None
        if at is None or not at.fourth < _LARGEST:
            out[0, index:] = np.inf
            break
        C = weight[following]
        out[:, index] = K, C * at.square_K, C * at.slope, V, G
        F_K, F_KK = C * at.square_K, C * at.square_KK
        G = F_K * G + 0.5 * F_KK * V + more_W[following] * at.square + more_b[following]
        V = C**2 * (at.fourth - at.square**2) + F_K**2 * V
        K = bias[following] + C * at.square
    return Trajectory(*out)
