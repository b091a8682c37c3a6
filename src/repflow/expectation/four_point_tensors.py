"""E[s^(i)(z_a) s^(j)(z_b) s^(k)(z_c) s^(l)(z_d)] for all quadruples of inputs, several orders of derivatives at once.

What the 1/n corrections of the neural tangent kernel ask for. Each unordered quadruple of inputs is taken once, with
every arrangement of the orders over it, and all of these share its frame and the series of its pairs. Quadruples of one
or two different inputs are integrals of one and two dimensions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.four_point import Orders, quadruple_moments, representatives

_HIGHEST = 3


@dataclass
class FourPointTensors:
    """Values by orders, and how well they are known.

    Attributes
    ----------
    values
        For each tuple of orders (i, j, k, l) the tensor E[s^(i)_a s^(j)_b s^(k)_c s^(l)_d] with axes (a, b, c, d),
        shape (N, N, N, N).
    error
        Largest error estimate, relative to the Cauchy-Schwarz bound prod <(s^(o))^4>^(1/4).
    """

    values: dict[Orders, Float64[Tensor, "N N N N"]]
    error: float


def four_point_tensors(
    activation: Activation, kernel: Float64[Tensor, "N N"], orders: Sequence[Orders]
) -> FourPointTensors:
    """E[s^(i)_a s^(j)_b s^(k)_c s^(l)_d] under z ~ N(0, K), as full tensors.

    Parameters
    ----------
    activation
        sigma.
    kernel
        K, shape (N, N), symmetric and positive semidefinite; inputs may repeat, be collinear or be zero.
    orders
        Tuples of four derivative orders, each 0 to 3. Tuples that are permutations of each other cost as much as one
        of them.

    Returns
    -------
    FourPointTensors

    Raises
    ------
    ValueError
        A tuple is not four orders from 0 to 3; or the activation has a kink and an order is 2 or more; or it jumps and
        an order is 1 or more.
    """
    wanted = _checked(orders)
    if not wanted:
        return FourPointTensors({}, 0.0)
    _refuse(activation, max(max(entry) for entry in wanted))
    distinct, place = torch.unique(representatives(kernel), return_inverse=True)
    reduced = kernel[distinct][:, distinct]
    count = len(distinct)
    quadruples = torch.combinations(torch.arange(count, device=kernel.device), 4, with_replacement=True)
    multisets = {tuple(sorted(entry)) for entry in wanted}
    arrangements: list[Orders] = sorted({(i, j, k, m) for o in multisets for i, j, k, m in itertools.permutations(o)})
    values, error = quadruple_moments(activation, reduced, quadruples, arrangements)
    return FourPointTensors(_unfold(values, quadruples, arrangements, place, wanted), float(error.max()))


def _refuse(activation: Activation, highest: int) -> None:
    """Raise for derivatives that do not exist."""
    if not activation.continuous and highest >= 1:
        raise ValueError(
            f"activation {activation.name!r} jumps: sigma' contains a delta function, and the four-point expectations "
            "with sigma' behind the NTK tensors A, B, D, F do not exist; they need a continuous activation"
        )
    if not activation.smooth and highest >= 2:
        raise ValueError(
            f"activation {activation.name!r} has a kink: sigma'' is a distribution there; the tensors P, Q, R, S, T, U "
            "need a twice differentiable activation, A, B, D, F do not"
        )


def _checked(orders: Sequence[Orders]) -> list[Orders]:
    wanted = []
    for given in orders:
        entry = tuple(given)
        if len(entry) != 4 or any(not isinstance(o, int) or not 0 <= o <= _HIGHEST for o in entry):
            raise ValueError(f"orders must be tuples of four whole numbers from 0 to {_HIGHEST}, got {given!r}")
        wanted.append(entry)
    return list(dict.fromkeys(wanted))


def _unfold(
    values: Tensor, quadruples: Tensor, arrangements: list[Orders], place: Tensor, wanted: list[Orders]
) -> dict[Orders, Tensor]:
    """Full tensors from the ordered quadruples' values (Q, C)."""
    n, count = len(place), int(place.max()) + 1
    row = torch.empty((count,) * 4, dtype=torch.long, device=values.device)
    row[tuple(quadruples.T)] = torch.arange(len(quadruples), device=values.device)
    column = torch.full((4**4,), -1, dtype=torch.long, device=values.device)
    base = torch.tensor([64, 16, 4, 1], device=values.device)
    for number, arrangement in enumerate(arrangements):
        column[int(sum(64 // 4**k * o for k, o in enumerate(arrangement)))] = number
    grid = torch.stack(torch.meshgrid(place, place, place, place, indexing="ij"), dim=-1).reshape(-1, 4)
    ordered, permutation = grid.sort(dim=1)
    rows = row[tuple(ordered.T)]
    found = {}
    for entry in wanted:
        code = (torch.tensor(entry, device=values.device)[permutation] * base).sum(1)
        found[entry] = values[rows, column[code]].reshape(n, n, n, n)
    return found
