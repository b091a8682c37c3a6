"""What the samplers ask of their arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from repflow.ensemble.arithmetic import Array
from repflow.network import Network


def check_inputs(x: Any, network: Network) -> Array:
    """x as a contiguous float64 array (N, n_0); ``TypeError`` or ``ValueError`` where it is none."""
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    try:
        given = np.asarray(x)
        if given.dtype.kind not in "biuf":
            raise TypeError(f"its entries are {given.dtype}")
        values = np.array(given, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise TypeError(f"x must be an array of real numbers of shape (N, n_0), got {type(x).__name__}") from error
    if values.ndim != 2 or len(values) == 0 or values.shape[1] != network.widths[0]:
        raise ValueError(f"x must have shape (N, {network.widths[0]}) with N of 1 or more, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("x must be finite, it holds NaN or infinity")
    return values


def check_count(name: str, value: object) -> int:
    """``value`` as an int of 1 or more; ``TypeError`` or ``ValueError`` with the argument's name otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number of 1 or more, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, got {value}")
    return int(value)
