"""<sigma_a sigma_b> and its derivatives in K for activations with kinks or jumps.

Derivatives of sigma are taken as distributions: sigma' has a step, sigma'' a delta function, at a kink. Higher ones
are moved onto the Gaussian by E[z_1 h(z_1) g(z_2)] = K_11 E[h' g] + K_12 E[h g'], which divides by a variance and
never by 1 - rho^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.mehler import Series
from repflow.expectation.single import hermite_coefficients, rule
from repflow.expectation.split import conditional_means, split_expectations

_TOL = 1e-8
#: 1 - rho^2 below which a pair counts as collinear.
COLLINEAR = 1e-12


def kinked_pair_map(activation: Activation, kernel: Tensor, derivatives: int, slope: bool) -> dict[str, Tensor]:
    """The parts of a PairMap, off-diagonal entries valid; see :func:`repflow.expectation.pair_map.pair_map`."""
    if derivatives == 2 and not activation.continuous:
        raise ValueError(
            f"activation {activation.name!r} jumps: its 1/n correction is known for 'perceptron' only; use order=0"
        )
    names = ["mean"]
    if slope:
        names.append("slope")
    if derivatives >= 1:
        names += ["d_self", "d_cross"]
    if derivatives >= 2:
        names += ["h_self", "h_cross", "h_self_other", "h_self_cross"]
    parts = {name: torch.zeros_like(kernel) for name in names}
    variance = kernel.diagonal().clamp(min=0.0)
    product = variance[:, None] * variance[None, :]
    rho = torch.where(product > 0, kernel / product.clamp(min=1e-300).sqrt(), 0.0).clamp(-1.0, 1.0)
    upper = torch.ones_like(rho, dtype=torch.bool).triu(1)
    live = upper & (product > 0)
    collinear = live & ((1 - rho) * (1 + rho) < COLLINEAR)
    open_ = live & ~collinear
    if derivatives == 0:
        series = Series(activation, variance)
        for order in (0, 1):
            series.add(str(order), partial(activation.derivative, order=order))
        for name, function in (("mean", "0"), ("slope", "1")):
            if name in parts:
                values, unresolved = series.matrix(function, function, rho, _TOL)
                parts[name].copy_(values)
                _general(activation, kernel, open_ & unresolved, {name: parts[name]})
                collinear_pairs(activation, kernel, collinear & unresolved, {name: parts[name]})
    else:
        _general(activation, kernel, open_, parts)
        collinear_pairs(activation, kernel, collinear, parts)
    _silent(activation, kernel, upper & (product <= 0), parts)
    return parts


def _density(x: Tensor, variance: Tensor) -> Tensor:
    return torch.exp(-0.5 * x * x / variance) / (2 * math.pi * variance).sqrt()


def _general(activation: Activation, kernel: Tensor, where: Tensor, parts: dict[str, Tensor]) -> None:
    """Pairs in general position."""
    a, b = torch.nonzero(where, as_tuple=True)
    if not len(a):
        return
    swap = kernel.diagonal()[a] < kernel.diagonal()[b]  # the wider one outside
    a, b = torch.where(swap, b, a), torch.where(swap, a, b)
    k11, k22, k12 = kernel[a, a], kernel[b, b], kernel[a, b]
    # Which z^i f^(p) occur: values, then what first and second derivatives in K ask for.
    powers = [(0, 0)]
    if set(parts) - {"mean"}:
        powers.append((1, 0))
    if "d_self" in parts:
        powers.append((1, 1))
    if "h_cross" in parts:
        powers += [(2, 0), (2, 1), (2, 2)]
    place = {key: number for number, key in enumerate(powers)}

    def function(p: int, i: int) -> Callable[[Tensor], Tensor]:
        return lambda z: z**i * activation.derivative(z, p) if i else activation.derivative(z, p)

    functions = [function(p, i) for p, i in powers]
    regular = split_expectations(functions, functions, activation.kinks, k11, k22, k12)

    def expectation(p: int, q: int, i: int = 0, j: int = 0) -> Tensor:
        """E[z_1^i f^(p)(z_1) z_2^j f^(q)(z_2)] with the delta functions of f^(p) and f^(q)."""
        total = regular[place[p, i]][place[q, j]].clone()
        for c, size in _deltas(activation, p):
            total += size * c**i * _at(c, k11, k22, k12, q, j)
        for c, size in _deltas(activation, q):
            total += size * c**j * _at(c, k22, k11, k12, p, i)
            for other, weight in _deltas(activation, p):
                joint = _density(torch.full_like(k11, other), k11)
                spread = k22 - k12 * k12 / k11
                total += size * weight * c**j * other**i * joint * _density(c - k12 / k11 * other, spread)
        return total

    def _at(c: float, kc: Tensor, kd: Tensor, kcd: Tensor, q: int, j: int) -> Tensor:
        """density of z at c times E[w^j f^(q)(w) | z = c], regular part."""
        mean = kcd / kc * c
        spread = (kd - kcd * kcd / kc).clamp(min=0.0).sqrt()
        given = conditional_means([function(q, j)], activation.kinks, mean, spread)[0]
        return _density(torch.full_like(kc, c), kc) * given

    values: dict[str, tuple[Tensor, Tensor]] = {}
    s = regular[0][0]
    values["mean"] = (s, s)
    if (1, 0) in place:
        e11 = expectation(1, 1)
        values["slope"] = (regular[1][1], regular[1][1])
        values["d_cross"] = (e11, e11)
    if "d_self" in parts:
        # <f'' g> without f'': (E[z f' g] - K_12 E[f' g']) / K_11
        e20 = (expectation(1, 0, i=1) - k12 * e11) / k11
        e02 = (expectation(0, 1, j=1) - k12 * e11) / k22
        values["d_self"] = (0.5 * e20, 0.5 * e02)
    if "h_cross" in parts:
        e22 = expectation(2, 2)
        e21, e12 = expectation(2, 1, i=1), expectation(1, 2, j=1)  # E[z_1 f'' g'], E[f' z_2 g'']
        e31 = (e21 - k12 * e22) / k11
        e13 = (e12 - k12 * e22) / k22
        # E[z_1 f''' g] = (E[z_1^2 f'' g] - K_12 E[z_1 f'' g'])/K_11 - E[f'' g]
        e40 = (((expectation(2, 0, i=2) - k12 * e21) / k11 - e20) - k12 * e31) / k11
        e04 = (((expectation(0, 2, j=2) - k12 * e12) / k22 - e02) - k12 * e13) / k22
        values["h_cross"] = (e22, e22)
        values["h_self_other"] = (0.25 * e22, 0.25 * e22)
        values["h_self_cross"] = (0.5 * e31, 0.5 * e13)
        values["h_self"] = (0.25 * e40, 0.25 * e04)
    for name, target in parts.items():
        target[a, b], target[b, a] = values[name]


def _deltas(activation: Activation, order: int) -> tuple[tuple[float, float], ...]:
    """Delta functions in the ``order``-th derivative: jumps of the one below."""
    return activation.jumps(order - 1) if order else ()


def collinear_pairs(activation: Activation, kernel: Tensor, where: Tensor, parts: dict[str, Tensor]) -> None:
    """z_b = c z_a: functions of K_aa alone, whose derivative is booked under it."""
    a, b = torch.nonzero(where, as_tuple=True)
    if not len(a):
        return
    variance = kernel[a, a]
    ratio = torch.sign(kernel[a, b]) * (kernel[b, b] / variance).sqrt()
    kinks = torch.tensor(activation.kinks, dtype=torch.float64, device=kernel.device)
    edges = torch.cat([kinks.expand(len(a), -1), kinks / ratio[:, None]], dim=1)
    quadrature = rule(edges, variance)
    z = quadrature.z
    w = ratio[:, None] * z
    b_m = hermite_coefficients(quadrature, activation(z) * activation(w), 5)
    values = {
        "mean": b_m[:, 0],
        "d_self": b_m[:, 2] / variance / 2**0.5,
        "h_self": b_m[:, 4] / variance**2 * 24**0.5 / 4,
    }
    if "slope" in parts:
        values["slope"] = quadrature.mean(activation.derivative(z) * activation.derivative(w))
    for name, value in values.items():
        if name in parts:
            parts[name][a, b] = value
            if name in ("mean", "slope"):
                parts[name][b, a] = value


def _silent(activation: Activation, kernel: Tensor, where: Tensor, parts: dict[str, Tensor]) -> None:
    """A pair with an input of variance 0: sigma is the constant sigma(0) there, and nothing fluctuates."""
    a, b = torch.nonzero(where, as_tuple=True)
    if not len(a):
        return
    quadrature = rule(activation, kernel.diagonal().clamp(min=0.0))
    mean = quadrature.mean(activation(quadrature.z))
    parts["mean"][a, b] = mean[a] * mean[b]
    parts["mean"][b, a] = mean[a] * mean[b]
