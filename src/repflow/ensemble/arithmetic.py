"""The two operations of a sampler whose bits must not depend on batch size or threads: products and activations.

A BLAS that splits one product over threads, or a vectorised function that treats the last few elements of an array
differently, changes the last bit of a result. Both are avoided here by fixing what each call is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

# Multiply-adds of one BLAS call. OpenBLAS runs a product of up to 4 * 65536 on the calling thread.
_PRODUCT = 65536
_INNER = 1024
# Elements of one activation call: below PyTorch's grain of 32768 it stays on the calling thread, and a multiple of
# 64 leaves no remainder beside the vector registers (gelu, silu, softplus and others differ there in the last bit).
_PIECE = 16384
_LANES = 64


def product(a: Array, b: Array, device: torch.device | None = None) -> Array:
    """a b^T of each pair of stacked matrices, one small BLAS call at a time.

    Parameters
    ----------
    a, b
        Shapes (B, M, K) and (B, R, K).
    device
        Where to compute; None is NumPy on the CPU.

    Returns
    -------
    ndarray
        Shape (B, M, R).
    """
    if device is not None:
        left, right = torch.tensor(a, device=device), torch.tensor(b, device=device)  # copies: arrays may be read-only
        return np.asarray(torch.bmm(left, right.transpose(1, 2)).cpu().numpy())
    count, rows, inner = a.shape
    columns = b.shape[1]
    # A matrix times a vector has a far smaller limit in BLAS: a row of zeros makes it a product of matrices.
    if rows == 1 and columns > 1:
        return np.ascontiguousarray(product(np.concatenate([a, np.zeros_like(a)], axis=1), b)[:, :1])
    if columns == 1 and rows > 1:
        return np.ascontiguousarray(product(a, np.concatenate([b, np.zeros_like(b)], axis=1))[:, :, :1])
    if np.may_share_memory(a, b):
        b = b.copy()  # the symmetric routine that NumPy would take has limits of its own
    depth = min(inner, _INNER)
    area = max(1, _PRODUCT // depth)
    wide = min(columns, max(1, math.isqrt(area), area // rows))
    high = min(rows, max(1, area // wide))
    if high == rows and wide == columns and depth == inner:
        return np.matmul(a, b.transpose(0, 2, 1))
    out = np.zeros((count, rows, columns))
    for first in range(0, inner, depth):
        for low in range(0, rows, high):
            for left_column in range(0, columns, wide):
                part = np.matmul(
                    a[:, low : low + high, first : first + depth],
                    b[:, left_column : left_column + wide, first : first + depth].transpose(0, 2, 1),
                )
                out[:, low : low + high, left_column : left_column + wide] += part
    return out


def activate(function: Callable[[Tensor], Tensor], z: Array, device: torch.device | None = None) -> Array:
    """function(z) elementwise, in calls of a fixed size that each run on one thread.

    Parameters
    ----------
    function
        An activation, or its derivative.
    z
        Any shape.
    device
        Where to compute; None is the CPU.
    """
    # contiguous, since a stride alone sends PyTorch to its scalar code
    flat = torch.from_numpy(np.ascontiguousarray(z).reshape(-1))
    with torch.no_grad():
        if device is not None:
            values = function(flat.to(device)).cpu()
            return np.ascontiguousarray(values.numpy()).reshape(z.shape)
        out = torch.empty_like(flat)
        for start in range(0, len(flat), _PIECE):
            piece = flat[start : start + _PIECE]
            remainder = -len(piece) % _LANES
            if remainder:
                piece = torch.cat([piece, torch.zeros(remainder, dtype=flat.dtype)])
            out[start : start + _PIECE] = function(piece)[: len(piece) - remainder]
    return np.asarray(out.numpy()).reshape(z.shape)


def factor(gram: Array) -> Array:
    """A square root F of each positive semi-definite matrix, F F^T = gram, by Cholesky with complete pivoting.

    Singular matrices need no special case: elimination stops where the largest remaining diagonal entry is rounding,
    so that the error of F F^T stays at rounding (without pivoting it would be its square root). Loops over inputs
    and is elementwise over matrices, so its bits do not depend on how many there are.

    Parameters
    ----------
    gram
        Shape (B, N, N), symmetric.

    Returns
    -------
    ndarray
        Shape (B, N, N); rows in the order of the inputs, columns in the order of elimination.
    """
    count, n = gram.shape[:2]
    rest = gram.copy()
    root = np.zeros_like(gram)
    index = np.arange(count)
    diagonal = np.einsum("bii->bi", rest)
    threshold = diagonal.max(axis=1) * (4.0 * n * np.finfo(np.float64).eps)
    for k in range(n):
        pivot = diagonal.argmax(axis=1)
        value = diagonal[index, pivot]
        live = value > threshold
        if not live.any():
            break
        scale = np.where(live, 1.0 / np.sqrt(np.where(live, value, 1.0)), 0.0)
        column = rest[index, :, pivot] * scale[:, None]
        root[:, :, k] = column
        rest -= column[:, :, None] * column[:, None, :]
        # the eliminated diagonal entry is zero exactly; rounding must not bring it back
        diagonal[index[live], pivot[live]] = -1.0
    return root
