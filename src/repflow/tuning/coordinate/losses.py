"""The losses that plans are made for, as functions of a model's output and its targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from repflow.empirical.call import output_of


def loss_function(name: str) -> Callable[[Any, Any], Tensor]:
    """``loss(output, y)`` by the name that ``tune`` takes; y holds class numbers, or targets.

    ``"mse"`` is (1/2B) sum |f - y|^2, ``"mse_mean"`` is ``nn.MSELoss``, ``"cross_entropy"`` is ``nn.CrossEntropyLoss``;
    the last axis of the output is n_L, all others count as rows.
    """

    def loss(output: Any, y: Any) -> Tensor:
        f = output_of(output)
        f = f.flatten(0, -2) if f.ndim > 2 else f
        y = torch.as_tensor(y, device=f.device)
        whole = not y.is_floating_point() and y.numel() == len(f) and f.shape[-1] > 1
        if name == "cross_entropy":
            return nn.functional.cross_entropy(f, y.flatten().long() if whole else y.reshape(f.shape).to(f.dtype))
        targets = nn.functional.one_hot(y.flatten().long(), f.shape[-1]) if whole else y.reshape(f.shape)
        squares = (f - targets.to(f.dtype)) ** 2
        return squares.mean() if name == "mse_mean" else 0.5 * squares.sum() / len(f)

    return loss
