"""The typical network beside the mean: E[log G], its variance, the median, and who carries the mean, layer by layer.

The mean of G over networks is what kernel and vertex describe. In deep networks few networks carry it, and a network
drawn at random looks different. For any activation, at order 1/n, with G = K + delta:

    E[log G] = log K + G1/(n K) - V/(2 n K^2)
    Var[log G] = V/(n K^2)
    k3[log G] = [X/K^3 - 3 (V/K^2)^2]/n^2               the third cumulant, whence
    log median G = E[log G] - k3/(6 Var[log G])         (Cornish and Fisher)

with X the six-point vertex, X' = C3 + 3 C2_K F_K V + F_K^3 X + 3 F_K^2 F_KK V^2. A lognormal G of that variance s^2 has
half of its mean in the share Phi(-s) of networks. Exactly at every width for homogeneous activations without biases,
where layers are independent factors: :mod:`repflow.criticality.homogeneous`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from repflow.activation import Activation, ActivationLike, as_activation
from repflow.criticality.homogeneous import ProductLaw, check_width, layer_factor
from repflow.criticality.susceptibility import check_couplings
from repflow.criticality.trajectory import check_depth, local, typical_behaviour
from repflow.expectation.single import rule

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Typical:
    """Mean and typical networks; every array has shape (depth,), entry l - 1 for layer l.

    Attributes
    ----------
    exact
        Whether every number is exact at this width, and not of order 1/n.
    kernel
        K^(l) of infinite width.
    mean, variance
        E[G] and Var[G].
    mean_log, variance_log
        Of log G, among networks whose G is not 0.
    median
        Of G.
    half_of_mean
        Share of networks, those with the largest G, that carries half of the mean.
    alive
        Share of networks whose G is not 0.
    """

    exact: bool
    kernel: FloatArray
    mean: FloatArray
    variance: FloatArray
    mean_log: FloatArray
    variance_log: FloatArray
    median: FloatArray
    half_of_mean: FloatArray
    alive: FloatArray

    @property
    def ratio(self) -> FloatArray:
        """Var[G]/K^2."""
        return np.asarray(self.variance / self.kernel**2)

    def __len__(self) -> int:
        return len(self.kernel)


def typical_network(
    activation: ActivationLike, C_W: float, C_b: float, K1: float, depth: int, width: int, shift_W: float = 0.0
) -> Typical:
    """The law of one input's Gram entry G^(l) from network to network, in every layer.

    Parameters
    ----------
    activation
        Anything :func:`repflow.activation.as_activation` takes.
    C_W, C_b
        Couplings of layers 2 to L.
    K1
        G^(1) = K^(1), above 0: fixed, since layer 1 has nothing random below it.
    depth
        L, 1 or more.
    width
        n of every hidden layer.
    shift_W
        c, where the networks have C_W + c/n.

    Returns
    -------
    Typical
        Exact for homogeneous activations with C_b = 0, else at order 1/n.

    Raises
    ------
    ValueError
        A number is out of its range.
    """
    sigma = as_activation(activation)
    weight, bias = check_couplings(C_W, C_b)
    layers, n = check_depth(depth), check_width(width)
    if not math.isfinite(K1) or K1 <= 0:
        raise ValueError(f"K1 must be finite and above 0, got {K1!r}")
    if not math.isfinite(shift_W) or weight + shift_W / n <= 0:
        raise ValueError(f"shift_W must leave C_W + shift_W/width above 0, got {shift_W!r}")
    if sigma.slopes is not None and bias == 0.0:
        return _exact(sigma, weight, shift_W, float(K1), layers, n)
    return _first_order(sigma, weight, bias, float(K1), layers, n, shift_W)


def _exact(sigma: Activation, C_W: float, shift_W: float, K1: float, depth: int, width: int) -> Typical:
    assert sigma.slopes is not None
    factor = layer_factor(sigma, C_W + shift_W / width, width)
    laws = [ProductLaw(factor, layer) for layer in range(1, depth)]
    growth = 0.5 * C_W * (sigma.slopes[0] ** 2 + sigma.slopes[1] ** 2)
    kernel = np.asarray(K1 * growth ** np.arange(depth), dtype=np.float64)
    return Typical(
        exact=True,
        kernel=kernel,
        mean=K1 * np.array([1.0, *(law.mean for law in laws)]),
        variance=K1**2 * np.array([0.0, *(law.variance for law in laws)]),
        mean_log=math.log(K1) + np.array([0.0, *(law.mean_log for law in laws)]),
        variance_log=np.array([0.0, *(law.variance_log for law in laws)]),
        median=K1 * np.array([1.0, *(law.median for law in laws)]),
        half_of_mean=np.array([0.5, *(law.half_of_mean for law in laws)]),
        alive=np.array([1.0, *(law.alive for law in laws)]),
    )


def _first_order(sigma: Activation, C_W: float, C_b: float, K1: float, depth: int, width: int, shift: float) -> Typical:
    path = typical_behaviour(sigma, C_W, C_b, K1, depth, shift_W=shift)
    K, V, G1 = path.kernel, path.vertex, path.kernel_correction
    X = _sextic(sigma, C_W, K, V)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance_log = V / (width * K**2)
        mean_log = np.log(K) + G1 / (width * K) - 0.5 * variance_log
        third = (X / K**3 - 3.0 * (V / K**2) ** 2) / width**2
        skew = np.where(variance_log > 0, third / (6.0 * variance_log), 0.0)
    return Typical(
        exact=False,
        kernel=K,
        mean=K + G1 / width,
        variance=V / width,
        mean_log=mean_log,
        variance_log=variance_log,
        median=np.exp(mean_log - skew),
        half_of_mean=ndtr(-np.sqrt(variance_log)),
        alive=np.ones(depth),
    )


def _sextic(sigma: Activation, C_W: float, K: FloatArray, V: FloatArray) -> FloatArray:
    """X^(l), the third cumulant of G^(l) times n^2 at leading order."""
    X = np.zeros_like(K)
    for index in range(len(K) - 1):
        at = local(sigma, float(K[index]))
        fourth_K, sixth = higher_moments(sigma, float(K[index]))
        F_K, F_KK = C_W * at.square_K, C_W * at.square_KK
        C2_K = C_W**2 * (fourth_K - 2.0 * at.square * at.square_K)
        C3 = C_W**3 * (sixth - 3.0 * at.fourth * at.square + 2.0 * at.square**3)
        v = float(V[index])
        X[index + 1] = C3 + 3.0 * C2_K * F_K * v + F_K**3 * X[index] + 3.0 * F_K**2 * F_KK * v**2
    return X


def higher_moments(sigma: Activation, K: float) -> tuple[float, float]:
    """d<s^4>/dK = <s^4 (u^2 - 1)>/(2 K) and <s^6>."""
    quadrature = rule(sigma, torch.tensor([K], dtype=torch.float64))
    with torch.no_grad():
        square = sigma(quadrature.z) ** 2
    slope = quadrature.mean(square**2 * (quadrature.u**2 - 1.0)) / (2.0 * K)
    return float(slope[0]), float(quadrature.mean(square**3)[0])
