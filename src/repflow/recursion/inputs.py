"""Checks of what the theory is given, before any work."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from repflow.network import LayerMaps


def check_network(network: object) -> None:
    """Raise TypeError unless ``network`` has layers, depth and widths."""
    if not isinstance(network, LayerMaps):
        traced = "; rf.trace(module, x) makes one of a module" if isinstance(network, torch.nn.Module) else ""
        raise TypeError(f"network must be a Network, as rf.mlp returns, got {type(network).__name__}{traced}")


def as_inputs(x: object, n_in: int, device: torch.device | str | None = None, name: str = "x") -> Tensor:
    """``x`` as a float64 tensor of shape (N, n_in).

    Raises
    ------
    TypeError
        Not an array or tensor of real numbers.
    ValueError
        Another shape, no rows, or an entry that is not finite.
    """
    if isinstance(x, Tensor):
        tensor = x.detach()
    else:
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise TypeError(f"{name} must be an array of shape (N, {n_in}): {error}") from None
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers, got dtype {tensor.dtype}")
    if tensor.ndim != 2 or tensor.shape[1] != n_in:
        raise ValueError(f"{name} must have shape (N, {n_in}) for a network of n_0 = {n_in}, got {tuple(tensor.shape)}")
    if not len(tensor):
        raise ValueError(f"{name} must have at least one row")
    try:
        tensor = tensor.to(dtype=torch.float64, device=device)
    except (AssertionError, RuntimeError) as error:  # what torch raises without CUDA, and for a device it doesn't know
        raise ValueError(f"device: {device!r} is not available here ({str(error).splitlines()[0]})") from None
    if not bool(torch.isfinite(tensor).all()):
        row = int(torch.nonzero(~torch.isfinite(tensor).all(1))[0])
        raise ValueError(f"{name} must be finite; row {row} has a NaN or an infinity")
    return tensor
