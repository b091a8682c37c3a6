"""Susceptibilities and the kernel map of one input: what one layer does to K and to small differences.

    F(K) = C_b + C_W <s s>_K        chi_parallel = C_W d<s s>/dK        chi_perpendicular = C_W <s' s'>_K

A difference in norm between inputs is multiplied by chi_parallel a layer, a difference in direction by
chi_perpendicular (PDLT section 5.1). Derivatives with respect to K are taken through the Gaussian weight,
d<f>/dK = <f (u^2 - 1)>/(2K) with u = z / sqrt(K), so that no second derivative of the activation is needed and kinks
are as good as smooth points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from repflow.activation import Activation, ActivationLike, as_activation
from repflow.criticality.origin import Origin, origin
from repflow.expectation.single import rule

FloatArray: TypeAlias = NDArray[np.float64]

#: Quadrature points a panel, and those of the rule that checks a result.
POINTS, FINE_POINTS = 12, 20
_CHUNK = 64  # kernels a batch: bounds memory
_TAIL = 1e-10


@dataclass(frozen=True)
class Moments:
    """Expectations over z ~ N(0, K) that the criticality of one input is made of; every array has the shape of ``K``.

    Attributes
    ----------
    K
        Variances, all positive.
    square, square_K, square_KK
        <s^2> and its first two derivatives with respect to K.
    fourth
        <s^4>.
    slope, slope_K, slope_KK
        <s' s'> and its first two derivatives with respect to K; infinite where sigma jumps.
    tail
        Share of <s^2> that comes from |u| > 9: where it is not negligible, sigma outgrows the range of the quadrature.
    """

    K: FloatArray
    square: FloatArray
    square_K: FloatArray
    square_KK: FloatArray
    fourth: FloatArray
    slope: FloatArray
    slope_K: FloatArray
    slope_KK: FloatArray
    tail: FloatArray

    @property
    def resolved(self) -> NDArray[np.bool_]:
        """Where the quadrature covers what counts."""
        return np.isfinite(self.fourth) & (self.tail < _TAIL)


def moments(activation: Activation, K: ArrayLike, points: int = POINTS) -> Moments:
    """The expectations of :class:`Moments` at each K, shape (A,), all positive."""
    variance = np.atleast_1d(np.asarray(K, dtype=np.float64))
    parts = [_batch(activation, variance[i : i + _CHUNK], points) for i in range(0, len(variance), _CHUNK)]
    return Moments(variance, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _batch(activation: Activation, variance: FloatArray, points: int) -> tuple[FloatArray, ...]:
    K = torch.as_tensor(variance)
    quadrature = rule(activation, K, points=points)
    z, u2 = quadrature.z, quadrature.u**2
    first, second = (u2 - 1.0) / 2.0, (u2 * u2 - 6.0 * u2 + 3.0) / 4.0
    with torch.no_grad(), np.errstate(all="ignore"):
        square = activation(z) ** 2
        # Without sigma(0)^2 the small terms of the derivatives are not differences of large ones as K -> 0.
        offset = float(activation(torch.zeros(1, dtype=torch.float64)) ** 2)
        varying = square - offset
        mean = quadrature.mean(varying)
        columns = [
            mean + offset,
            quadrature.mean(varying * first) / K,
            quadrature.mean(varying * second) / K**2,
            quadrature.mean(square * square),
        ]
        outside = quadrature.mean(torch.where(u2 > 81.0, square, 0.0))
        tail = torch.where(columns[0] > 0, outside / columns[0], 0.0)
    if activation.continuous:
        with np.errstate(all="ignore"):
            slope = activation.derivative(z) ** 2
        columns += [
            quadrature.mean(slope),
            quadrature.mean(slope * first) / K,
            quadrature.mean(slope * second) / K**2,
        ]
    else:
        columns += [torch.full_like(K, math.inf)] * 3
    return tuple(column.numpy() for column in (*columns, tail))


def _positive(name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0.0:
        raise ValueError(f"{name} must be a finite number of 0 or more, got {value!r}")
    return number


def check_couplings(C_W: float, C_b: float) -> tuple[float, float]:
    """C_W and C_b as floats.

    Raises
    ------
    ValueError
        One is negative or not finite.
    """
    return _positive("C_W", C_W), _positive("C_b", C_b)


def _over_kernels(
    activation: ActivationLike,
    K: ArrayLike,
    regular: Callable[[Moments], FloatArray],
    limit: Callable[[Origin], float],
) -> Any:
    sigma = as_activation(activation)
    variance = np.asarray(K, dtype=np.float64)
    if not np.isfinite(variance).all() or (variance < 0).any():
        raise ValueError("K must be finite and 0 or more everywhere")
    flat = variance.reshape(-1)
    out = np.empty_like(flat)
    zero = flat == 0.0
    if zero.any():
        out[zero] = limit(origin(sigma))
    if not zero.all():
        out[~zero] = regular(moments(sigma, flat[~zero]))
    return out.reshape(variance.shape)[()]


def kernel_map(activation: ActivationLike, K: ArrayLike, C_W: float, C_b: float) -> Any:
    """F(K) = C_b + C_W <s s>_K: the kernel of one input, one layer on.

    Parameters
    ----------
    activation
        Anything :func:`repflow.activation.as_activation` takes.
    K
        Kernel of the layer before, any shape, 0 or more.
    C_W, C_b
        Couplings, 0 or more.

    Returns
    -------
    numpy.ndarray
        Shape of ``K`` (a float64 scalar for a scalar).

    Raises
    ------
    ValueError
        A coupling or a kernel is negative or not finite.
    """
    weight, bias = check_couplings(C_W, C_b)
    return bias + weight * _over_kernels(activation, K, lambda m: m.square, lambda o: o.square)


def chi_parallel(activation: ActivationLike, K: ArrayLike, C_W: float) -> Any:
    """chi_parallel(K) = C_W d<s s>/dK, the growth of a difference in norm a layer (PDLT section 5.1).

    At K = 0 the limit, C_W (s^2)''(0)/2 averaged over the two sides, infinite where sigma(0) != 0 sits on a kink or
    jump. Parameters, shapes and errors as for :func:`kernel_map`.
    """
    weight, _ = check_couplings(C_W, 0.0)
    return weight * _over_kernels(activation, K, lambda m: m.square_K, lambda o: o.square_slope)


def chi_perpendicular(activation: ActivationLike, K: ArrayLike, C_W: float) -> Any:
    """chi_perpendicular(K) = C_W <s' s'>, the growth of a difference in direction a layer (PDLT section 5.1).

    Infinite for an activation with a jump: the distance between neighbouring inputs then grows as its square root.
    Parameters, shapes and errors as for :func:`kernel_map`.
    """
    weight, _ = check_couplings(C_W, 0.0)
    return weight * _over_kernels(activation, K, lambda m: m.slope, lambda o: o.slope_square)


def correlation_length(chi: ArrayLike) -> Any:
    """xi = 1 / |log chi|: layers over which a perturbation changes by a factor e; it decays for chi < 1, grows for chi
    > 1.

    Infinite where chi is 1 to 1e-9, 0 where it is 0 or infinite. A negative chi counts by its size. Shape of ``chi``.
    """
    size = np.abs(np.asarray(chi, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.abs(np.log(size))
        length = np.where(rate < 1e-9, math.inf, 1.0 / rate)
    return np.where((size == 0.0) | np.isinf(size), 0.0, length)[()]
