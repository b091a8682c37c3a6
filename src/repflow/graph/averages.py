"""Second moments of a value over its rows, averaged over channels: what a linear map passes on and a user sees."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from repflow.graph.law import Law
from repflow.graph.layout import features
from repflow.graph.refusal import Refusal
from repflow.graph.states import MOST_POINTS, Random


def averaged(law: Law, points: Tensor, weights: Tensor) -> Tensor:
    """sum_j w_j E[h_{p_rj} h_{p_r'j}] for points (R, J), -1 for a zero, and weights (J,); shape (R, R).

    Raises
    ------
    Refusal
        R is too large.
    """
    if len(points) > MOST_POINTS:
        raise Refusal(f"it has {len(points)} inputs times positions, above {MOST_POINTS}: give fewer inputs")
    second = functional.pad(law.second, (0, 1, 0, 1))  # point -1 is the last: zero
    total = torch.zeros(len(points), len(points), dtype=torch.float64)
    for column, weight in zip(points.T, weights.tolist(), strict=True):
        total += weight * second[column][:, column]
    return total


def row_kernel(value: Random) -> tuple[Tensor, tuple[int, ...], int]:
    """E[(1/n) sum_c h_rc h_r'c] over rows, their shape, and the axis that is averaged over.

    That is the channel axis, or the last axis where there is none; rows that hold different channels there, such as the
    heads of an attention layer, are independent.

    Raises
    ------
    Refusal
        The last axis mixes channels with positions.
    """
    layout, law = value.layout, value.law
    if layout.axis is not None and layout.index is not None and not bool((layout.index < 0).any()):
        in_order = torch.equal(layout.flat, torch.arange(law.size))
        kernel = law.second if in_order else law.second[layout.flat][:, layout.flat]
        return kernel, layout.rows, layout.axis
    last = len(layout.shape) - 1
    try:
        rows, points, weights = features(layout, last)
    except Refusal:
        return _of_channel_groups(value), layout.shape[:-1], last
    return averaged(law, points, weights), rows, last


def _of_channel_groups(value: Random) -> Tensor:
    points, channels = (part.reshape(-1, part.shape[-1]) for part in value.layout.entries())
    if len(points) > MOST_POINTS:
        raise Refusal(f"it has {len(points)} rows, above {MOST_POINTS}: give fewer inputs")
    groups, member = torch.unique(channels, dim=0, return_inverse=True)
    one_point = bool((points == points[:, :1]).all()) and not bool((points < 0).any())
    if not one_point or groups.flatten().unique().numel() != groups.numel():
        raise Refusal("channels are mixed with positions along its last axis")
    held = points[:, 0]
    second, mean = value.law.second[held][:, held], value.law.mean[held]
    return torch.where(member[:, None] == member, second, mean[:, None] * mean)
