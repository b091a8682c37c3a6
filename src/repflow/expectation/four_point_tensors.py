"""E[s^(i)(z_a) s^(j)(z_b) s^(k)(z_c) s^(l)(z_d)] for all quadruples of inputs, several orders of derivatives at once.

What the 1/n corrections of the neural tangent kernel ask for. Each unordered quadruple of inputs is taken once, with
every arrangement of the orders over it, and all of these share its frame and the series of its pairs. Quadruples of one
or two different inputs are integrals of one and two dimensions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.canonical import PAIRINGS, least_correlated_pairing, rearranged_columns
from repflow.expectation.derived import derived
from repflow.expectation.four_point import _representatives
from repflow.expectation.homogeneous import homogeneous_moments
from repflow.expectation.kinked_series import kinked_products
from repflow.expectation.pair_tables import trapezoid_error
from repflow.expectation.rotated import rotated_series
from repflow.expectation.single import rule
from repflow.expectation.two_inputs import two_inputs

Orders = tuple[int, int, int, int]

_TOL = 1e-10
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
    distinct, place = torch.unique(_representatives(kernel), return_inverse=True)
    reduced = kernel[distinct][:, distinct]
    count = len(distinct)
    quadruples = torch.combinations(torch.arange(count, device=kernel.device), 4, with_replacement=True)
    multisets = {tuple(sorted(entry)) for entry in wanted}
    arrangements: list[Orders] = sorted({(i, j, k, m) for o in multisets for i, j, k, m in itertools.permutations(o)})
    if activation.slopes is not None and not activation.smooth:
        covariance = reduced[quadruples[:, :, None], quadruples[:, None, :]]
        values, short = homogeneous_moments(activation, covariance, arrangements)
        error = short.max()
    else:
        values, error = _by_pattern(activation, reduced, quadruples, arrangements)
    return FourPointTensors(_unfold(values, quadruples, arrangements, place, wanted), float(error))


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


def _by_pattern(
    activation: Activation, kernel: Tensor, quadruples: Tensor, arrangements: list[Orders]
) -> tuple[Tensor, Tensor]:
    """Values (Q, C) by quadruple and arrangement, and the largest relative error."""
    values = kernel.new_empty(len(quadruples), len(arrangements))
    error = torch.zeros_like(values)
    bound = _bounds(activation, kernel, quadruples, arrangements)
    changes = (quadruples[:, 1:] != quadruples[:, :-1]).sum(1)
    few, many = torch.nonzero(changes <= 1).ravel(), torch.nonzero(changes > 1).ravel()
    values[few], error[few] = two_inputs(activation, kernel, quadruples[few], arrangements)
    covariance = kernel[quadruples[many][:, :, None], quadruples[many][:, None, :]]
    if not activation.smooth:
        silent = covariance.diagonal(dim1=1, dim2=2) <= 0
        for mask in torch.unique(silent, dim=0):
            chosen = torch.nonzero((silent == mask).all(1)).ravel()
            found, share = _kinked(activation, covariance[chosen], arrangements, mask.tolist())
            values[many[chosen]], error[many[chosen]] = found, share * bound[many[chosen]]
        return values, _ratio(error, bound).max()
    if len(many):
        pairing = least_correlated_pairing(covariance)
        order = torch.tensor(PAIRINGS, device=kernel.device)[pairing]
        columns = [((o[0], o[1]), (o[2], o[3])) for o in arrangements]
        moved = rearranged_columns(arrangements, PAIRINGS).to(kernel.device)
        found, short = rotated_series(activation, kernel, quadruples[many].gather(1, order), columns, _TOL)
        values[many], error[many] = found.gather(1, moved[pairing]), short.gather(1, moved[pairing])
    grid = trapezoid_error(activation, kernel.diagonal(), max(max(o) for o in arrangements))
    return values, _ratio(error, bound).max() + grid


def _ratio(error: Tensor, bound: Tensor) -> Tensor:
    """Of the bound; an expectation whose bound is 0 is 0."""
    return torch.where(bound > 0, error / bound.clamp(min=1e-300), 0.0)


def _bounds(activation: Activation, kernel: Tensor, quadruples: Tensor, arrangements: list[Orders]) -> Tensor:
    """prod <(s^(o))^4>^(1/4), shape (Q, C)."""
    quadrature = rule(activation, kernel.diagonal())
    fourth = {
        order: quadrature.mean(activation.derivative(quadrature.z, order) ** 4).pow(0.25)
        for order in {order for orders in arrangements for order in orders}
    }
    columns = []
    for orders in arrangements:
        slots = torch.stack([fourth[order][quadruples[:, slot]] for slot, order in enumerate(orders)])
        columns.append(slots.prod(0))
    return torch.stack(columns, dim=1)


def _kinked(
    activation: Activation, covariance: Tensor, arrangements: list[Orders], silent: list[bool]
) -> tuple[Tensor, Tensor]:
    """Values and relative errors (M, C); an input of variance 0 contributes the constant s^(o)(0)."""
    functions = [activation, derived(activation, 1), Activation("one", torch.ones_like, activation.breakpoints)]
    constants = [float(activation.derivative(torch.zeros(1, dtype=torch.float64), k)[0]) for k in (0, 1)]
    replaced = [tuple(2 if quiet else o for o, quiet in zip(orders, silent, strict=True)) for orders in arrangements]
    needed = sorted({p for orders in replaced for p in itertools.permutations(orders)})
    copied = [slot if not quiet else silent.index(False) for slot, quiet in enumerate(silent)]
    found, short = kinked_products(functions, covariance[:, copied][:, :, copied], needed)
    column = torch.tensor([needed.index(orders) for orders in replaced], device=covariance.device)
    factor = torch.tensor(
        [math.prod(constants[o] for o, quiet in zip(orders, silent, strict=True) if quiet) for orders in arrangements],
        dtype=torch.float64,
        device=covariance.device,
    )
    return found[:, column] * factor, short[:, column]
