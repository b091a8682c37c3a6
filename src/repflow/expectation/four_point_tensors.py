"""E[s^(i)(z_a) s^(j)(z_b) s^(k)(z_c) s^(l)(z_d)] for all quadruples of inputs, several orders of derivatives at once.

What the 1/n corrections of the neural tangent kernel ask for. Each unordered quadruple of inputs is taken once, with
every arrangement of the orders over it, and all of these share its frame and the series of its pairs. Quadruples of one
or two different inputs are integrals of one and two dimensions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.canonical import PAIRINGS, least_correlated_pairing, rearranged_columns
from repflow.expectation.derived import derived
from repflow.expectation.four_point import _representatives
from repflow.expectation.homogeneous import HOMOGENEOUS_ERROR, homogeneous_moments
from repflow.expectation.kinked import COLLINEAR
from repflow.expectation.kinked_series import kinked_products
from repflow.expectation.mehler import Series, correlations
from repflow.expectation.pair_tables import derivatives
from repflow.expectation.rotated import rotated_series
from repflow.expectation.single import rule
from repflow.expectation.split import split_expectations

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
        values, error = homogeneous_moments(activation, covariance, arrangements), reduced.new_tensor(HOMOGENEOUS_ERROR)
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
    error = kernel.new_zeros(())
    changes = (quadruples[:, 1:] != quadruples[:, :-1]).sum(1)
    few = torch.nonzero(changes <= 1).ravel()
    values[few] = _two_inputs(activation, kernel, quadruples[few], arrangements)
    many = torch.nonzero(changes > 1).ravel()
    if not len(many):
        return values, error
    covariance = kernel[quadruples[many][:, :, None], quadruples[many][:, None, :]]
    if activation.smooth:
        pairing = least_correlated_pairing(covariance)
        order = torch.tensor(PAIRINGS, device=kernel.device)[pairing]
        columns = [((o[0], o[1]), (o[2], o[3])) for o in arrangements]
        moved = rearranged_columns(arrangements, PAIRINGS).to(kernel.device)
        found, short = rotated_series(activation, kernel, quadruples[many].gather(1, order), columns, _TOL)
        values[many] = found.gather(1, moved[pairing])
        return values, torch.maximum(error, short.max())
    silent = covariance.diagonal(dim1=1, dim2=2) <= 0
    for mask in torch.unique(silent, dim=0):
        chosen = torch.nonzero((silent == mask).all(1)).ravel()
        found, short = _kinked(activation, covariance[chosen], arrangements, mask.tolist())
        values[many[chosen]] = found
        variance = kernel.diagonal()
        quadrature = rule(activation, variance)
        fourth = [quadrature.mean(activation.derivative(quadrature.z, k) ** 4).clamp(min=1e-300) for k in (0, 1)]
        slots = quadruples[many[chosen]]
        bound = torch.stack(
            [torch.stack([fourth[k][slots[:, i]] for i, k in enumerate(o)]).pow(0.25).prod(0) for o in arrangements], 1
        )
        error = torch.maximum(error, (short / bound.clamp(min=1e-300)).max())
    return values, error


def _kinked(
    activation: Activation, covariance: Tensor, arrangements: list[Orders], silent: list[bool]
) -> tuple[Tensor, Tensor]:
    """Values and errors (M, C); an input of variance 0 contributes the constant s^(o)(0)."""
    functions = [activation, derived(activation, 1), Activation("one", torch.ones_like, activation.breakpoints)]
    constants = [float(activation.derivative(torch.zeros(1, dtype=torch.float64), k)[0]) for k in (0, 1)]
    replaced = [tuple(2 if quiet else o for o, quiet in zip(orders, silent, strict=True)) for orders in arrangements]
    needed = sorted({p for orders in replaced for p in itertools.permutations(orders)})
    standing_in = covariance + torch.diag(torch.tensor(silent, dtype=torch.float64, device=covariance.device))
    found, short = kinked_products(functions, standing_in, needed)
    column = torch.tensor([needed.index(orders) for orders in replaced], device=covariance.device)
    factor = torch.tensor(
        [math.prod(constants[o] for o, quiet in zip(orders, silent, strict=True) if quiet) for orders in arrangements],
        dtype=torch.float64,
        device=covariance.device,
    )
    return found[:, column] * factor, short[:, column] * factor.abs()


def _two_inputs(activation: Activation, kernel: Tensor, quadruples: Tensor, arrangements: list[Orders]) -> Tensor:
    """Quadruples (a, .., a, b, .., b) with m times a, 1 <= m <= 4: two products of one variable each."""
    values = kernel.new_empty(len(quadruples), len(arrangements))
    leading = (quadruples == quadruples[:, :1]).sum(1)
    series = Series(activation, kernel.diagonal())
    rho = correlations(kernel)
    highest = max(max(o) for o in arrangements)

    def product(orders: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        def evaluate(z: Tensor) -> Tensor:
            slopes = derivatives(activation, z, highest)
            return torch.stack([slopes[order] for order in orders]).prod(0)

        return evaluate

    for m in (1, 2, 3, 4):
        chosen = torch.nonzero(leading == m).ravel()
        if not len(chosen):
            continue
        a, b = quadruples[chosen, 0], quadruples[chosen, 3]
        known: dict[tuple[tuple[int, ...], tuple[int, ...]], Tensor] = {}
        for number, orders in enumerate(arrangements):
            key = tuple(sorted(orders[:m])), tuple(sorted(orders[m:]))
            if key not in known:
                if m == 4:
                    quadrature = rule(activation, kernel.diagonal())
                    known[key] = quadrature.mean(product(key[0])(quadrature.z))[a]
                else:
                    for side in key:
                        series.add(str(side), product(side))
                    known[key] = _resolved(series, activation, kernel, rho, (a, b), key, product)
            values[chosen, number] = known[key]
    return values


def _resolved(
    series: Series,
    activation: Activation,
    kernel: Tensor,
    rho: Tensor,
    pairs: tuple[Tensor, Tensor],
    key: tuple[tuple[int, ...], tuple[int, ...]],
    product: Callable[[tuple[int, ...]], Callable[[Tensor], Tensor]],
) -> Tensor:
    """The Mehler series, and quadrature for the pairs that it doesn't resolve."""
    a, b = pairs
    values, unresolved = series.pairs(str(key[0]), str(key[1]), a, b, rho[a, b], _TOL)
    for number in torch.nonzero(unresolved).ravel().tolist():
        (i, j), (f, g) = (int(a[number]), int(b[number])), (product(key[0]), product(key[1]))
        if kernel[i, i] < kernel[j, j]:
            i, j, f, g = j, i, g, f
        if float((1 - rho[i, j]) * (1 + rho[i, j])) < COLLINEAR:  # one dimension
            ratio = math.copysign(math.sqrt(float(kernel[j, j] / kernel[i, i])), float(kernel[i, j]))
            kinks = torch.tensor(activation.kinks, dtype=torch.float64, device=kernel.device)
            quadrature = rule(torch.cat([kinks, kinks / ratio])[None, :], kernel[i, i].reshape(1))
            values[number] = quadrature.mean(f(quadrature.z) * g(ratio * quadrature.z))[0]
            continue
        entries = (kernel[i, i].reshape(1), kernel[j, j].reshape(1), kernel[i, j].reshape(1))
        values[number] = split_expectations([f], [g], activation.kinks, *entries)[0][0][0]
    return values
