"""Two-dimensional expectations of functions with kinks, for a list of pairs, at any correlation short of one.

The inner integral, over z_2 given z_1, is cut at the kinks of g; the outer one at the kinks of f and around the places
where the conditional mean of z_2 crosses a kink of g, with panels as narrow as the conditional spread there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from repflow.expectation.legendre import graded, normal_panels
from repflow.expectation.single import REACH

Function = Callable[[Tensor], Tensor]

_OUTER_POINTS = 12
_INNER_POINTS = 10
_CHUNK = 4_000_000


def conditional_means(
    functions: Sequence[Function], kinks: Sequence[float], mean: Tensor, spread: Tensor
) -> list[Tensor]:
    """E[g(m + s v)], v standard normal, for each g, with panels cut at the kinks.

    Parameters
    ----------
    functions, kinks
        The functions and the points where any of them is not smooth.
    mean, spread
        m and s, of one common shape.

    Returns
    -------
    list of Tensor
        One of that shape for each function.
    """
    largest = float(spread.max()) if spread.numel() else 0.0
    width = min(2.0, 1.25 / max(largest, 1e-300))
    count = max(2, math.ceil(2 * REACH / width) // 2 * 2)
    base = torch.linspace(-REACH, REACH, count + 1, dtype=torch.float64, device=mean.device)
    nodes = (count + len(kinks)) * _INNER_POINTS
    flat_mean, flat_spread = mean.reshape(-1), spread.reshape(-1)
    results = [torch.empty_like(flat_mean) for _ in functions]
    step = max(1, _CHUNK // nodes)
    cuts = torch.tensor(list(kinks), dtype=torch.float64, device=mean.device)
    for start in range(0, len(flat_mean), step):
        m, s = flat_mean[start : start + step, None], flat_spread[start : start + step, None]
        edges = base.expand(len(m), -1)
        if len(cuts):
            cut = ((cuts - m) / s.clamp(min=1e-300)).clamp(-REACH, REACH)
            edges, _ = torch.cat([edges, cut], dim=1).sort(dim=1)
        v, w = normal_panels(edges, _INNER_POINTS)
        z = m + s * v
        for result, function in zip(results, functions, strict=True):
            result[start : start + step] = (function(z) * w).sum(-1)
    return [result.reshape(mean.shape) for result in results]


def split_expectations(
    left: Sequence[Function],
    right: Sequence[Function],
    kinks: Sequence[float],
    k11: Tensor,
    k22: Tensor,
    k12: Tensor,
) -> list[list[Tensor]]:
    """E[f(z_1) g(z_2)] for every f in ``left`` and g in ``right``.

    Parameters
    ----------
    left, right
        Functions of z_1 and of z_2.
    kinks
        Points where any of them is not smooth.
    k11, k22, k12
        Covariances, shape (P,); k11 > 0.

    Returns
    -------
    list of list of Tensor
        ``result[i][j]`` of shape (P,) for ``left[i]`` and ``right[j]``.
    """
    results = [[torch.empty_like(k11) for _ in right] for _ in left]
    sigma = k11.sqrt()
    slope = k12 / k11
    spread = ((k22 - k12 * slope).clamp(min=0.0)).sqrt()
    width = min(1.0, 1.5 / max(float(sigma.max()), 1e-300)) if len(k11) else 1.0
    base = torch.linspace(-REACH, REACH, 2 * math.ceil(REACH / width) + 1, dtype=torch.float64, device=k11.device)
    step = max(1, _CHUNK // (8 * (len(base) + 12 * len(kinks)) * _OUTER_POINTS))
    grades = graded(k11.device)
    for start in range(0, len(k11), step):
        part = slice(start, start + step)
        sig, slo, spr = sigma[part, None], slope[part, None], spread[part, None]
        edges = [base.expand(len(sig), -1)]
        for kink in kinks:
            edges.append((kink / sig).expand(len(sig), 1))
            steep = slo.abs().clamp(min=1e-12) * sig  # d(mean of z_2)/du
            edges.append(torch.where(slo < 0, -1.0, 1.0) * kink / steep + grades * spr / steep)
        merged, _ = torch.cat(edges, dim=1).clamp(-REACH, REACH).sort(dim=1)
        u, w = normal_panels(merged, _OUTER_POINTS)
        z1 = sig * u
        inner = conditional_means(right, kinks, slo * z1, spr.expand_as(z1))
        for i, f in enumerate(left):
            outer = f(z1) * w
            for j, g in enumerate(inner):
                results[i][j][part] = (outer * g).sum(-1)
    return results
