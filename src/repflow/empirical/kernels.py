"""Tangent kernels of one module by parameter tensor, and the kernels of what its modules return."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from repflow.empirical.call import Call
from repflow.empirical.twin import Parameters, Twin

#: Entries of a tensor whose gradients are kept for the tangent kernel; beyond, as many are drawn at random.
ENTRIES = 2**15


def tangent_kernels(
    twin: Twin, parameters: Parameters, call: Call, generator: torch.Generator, axis: int = -1
) -> dict[str, Tensor]:
    """Each tensor's part of the tangent kernel over the rows, averaged over outputs, by one random projection of them.

        Theta_g[a, b] = (v . J_a,g) (v . J_b,g)^T,      v_i = +-1/sqrt(n_L) along ``axis``

    The mean over v is tr_outputs(J_a J_b^T)/n_L. Where an output has several positions a row, it is the mean over them
    that is looked at: the mode that all positions share, whose eigenvalue over N is that of a loss that averages over
    rows and positions. Rows are taken one at a time and at most 2^15 entries of a tensor are
    kept (at random, scaled up), so that memory does not grow with N times the number of parameters.

    Parameters
    ----------
    twin
        Of the module.
    parameters
        By name; those that require a gradient are looked at.
    call
        With N rows; row a's output must depend on row a alone.
    generator
        Of v and of the entries kept.
    axis
        Of the output that runs over its n_L values.

    Returns
    -------
    dict
        (N, N) float64 by name.

    Raises
    ------
    ValueError
        The output does not have one row for a row of the input.
    """
    names = [name for name, tensor in parameters.items() if tensor.requires_grad]
    kept = {
        name: torch.randint(parameters[name].numel(), (ENTRIES,), generator=generator).to(parameters[name].device)
        for name in names
        if parameters[name].numel() > ENTRIES
    }
    rows: dict[str, list[Tensor]] = {name: [] for name in names}
    for gradients in _row_gradients(twin, parameters, names, call, generator, axis):
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is None:
                continue
            flat = gradient.detach().flatten()
            if name in kept:
                flat = flat[kept[name]] * (flat.numel() / ENTRIES) ** 0.5
            rows[name].append(flat)
    kernels = {}
    for name in names:
        if len(rows[name]) == call.rows:
            stacked = torch.stack(rows[name])
            kernels[name] = (stacked @ stacked.T).double().cpu()
        else:
            kernels[name] = torch.zeros(call.rows, call.rows, dtype=torch.float64)
    return kernels


def _row_gradients(
    twin: Twin, parameters: Parameters, names: list[str], call: Call, generator: torch.Generator, axis: int
) -> Iterator[tuple[Tensor | None, ...]]:
    """Gradient of v . f_a by the named tensors, row by row."""
    held = [parameters[name] for name in names]
    with torch.enable_grad():
        try:
            first = twin.call(parameters, call.select(torch.tensor([0])))
            alone = first.ndim > 0 and first.shape[0] == 1
        except Exception:  # a module that does not take a batch of one
            alone = False
        output = first if alone else twin.call(parameters, call)
        if output.ndim == 0 or (not alone and output.shape[0] != call.rows):
            raise ValueError(
                f"model must return one row of outputs a row of x, got shape {tuple(output.shape)} for {call.rows} rows"
            )
        projection = _projection(output, axis, generator)
        for row in range(call.rows):
            if alone:
                part = first if row == 0 else twin.call(parameters, call.select(torch.tensor([row])))
            else:
                part = output[row : row + 1]
            yield torch.autograd.grad(part, held, projection.expand_as(part), allow_unused=True, retain_graph=not alone)


def _projection(output: Tensor, axis: int, generator: torch.Generator) -> Tensor:
    """Random signs of square 1/n_L along ``axis``, the same for every row and position, over the number of those."""
    if output.ndim < 2:
        return torch.ones_like(output)
    shape = [1] * output.ndim
    shape[axis] = output.shape[axis]
    signs = torch.randint(2, shape, generator=generator).to(output) * 2 - 1
    return signs * output.shape[axis] ** 0.5 / output[0].numel()


def gram(output: Tensor) -> Tensor:
    """G[a, b] = mean over features of z_a z_b, (N, N) in float64."""
    flat = output.detach().double().flatten(1)
    return (flat @ flat.T / flat.shape[1]).cpu()
