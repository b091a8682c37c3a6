"""``expansion``: all cumulants of the Gram matrix of one or two inputs, to any order in 1/n."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from repflow.network import LayerMaps
from repflow.recursion.expansion_algebra import Array
from repflow.recursion.expansion_jets import POINTS, one_input, two_inputs
from repflow.recursion.expansion_result import Expansion, ExpansionLayer
from repflow.recursion.expansion_step import Algebra, next_cumulants
from repflow.recursion.inputs import as_inputs, check_network

#: Highest order for one and for two inputs.
HIGHEST = {1: 16, 2: 6}


def expansion(network: LayerMaps, x: Any, order: int) -> Expansion:
    """All joint cumulants of G^(l) in every layer, to order 1/n^order, for one or two inputs.

    Parameters
    ----------
    network
        A :class:`Network`, or anything with its ``layers``, ``depth`` and ``widths``.
    x
        Inputs, shape (1, n_0) or (2, n_0), NumPy or torch. They may be zero; for an activation with kinks two inputs
        may not be collinear.
    order
        1 or more; up to 16 for one input and 6 for two.

    Returns
    -------
    Expansion
        ``expansion[l]`` is layer l = 1..L, on the CPU.

    Raises
    ------
    TypeError, ValueError
        ``network``, ``x`` or ``order`` is not of the form above, or derivatives in the kernel cannot be resolved: two
        nearly collinear inputs and an activation with kinks.

    Notes
    -----
    Cumulants of order m start at 1/n^(m-1), so order k has those up to m = k + 1: the (2k + 2)-point interaction. Every
    factor 1/n carries its own layer's width. Order 1 is what :func:`flow` calls ``vertex`` and ``kernel_correction``.
    Rounding in the derivatives is amplified with the order, by about (2k - 1)!! r^k with r the relative variance of G:
    ``expansion[l].rounding(m)`` estimates it from a second quadrature. The recursion is
    :mod:`repflow.recursion.expansion_step`, its input :mod:`repflow.recursion.expansion_jets`.
    """
    check_network(network)
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 1:
        raise ValueError(f"order must be a whole number of 1 or more, got {order!r}; order 0 is repflow.flow's kernel")
    inputs = as_inputs(x, network.widths[0], torch.device("cpu"))
    count = len(inputs)
    if count not in HIGHEST:
        raise ValueError(
            f"x must have one or two rows for an expansion to any order, got {count}; flow takes any number"
        )
    if order > HIGHEST[count]:
        raise ValueError(f"order must be at most {HIGHEST[count]} for {count} input{'s' * (count - 1)}, got {order}")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused
        found, check = (_carry(network, inputs.numpy(), int(order), points) for points in POINTS)
    layers = tuple(
        ExpansionLayer(number, layer.n_in, kernel, cumulants, np.abs(cumulants - other))
        for number, (layer, (kernel, cumulants), (_, other)) in enumerate(
            zip(network.layers, found.layers, check.layers, strict=True), start=1
        )
    )
    return Expansion(network, inputs, layers, int(order), found.unresolved)


@dataclass(frozen=True)
class _Carried:
    layers: list[tuple[Array, Array]]  # kernel and cumulants
    unresolved: float


def _carry(network: LayerMaps, x: Array, order: int, points: int) -> _Carried:
    """Kernel and cumulants of every layer, with quadratures of this many nodes a panel."""
    count = len(x)
    algebra = Algebra(1 if count == 1 else 3, order)
    sources, shifts = algebra.sources, algebra.ring.shifts
    first = network.layers[0]
    kernel = first.C_b + first.C_W * (x @ x.T / first.n_in)
    cumulants = algebra.start()
    layers, unresolved = [(kernel, cumulants)], 0.0
    for before, layer in itertools.pairwise(network.layers):
        assert before.activation is not None
        if count == 1:
            variance = float(kernel[0, 0])
            moments = one_input(before.activation, layer.C_W, variance, sources.degree, shifts.degree, points)
        else:
            moments = two_inputs(before.activation, layer.C_W, kernel, sources, shifts, points)
        cumulants = next_cumulants(algebra, cumulants, moments.values, before.n_out)
        kernel = layer.C_b + _matrix(moments.values[1 : 1 + shifts.variables, 0])
        if not (np.isfinite(kernel).all() and np.isfinite(cumulants).all()):
            raise ValueError(
                f"the expansion of layer {len(layers) + 1} is not finite: signals overflow; take a smaller C_W or "
                f"fewer layers, or check that {before.activation.name!r} is finite where they reach"
            )
        unresolved = max(unresolved, moments.unresolved)
        layers.append((kernel, cumulants))
    return _Carried(layers, unresolved)


def _matrix(entries: Array) -> Array:
    """(g11,) or (g11, g12, g22) as a matrix."""
    if len(entries) == 1:
        return entries.reshape(1, 1).copy()
    return np.array([[entries[0], entries[1]], [entries[1], entries[2]]])
