"""The members of the K* = 0 class, and the critical flow of each to a great depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repflow.activation import Activation, activation_names, as_activation

if TYPE_CHECKING:
    from repflow.criticality import Critical

FloatArray = NDArray[np.float64]
Spec = str | Callable[[Tensor], Tensor]
#: Depths at which members are compared.
DEPTHS = (100, 300, 1000, 3000, 10_000)


def algebraic(z: Tensor) -> Tensor:
    """z / sqrt(1 + z^2)."""
    return z * torch.rsqrt(1.0 + z * z)


def inverse_sinh(z: Tensor) -> Tensor:
    """asinh(z): it grows without bound."""
    return torch.asinh(z)


def gudermann(z: Tensor) -> Tensor:
    """arctan(sinh(z)), by a form that does not overflow."""
    return 2.0 * torch.atan(torch.tanh(0.5 * z))


def bump(z: Tensor) -> Tensor:
    """z exp(-z^2/2): it falls to 0 again."""
    return z * torch.exp(-0.5 * z * z)


def lopsided(z: Tensor) -> Tensor:
    """tanh(z) + tanh(z)^2/4: not odd."""
    t = torch.tanh(z)
    return t + 0.25 * t * t


#: Beside the registered activations.
MORE: tuple[Callable[[Tensor], Tensor], ...] = (algebraic, inverse_sinh, gudermann, bump, lopsided)


@dataclass(frozen=True)
class Member:
    """One activation along its critical flow from K^(1) = 1.

    ``alpha`` and ``beta`` are those of F(K) = K (1 - alpha K + beta alpha^2 K^2 - ...), NaN where sigma is not smooth
    at 0. ``kernel`` is K l^p over its predicted coefficient, ``vertex`` is V/(K^2 l) over nu; both have shape
    (depths,).
    """

    name: str
    alpha: float
    beta: float
    nu: float
    exponent: float
    depths: NDArray[np.int64]
    kernel: FloatArray
    vertex: FloatArray

    @property
    def smooth(self) -> bool:
        """Whether it is in the smooth part of the class, where K ~ 1/(alpha l)."""
        return math.isfinite(self.alpha)

    def log_coefficient(self) -> float:
        """A of V/(nu K^2 l) = 1 + (A log l + B + C log(l)^2/l)/l, fitted to the last decade of depth."""
        l_ = self.depths[self.depths >= self.depths[-1] // 10].astype(np.float64)
        rest = (self.vertex[-len(l_) :] - 1.0) * l_
        design = np.column_stack([np.log(l_), np.ones_like(l_), np.log(l_) ** 2 / l_, np.log(l_) / l_])
        return float(np.linalg.lstsq(design, rest, rcond=None)[0][0])


def class_members() -> list[tuple[Spec, Critical]]:
    """The registered activations of the K* = 0 class with a power law, and the callables above."""
    from repflow.criticality import critical

    names = [name for name in activation_names() if name != "monomial" and as_activation(name).slopes is None]
    found = [(name, critical(name)) for name in names]
    return [(name, c) for name, c in found if c.universality_class == "K*=0" and c.stable and c.exponent] + [
        (more, critical(more)) for more in MORE
    ]


def follow(spec: Spec, found: Critical) -> Member:
    """The critical flow of one activation of the class to the last of DEPTHS."""
    from repflow.criticality.origin import origin, small_kernel_series

    sigma = as_activation(spec)
    p, coefficient, nu = found.exponent, found.coefficient, found.nu
    assert p is not None
    assert coefficient is not None
    assert nu is not None
    C_W = float(np.asarray(found.C_W))
    series = [*small_kernel_series(origin(sigma), C_W), 0.0, 0.0, 0.0, 0.0]
    is_smooth = not sigma.breakpoints and series[0] == 0.0 and series[1] < 0.0
    alpha = -series[1] if is_smooth else math.nan
    K, ratio = _run(sigma, C_W, DEPTHS[-1])
    depths = np.unique(np.geomspace(1, DEPTHS[-1], 400).round().astype(np.int64))
    depths = np.unique(np.concatenate([depths, DEPTHS]))
    at = depths - 1
    return Member(
        name=getattr(spec, "__name__", str(spec)),
        alpha=alpha,
        beta=series[3] / alpha**2 if is_smooth else math.nan,
        nu=nu,
        exponent=p,
        depths=depths,
        kernel=K[at] * depths.astype(np.float64) ** p / coefficient,
        vertex=ratio[at] / (nu * depths),
    )


def _run(sigma: Activation, C_W: float, depth: int) -> tuple[FloatArray, FloatArray]:
    """K^(l) and V/K^2 from K^(1) = 1 on, through splines of the one-layer map in log K: ten thousand layers in a blink.

    The splines are of (F/K - 1)/K^(1/2) and the like, which are smooth and of order one or less near K = 0, where F/K
    itself is 1 up to rounding.
    """
    from scipy.interpolate import CubicSpline

    from repflow.criticality.susceptibility import moments

    K = np.geomspace(1e-10, 1.5, 1500)
    at = moments(sigma, K)
    root = np.sqrt(K)
    after = C_W * at.square
    table = np.column_stack(
        [(after / K - 1.0) / root, (C_W * at.square_K - 1.0) / root, C_W**2 * (at.fourth - at.square**2) / K**2]
    )
    spline = CubicSpline(np.log(K), table)
    kernel, ratio = np.empty(depth), np.empty(depth)
    k, r = 1.0, 0.0
    for layer in range(depth):
        kernel[layer], ratio[layer] = k, r
        fall, slope, source = spline(math.log(k)).tolist()
        step = 1.0 + fall * math.sqrt(k)
        r = (source + (1.0 + slope * math.sqrt(k)) ** 2 * r) / step**2
        k *= step
    return kernel, ratio
