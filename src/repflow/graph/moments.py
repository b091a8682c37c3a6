"""<phi(v_p) psi(w_q)> for two activations of jointly Gaussian functions."""

from __future__ import annotations

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.pair_map import pair_map
from repflow.expectation.single import nodes
from repflow.expectation.split import split_expectations
from repflow.graph.gaussian import Gaussian

_SMALL = 1e-300


def mean_of(activation: Activation | None, variance: Tensor) -> Tensor:
    """<phi(v_p)> for v_p ~ N(0, variance_p); shape (M,)."""
    if activation is None:
        return torch.zeros_like(variance)
    z, w = nodes(activation, variance.clamp(min=0.0))
    return (activation(z) * w).sum(-1)


def product_mean(a: Activation | None, v: Gaussian, b: Activation | None, w: Gaussian) -> Tensor:
    """<phi(v_p) psi(w_q)> for all pairs, shape (v.size, w.size); None stands for the identity.

    Independent factors have the product of their means; a factor without activation goes by <phi(v) w> = <phi'(v)>
    <v w>; equal activations by :func:`~repflow.expectation.pair_map.pair_map`, different ones by quadrature in two
    dimensions.
    """
    if v is not w and not v.meets(w):
        left = mean_of(a, v.variance)
        return left[:, None] * mean_of(b, w.variance)
    covariance = v.covariance(w)
    if a is None and b is None:
        return covariance
    if b is None and a is not None:
        return _slope(a, v.variance)[:, None] * covariance
    if a is None and b is not None:
        return covariance * _slope(b, w.variance)
    assert a is not None
    assert b is not None
    same = v is w or v.ratio(w) == 1.0
    if a == b:
        if same:
            return pair_map(a, _symmetric(covariance)).mean
        joint = torch.cat(
            [
                torch.cat([v.covariance(v), covariance], 1),
                torch.cat([covariance.T, w.covariance(w)], 1),
            ]
        )
        return pair_map(a, _symmetric(joint)).mean[: v.size, v.size :]
    return _different(a, v.variance, b, w.variance, covariance, same)


def _different(a: Activation, vv: Tensor, b: Activation, ww: Tensor, covariance: Tensor, same: bool) -> Tensor:
    kinks = sorted({*a.kinks, *b.kinks})
    first, second = torch.meshgrid(torch.arange(len(vv)), torch.arange(len(ww)), indexing="ij")
    p, q = first.flatten(), second.flatten()
    silent = vv[p] <= 0
    found = torch.empty(len(p), dtype=torch.float64)
    rest = ~silent
    if bool(rest.any()):
        pr, qr = p[rest], q[rest]
        found[rest] = split_expectations([a], [b], kinks, vv[pr], ww[qr], covariance[pr, qr])[0][0]
    if bool(silent.any()):
        found[silent] = mean_of(a, vv[p[silent]]) * mean_of(b, ww[q[silent]])
    result = found.reshape(len(vv), len(ww))
    if same:
        z, w = nodes(a, vv)
        both = nodes(b, vv)
        z, w = (z, w) if z.shape[1] >= both[0].shape[1] else both
        result.diagonal().copy_((a(z) * b(z) * w).sum(-1))
    return result


def _slope(activation: Activation, variance: Tensor) -> Tensor:
    """<phi'(v)> = <phi(v) v> / <v v>; at variance 0 it multiplies nothing."""
    z, w = nodes(activation, variance)
    return (activation(z) * z * w).sum(-1) / variance.clamp(min=_SMALL)


def _symmetric(matrix: Tensor) -> Tensor:
    return matrix if torch.equal(matrix, matrix.T) else 0.5 * (matrix + matrix.T)
