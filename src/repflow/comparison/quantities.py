"""The quantities that are compared: their units, and the size of a component that sets its tolerance at one width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from repflow.comparison.chi_square import Array

Index = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True)
class Quantity:
    """One statistic that a flow and an ensemble both have.

    Attributes
    ----------
    title
        In words.
    powers
        Its unit as powers of K and Theta.
    parts
        For a cumulant, the places in its index of each of its variables; else None.
    """

    title: str
    powers: tuple[int, int]
    parts: tuple[tuple[int, ...], ...] | None = None


_PAIRS = ((0, 1), (2, 3))
QUANTITIES: dict[str, Quantity] = {
    "mean_kernel": Quantity("mean kernel", (1, 0), ((0,), (1,))),
    "kernel_covariance": Quantity("kernel covariance", (2, 0), _PAIRS),
    "kernel_third_cumulant": Quantity("third cumulant of the kernel", (3, 0), ((0, 1), (2, 3), (4, 5))),
    "mean_ntk": Quantity("mean NTK", (0, 1), ((0,), (1,))),
    "A": Quantity("NTK variance A", (0, 2), _PAIRS),
    "B": Quantity("NTK variance B", (0, 2)),
    "D": Quantity("NTK-preactivation covariance D", (1, 1)),
    "F": Quantity("NTK-preactivation covariance F", (1, 1)),
    "P": Quantity("dNTK P", (0, 2)),
    "Q": Quantity("dNTK Q", (0, 2)),
    "R": Quantity("ddNTK R", (-1, 3)),
    "S": Quantity("ddNTK S", (-1, 3)),
    "T": Quantity("ddNTK T", (-1, 3)),
    "U": Quantity("ddNTK U", (-1, 3)),
}
"""By the name that ``statistic`` of a flow's and an ensemble's layer takes."""


def sizes(name: str, index: Index, kept: Callable[[str], Array]) -> Array:
    """Size of the last order kept, for each component: what the orders left out are measured by.

    Orders mix components. The second order of V_0011, say, has a term in V_0101, so that a component that happens to
    be small at first order is not small at the next; and tensors of mixed signs pass through zero. So the size is the
    larger of the component's own and of

    - for a cumulant, and for the means, the geometric mean of the diagonal components of its variables:
      sqrt(V_abab V_cdcd) for V_abcd, which bounds it, and (X_ababab X_cdcdcd X_efefef)^(1/3) for X_abcdef;
    - for D, a covariance of the kernel with the NTK, sqrt(V_1212 A_3434);
    - for the others the largest component on the same inputs: B and F vanish where inputs are orthogonal, and what is
      left at the next order does not.

    Parameters
    ----------
    name
        One of :data:`QUANTITIES`.
    index
        (C, 2), (C, 4) or (C, 6), the inputs of each component.
    kept
        Gives the last order kept of a statistic by name, as a whole tensor.

    Returns
    -------
    ndarray
        (C,).
    """
    values = np.abs(kept(name))
    own = values[tuple(index.T)]
    parts = QUANTITIES[name].parts
    if parts is not None:
        diagonals = [_diagonal(values, index, parts, which) for which in range(len(parts))]
        return np.maximum(own, np.prod(diagonals, axis=0) ** (1 / len(parts)))
    if name == "D":
        kernel = _diagonal(np.abs(kept("kernel_covariance")), index, _PAIRS, 0)
        return np.maximum(own, np.sqrt(kernel * _diagonal(np.abs(kept("A")), index, _PAIRS, 1)))
    found = np.empty(len(index))
    largest: dict[frozenset[int], float] = {}
    for number, inputs in enumerate(map(frozenset, index.tolist())):
        if inputs not in largest:
            here = sorted(inputs)
            largest[inputs] = float(values[np.ix_(here, here, here, here)].max())
        found[number] = largest[inputs]
    return found


def _diagonal(values: Array, index: Index, parts: tuple[tuple[int, ...], ...], which: int) -> Array:
    """The diagonal component of one of the variables: every variable's places hold its inputs."""
    place = np.empty_like(index)
    for target in parts:
        place[:, list(target)] = index[:, list(parts[which])]
    return np.asarray(values[tuple(place.T)])


def unit(name: str, kernel: Array, ntk: Array | None) -> float:
    """Size of the quantity without cancellation, from the layer's largest K_aa and Theta_aa: the unit of rounding."""
    tiny = float(np.finfo(np.float64).tiny)
    of_kernel, of_ntk = QUANTITIES[name].powers
    found = max(float(np.diagonal(kernel).max(initial=0.0)), tiny) ** of_kernel if of_kernel else 1.0
    if of_ntk and ntk is not None:
        found *= max(float(np.diagonal(ntk).max(initial=0.0)), tiny) ** of_ntk
    return found
