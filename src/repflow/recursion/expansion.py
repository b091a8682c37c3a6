"""``expansion``: all cumulants of the Gram matrix of one or two inputs, to any order in 1/n."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from repflow.network import LayerMaps
from repflow.recursion.expansion_algebra import Array
from repflow.recursion.expansion_jets import one_input, two_inputs
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
    The recursion is :mod:`repflow.recursion.expansion_step`, its input :mod:`repflow.recursion.expansion_jets`.
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
    algebra = Algebra(1 if count == 1 else 3, int(order))
    first = network.layers[0]
    kernel = first.C_b + first.C_W * (inputs @ inputs.T / first.n_in).numpy()
    cumulants = algebra.start()
    layers = [ExpansionLayer(1, first.n_in, kernel, cumulants)]
    unresolved = 0.0
    for before, layer in zip(network.layers, network.layers[1:], strict=False):
        assert before.activation is not None
        sources, shifts = algebra.sources, algebra.ring.shifts
        if count == 1:
            moments = one_input(before.activation, layer.C_W, float(kernel[0, 0]), sources.degree, shifts.degree)
        else:
            moments = two_inputs(before.activation, layer.C_W, kernel, sources, shifts)
        cumulants = next_cumulants(algebra, cumulants, moments.values, before.n_out)
        kernel = layer.C_b + _matrix(moments.values[1 : 1 + algebra.ring.shifts.variables, 0])
        unresolved = max(unresolved, moments.unresolved)
        layers.append(ExpansionLayer(len(layers) + 1, layer.n_in, kernel, cumulants))
    return Expansion(network, inputs, tuple(layers), int(order), unresolved)


def _matrix(entries: Array) -> Array:
    """(g11,) or (g11, g12, g22) as a matrix."""
    if len(entries) == 1:
        return entries.reshape(1, 1).copy()
    return np.array([[entries[0], entries[1]], [entries[1], entries[2]]])
