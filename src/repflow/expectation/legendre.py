"""Composite Gauss-Legendre rules: nodes on panels between edges, weighted by the standard normal density."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

#: Where panels end, in spreads on either side of a place that is crossed within one spread.
GRADES = (0.0, 0.7, 1.5, 3.0, 5.0, 8.0)


@lru_cache(maxsize=8)
def _on_unit_panel(points: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return nodes, weights


def legendre(points: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [-1, 1], shape (points,)."""
    nodes, weights = _on_unit_panel(points)
    return torch.as_tensor(nodes, device=device), torch.as_tensor(weights, device=device)


def normal_panels(edges: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Nodes u and Gaussian weights from sorted panel edges (..., e): shapes (..., (e - 1) points)."""
    nodes, weights = legendre(points, edges.device)
    half = 0.5 * (edges[..., 1:] - edges[..., :-1])
    middle = 0.5 * (edges[..., 1:] + edges[..., :-1])
    u = (middle[..., None] + half[..., None] * nodes).flatten(-2)
    w = (half[..., None] * weights).flatten(-2) * torch.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)
    return u, w


def graded(device: torch.device) -> Tensor:
    """GRADES on both sides of 0, ascending."""
    return torch.tensor([*(-g for g in GRADES[:0:-1]), *GRADES], dtype=torch.float64, device=device)
