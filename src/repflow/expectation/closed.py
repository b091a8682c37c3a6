"""Closed forms of <sigma_a sigma_b> and its derivatives in K, where they are known.

Scale-invariant activations: the arc-cosine kernels (Cho and Saul 2009; PDLT section 5.5). sin: Gaussian integrals of
exponentials (PDLT section 5.3.3). erf: Williams 1996. perceptron: the arcsine law (Sheppard 1899).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.kinked import COLLINEAR

Parts: TypeAlias = dict[str, Tensor]


def closed_pair_map(activation: Activation, kernel: Tensor, derivatives: int, slope: bool) -> Parts | None:
    """The parts of a PairMap in closed form, without the diagonal, or None."""
    if activation.slopes is not None:
        return _select(_homogeneous(activation.slopes, kernel, derivatives), derivatives, slope)
    if activation.name == "sin" and activation.registered:
        return _select(_sin(kernel), derivatives, slope)
    if activation.name == "perceptron" and activation.registered:
        return _select(_perceptron(kernel), derivatives, slope)
    if activation.name == "erf" and activation.registered and derivatives == 0:
        return _select(_erf(kernel), derivatives, slope)
    return None


def _select(parts: Parts, derivatives: int, slope: bool) -> Parts:
    wanted = ["mean"]
    if slope:
        wanted.append("slope")
    if derivatives >= 1:
        wanted += ["d_self", "d_cross"]
    if derivatives >= 2:
        wanted += ["h_self", "h_cross", "h_self_other", "h_self_cross"]
    return {name: parts[name].clone() for name in wanted}


def _homogeneous(slopes: tuple[float, float], kernel: Tensor, derivatives: int) -> Parts:
    """sigma = alpha |z| + beta z with <|z_1||z_2|> = (2/pi)(sqrt(D) + K_12 asin rho), D = K_11 K_22 - K_12^2."""
    alpha, beta = 0.5 * (slopes[1] - slopes[0]), 0.5 * (slopes[1] + slopes[0])
    variance = kernel.diagonal().clamp(min=0.0)
    product = variance[:, None] * variance[None, :]
    live = product > 0
    scale = product.sqrt()
    rho = torch.where(live, kernel / torch.where(live, scale, 1.0), 0.0).clamp(-1.0, 1.0)
    complement = (1.0 - rho) * (1.0 + rho)
    collinear = complement < COLLINEAR
    root = scale * complement.clamp(min=0.0).sqrt()
    c, b2 = alpha * alpha * 2 / math.pi, beta * beta
    angle = torch.asin(rho)
    parts: Parts = {
        "mean": c * (root + kernel * angle) + b2 * kernel,
        "slope": torch.where(live, c * angle + b2, b2),
        "d_cross": torch.where(live, c * angle + b2, b2),
    }
    if derivatives == 0:
        return parts
    own = torch.where(variance > 0, 1.0 / variance.clamp(min=1e-300), 0.0)[:, None]  # 1/K_aa, by row
    other = variance[None, :]
    parts["d_self"] = 0.5 * c * root * own
    # A collinear pair stays collinear: S = S(K_aa) is linear in the scale, so its second derivatives vanish.
    inverse = torch.where(live & ~collinear, 1.0 / torch.where(root > 0, root, 1.0), 0.0)
    parts["h_cross"] = c * inverse
    parts["h_self_other"] = 0.25 * c * inverse
    parts["h_self_cross"] = -0.5 * c * kernel * own * inverse
    parts["h_self"] = 0.5 * c * (0.5 * other * own * inverse - torch.where(inverse > 0, root * own**2, 0.0))
    return parts


def _sin(kernel: Tensor) -> Parts:
    """<sin sin> = exp(-(K_11 + K_22)/2) sinh K_12 and <cos cos> with cosh, without overflow."""
    variance = kernel.diagonal()
    total = 0.5 * (variance[:, None] + variance[None, :])
    minus, plus = torch.exp(-(total - kernel).clamp(min=0.0)), torch.exp(-(total + kernel).clamp(min=0.0))
    sines, cosines = 0.5 * (minus - plus), 0.5 * (minus + plus)
    return {
        "mean": sines,
        "slope": cosines,
        "d_cross": cosines,
        "d_self": -0.5 * sines,
        "h_cross": sines,
        "h_self_other": 0.25 * sines,
        "h_self_cross": -0.5 * cosines,
        "h_self": 0.25 * sines,
    }


def _perceptron(kernel: Tensor) -> Parts:
    """S = 1/4 + asin(rho)/(2 pi), a function of the correlation alone."""
    variance = kernel.diagonal().clamp(min=0.0)
    live = (variance[:, None] > 0) & (variance[None, :] > 0)
    safe = torch.where(variance > 0, variance, 1.0)
    scale = (safe[:, None] * safe[None, :]).sqrt()
    rho = torch.where(live, kernel / scale, 0.0).clamp(-1.0, 1.0)
    complement = (1.0 - rho) * (1.0 + rho)
    open_ = live & (complement >= COLLINEAR)
    root = torch.where(open_, complement, 1.0).sqrt()
    s1 = torch.where(open_, 1.0 / (2 * math.pi * root), 0.0)
    s2 = torch.where(open_, rho / (2 * math.pi * root**3), 0.0)
    own, other = 1.0 / safe[:, None], 1.0 / safe[None, :]
    mean = torch.where(live, 0.25 + torch.asin(rho) / (2 * math.pi), 0.0)
    zero = torch.zeros_like(mean)
    return {
        "mean": mean,
        "slope": zero,
        "d_cross": s1 / scale,
        "d_self": -0.5 * rho * s1 * own,
        "h_cross": s2 / scale**2,
        "h_self_other": 0.25 * own * other * (s2 * rho**2 + s1 * rho),
        "h_self_cross": -0.5 * own / scale * (s2 * rho + s1),
        "h_self": own**2 * (0.25 * s2 * rho**2 + 0.75 * s1 * rho),
    }


def step_map(slopes: tuple[float, float], kernel: Tensor, derivatives: int) -> Parts:
    """The parts of a PairMap of sigma' = alpha sgn z + beta: (2 alpha)^2 times the perceptron's, its mean shifted."""
    jump, beta = slopes[1] - slopes[0], 0.5 * (slopes[1] + slopes[0])
    parts = _select(_perceptron(kernel), derivatives, slope=False)
    parts = {name: jump * jump * value for name, value in parts.items()}
    parts["mean"] += beta * beta - 0.25 * jump * jump
    return parts


def _erf(kernel: Tensor) -> Parts:
    """S = (2/pi) asin(2 K_12/sqrt(c_1 c_2)), <s's'> = (4/pi)/sqrt(c_1 c_2 - 4 K_12^2), c = 1 + 2 K."""
    c = 1.0 + 2.0 * kernel.diagonal()
    product = c[:, None] * c[None, :]
    return {
        "mean": 2 / math.pi * torch.asin((2 * kernel / product.sqrt()).clamp(-1.0, 1.0)),
        "slope": 4 / math.pi / (product - 4 * kernel**2).sqrt(),
    }
