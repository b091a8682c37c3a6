"""Expectations of functions with kinks of Gaussian variables that lie in one plane.

Scale-invariant functions: with z_i = r <a_i, (cos phi, sin phi)>, r^2/2 exponential and phi uniform, a product of
functions of degree 0 and 1 is r^p times a trigonometric polynomial of degree p on each arc between the directions in
which a z_i vanishes; p = 0, 2, 4 has <r^p> = 1, 2, 8. Any functions: two nested integrals over principal axes u_1 and
u_2, the inner one cut at every kink, the outer one where two lines of kinks meet, and narrow where a line is steep.
Collinear and silent variables need no treatment of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.legendre import graded, legendre, normal_panels

_NODES = 16  # exact to rounding for cos(4 phi) on half a turn
_POINTS = 8
_REACH = 9.0
_CHUNK = 1_000_000


def planar_moments(activation: Activation, covariance: Tensor, arrangements: Sequence[tuple[int, ...]]) -> Tensor:
    """<s^(i)_1 s^(j)_2 s^(k)_3 s^(l)_4> for covariances (M, 4, 4) of rank two or less, orders 0 and 1; shape (M, C)."""
    loading = _loadings(covariance)
    zero = torch.atan2(loading[:, :, 1], loading[:, :, 0]) + 0.5 * math.pi
    edges, _ = torch.cat([zero, zero + math.pi], dim=1).remainder(2 * math.pi).sort(dim=1)
    edges = torch.cat([edges, edges[:, :1] + 2 * math.pi], dim=1)
    nodes, weights = legendre(_NODES, covariance.device)
    half, middle = 0.5 * edges.diff(dim=1), 0.5 * (edges[:, 1:] + edges[:, :-1])
    angle = (middle[:, :, None] + half[:, :, None] * nodes).flatten(1)
    weight = (half[:, :, None] * weights).flatten(1) / (2 * math.pi)
    z = loading[:, :, :1] * torch.cos(angle)[:, None] + loading[:, :, 1:] * torch.sin(angle)[:, None]
    functions = (activation(z), activation.derivative(z, 1))
    columns = []
    for orders in arrangements:
        radial = {0: 1.0, 2: 2.0, 4: 8.0}[4 - sum(orders)]
        product = torch.stack([functions[order][:, slot] for slot, order in enumerate(orders)]).prod(0)
        columns.append(radial * (product * weight).sum(1))
    return torch.stack(columns, dim=1)


def planar_products(
    functions: Sequence[Activation], covariance: Tensor, arrangements: Sequence[tuple[int, ...]]
) -> Tensor:
    """<f_i(z_1) f_j(z_2) f_k(z_3) f_l(z_4)> for covariances (M, 4, 4) of rank two or less and several (i, j, k, l) at
    once, shape (M, C); the functions share their breakpoints.
    """
    values = covariance.new_empty(len(covariance), len(arrangements))
    loading = _loadings(covariance)
    kinks = torch.tensor(functions[0].kinks, dtype=torch.float64, device=covariance.device)
    for row, along in enumerate(loading):
        first, second = along[:, 0], along[:, 1]
        widest = max(1.0, float(along.abs().max()))  # panels of one in u, and in z
        base = torch.linspace(
            -_REACH, _REACH, 2 * math.ceil(_REACH * widest) + 1, dtype=torch.float64, device=along.device
        )
        # Lines first u_1 + second u_2 = kink: where two of them meet, and where each crosses the u_1 axis.
        i, j = torch.triu_indices(4, 4, offset=1, device=along.device)
        across = first[i] * second[j] - first[j] * second[i]
        meeting = kinks[:, None, None] * second[j] - kinks[None, :, None] * second[i]
        steep = first.abs().clamp(min=1e-12)
        crossing = torch.sign(first) * kinks[:, None] / steep
        grades = graded(along.device)
        around = crossing[:, :, None] + grades * (second.abs() / steep)[:, None]
        edges = torch.cat([base, (meeting / torch.where(across == 0, 1e-300, across)).ravel(), around.ravel()])
        u, w = normal_panels(edges.clamp(-_REACH, _REACH).sort().values, _POINTS)
        u, w = u[w > 1e-25], w[w > 1e-25]
        total = covariance.new_zeros(len(arrangements))
        for part in torch.arange(len(u), device=along.device).split(max(1, _CHUNK // (4 * _POINTS * len(base)))):
            mean = first * u[part, None]
            cuts = (kinks - mean[:, :, None]) / torch.where(second == 0, 1e-300, second)[:, None]
            cuts = torch.cat([base.expand(len(part), -1), cuts.flatten(1).clamp(-_REACH, _REACH)], dim=1)
            v, inner = normal_panels(cuts.sort(dim=1).values, _POINTS)
            z = mean[:, :, None] + second[:, None] * v[:, None]
            weight = inner * w[part, None]
            found = [function(z) for function in functions]
            for number, orders in enumerate(arrangements):
                product = torch.stack([found[k][:, slot] for slot, k in enumerate(orders)]).prod(0)
                total[number] += (product * weight).sum()
        values[row] = total
    return values


def _loadings(covariance: Tensor) -> Tensor:
    """Of the two principal axes, shape (M, 4, 2), the larger one first; rows of silent variables exactly 0."""
    variance = covariance.diagonal(dim1=1, dim2=2).clamp(min=0.0)
    values, vectors = torch.linalg.eigh(correlation_of(covariance))
    loading = variance.sqrt()[:, :, None] * (vectors * values[:, None].clamp(min=0.0).sqrt())[:, :, -2:].flip(2)
    return torch.where(variance[:, :, None] > 0, loading, 0.0)


def outside_plane(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """What the correlations of (M, 4, 4) covariances have outside their two principal axes, and their second
    eigenvalue; (M,) each.
    """
    spectrum = torch.linalg.eigvalsh(correlation_of(covariance)).clamp(min=0.0)
    return spectrum[:, :2].sum(1), spectrum[:, 2]


def correlation_of(covariance: Tensor) -> Tensor:
    """Correlations of covariances (M, n, n), rows and columns of silent variables 0."""
    variance = covariance.diagonal(dim1=1, dim2=2)
    inverse = torch.where(variance > 0, variance.clamp(min=1e-300).rsqrt(), 0.0)
    return (covariance * inverse[:, :, None] * inverse[:, None, :]).clamp(-1.0, 1.0)
