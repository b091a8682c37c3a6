"""<s^(i)_a s^(j)_b s^(k)_c s^(l)_d> from the tables of two pairs: a rotation of each into canonical coordinates, then

    sum_jk P_jk Q_jk c_1^j c_2^k

degree by degree (Kibble-Slepian at rank two). What is left out beyond degree D is at most c_1^(D+1) times the root of
the two products' remaining norms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.canonical import principal
from repflow.expectation.harmonics import matrices
from repflow.expectation.pair_tables import PairTable, Product, pair_table

_DEGREES = (64, 128, 256)
_CHUNK = 256  # quadruples at a time
#: Bytes of one side's table.
_TABLE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Couplings:
    """Of the frames of two pairs, shape (M,) each: u = R(alpha) v, w = R(beta) x, <v_k x_k'> = c_k delta_kk'.

    ``second`` carries a sign, so that both maps are rotations.
    """

    alpha: Tensor
    beta: Tensor
    first: Tensor
    second: Tensor


def couplings(covariance: Tensor) -> Couplings:
    """Canonical correlations of the pairs (1, 2) and (3, 4) from covariances (M, 4, 4), as rotations of the principal
    axes.
    """
    _, a = principal(covariance[:, :2, :2])
    _, b = principal(covariance[:, 2:, 2:])
    cross = a.mT @ covariance[:, :2, 2:] @ b
    p, q, r, s = cross[:, 0, 0], cross[:, 0, 1], cross[:, 1, 0], cross[:, 1, 1]
    # Singular values of a 2 x 2 matrix: half the sum and difference of two hypotenuses; its angles likewise.
    big, small = 0.5 * torch.hypot(p + s, q - r), 0.5 * torch.hypot(p - s, q + r)
    turn, twist = torch.atan2(r - q, p + s), torch.atan2(q + r, p - s)
    return Couplings(
        0.5 * (turn + twist), 0.5 * (twist - turn), (big + small).clamp(max=1.0), (big - small).clamp(-1.0, 1.0)
    )


def rotated_series(
    activation: Activation,
    kernel: Tensor,
    quadruples: Tensor,
    columns: Sequence[tuple[Product, Product]],
    tol: float,
) -> tuple[Tensor, Tensor]:
    """Expectations of products of two pair products.

    Parameters
    ----------
    activation
        sigma, smooth.
    kernel
        K, shape (N, N).
    quadruples
        Inputs (a, b, c, d), shape (M, 4), paired as (a, b), (c, d).
    columns
        Orders ((i, j), (k, l)) wanted of every quadruple.
    tol
        Remainder accepted, relative to sqrt(<(s_a s_b)^2> <(s_c s_d)^2>).

    Returns
    -------
    values, error
        Shape (M, C) each; ``error`` bounds the remainder that was reached.
    """
    values = kernel.new_zeros(len(quadruples), len(columns))
    error = torch.zeros_like(values)
    if not len(quadruples):
        return values, error
    lefts = sorted({left for left, _ in columns})
    rights = sorted({right for _, right in columns})
    frames = couplings(kernel[quadruples[:, :, None], quadruples[:, None, :]])
    todo = torch.arange(len(quadruples), device=kernel.device)
    for degree in _DEGREES:
        last = degree == _DEGREES[-1]
        # A quadruple whose correlation alone forbids this degree waits, unless its products may end there.
        side = max(1, int(_TABLE_BYTES / (8 * max(len(lefts), len(rights)) * (degree + 2) ** 2 / 2)))
        first, which_first = _unique(quadruples[todo, :2])
        second, which_second = _unique(quadruples[todo, 2:])
        again = []
        for i in range(0, len(first), side):
            left = pair_table(activation, _covariances(kernel, first[i : i + side]), lefts, degree)
            for j in range(0, len(second), side):
                chosen = torch.nonzero(
                    (which_first >= i) & (which_first < i + side) & (which_second >= j) & (which_second < j + side)
                ).ravel()
                if not len(chosen):
                    continue
                right = pair_table(activation, _covariances(kernel, second[j : j + side]), rights, degree)
                members = todo[chosen]
                again.append(
                    _level(
                        (left, right),
                        (which_first[chosen] - i, which_second[chosen] - j),
                        frames,
                        members,
                        (lefts, rights, columns),
                        (tol, last),
                        values,
                        error,
                    )
                )
        todo = torch.cat(again)
        if not len(todo):
            break
    return values, error


def _unique(pairs: Tensor) -> tuple[Tensor, Tensor]:
    found, back = torch.unique(pairs, dim=0, return_inverse=True)
    return found, back


def _covariances(kernel: Tensor, indices: Tensor) -> Tensor:
    return kernel[indices[:, :, None], indices[:, None, :]]


def _level(
    tables: tuple[PairTable, PairTable],
    rows: tuple[Tensor, Tensor],
    frames: Couplings,
    members: Tensor,
    kinds: tuple[Sequence[Product], Sequence[Product], Sequence[tuple[Product, Product]]],
    limits: tuple[float, bool],
    values: Tensor,
    error: Tensor,
) -> Tensor:
    """Sum what these tables resolve; returns the members that need a higher degree."""
    lefts, rights, columns = kinds
    tol, last = limits
    left, right = tables
    degree = left.tail.shape[2] - 1
    order = torch.arange(1, degree + 2, dtype=torch.float64, device=values.device)
    need = torch.zeros(len(members), dtype=torch.long, device=values.device)
    for part in torch.arange(len(members), device=values.device).split(4096):
        reach = frames.first[members[part], None] ** order
        worst = torch.zeros_like(reach)
        for column, (a, b) in enumerate(columns):
            i, j = lefts.index(a), rights.index(b)
            bound = (left.tail[rows[0][part], i] * right.tail[rows[1][part], j]).sqrt_().mul_(reach)
            norm = (left.norm[rows[0][part], i] * right.norm[rows[1][part], j]).sqrt()
            error[members[part], column] = bound.clamp(max=tol).amax(1).maximum(bound[:, -1]) * norm
            worst = torch.maximum(worst, bound)
        need[part] = (worst > tol).sum(1)  # the bounds fall with the degree
    resolved = torch.ones_like(need, dtype=torch.bool) if last else need <= degree
    index = torch.nonzero(resolved).ravel()
    need = need.clamp(max=degree)
    small = frames.second[members].abs().clamp(1e-300, 1 - 1e-15)
    wide = (math.log(0.01 * tol) / torch.log(small)).clamp(max=degree)  # k beyond which c_2^k does not matter
    index = index[torch.argsort(need[index] * 1000 + wide[index].long())]
    for part in index.split(_CHUNK) if len(index) else ():
        chosen = members[part]
        found = _sum(
            tables,
            (rows[0][part], rows[1][part]),
            Couplings(*(t[chosen] for t in (frames.alpha, frames.beta, frames.first, frames.second))),
            (int(need[part].max()), int(wide[part].max()) + 1),
        )
        for column, (a, b) in enumerate(columns):
            values[chosen, column] = found[:, lefts.index(a), rights.index(b)]
    return members[~resolved]


def _phases(angle: Tensor, degree: int) -> list[tuple[Tensor, Tensor]]:
    """cos and sin of angle times the even and the odd frequencies up to ``degree``, (M, 1, .) each."""
    found = []
    for parity in (0, 1):
        frequency = torch.arange(parity, degree + 2, 2, dtype=torch.float64, device=angle.device)
        argument = angle[:, None, None] * frequency
        found.append((torch.cos(argument), torch.sin(argument)))
    return found


def _rotate(table: Tensor, rows: Tensor, phases: tuple[Tensor, Tensor], width: int) -> tuple[Tensor, Tensor]:
    """One degree's coefficients after the rotation, even and odd k up to ``width``: (M, F, .) each."""
    size = table.shape[-1]
    parts = table[rows]
    real, imaginary = parts[:, :, 0], parts[:, :, 1]
    c, s = phases[0][..., :size], phases[1][..., :size]
    return (
        torch.addcmul(real * c, imaginary, s),
        torch.addcmul(imaginary * c, real, s, value=-1.0),
    )


def _sum(
    tables: tuple[PairTable, PairTable], rows: tuple[Tensor, Tensor], frame: Couplings, cut: tuple[int, int]
) -> Tensor:
    """sum_jk P_jk Q_jk c_1^j c_2^k for all products of the two tables, shape (M, F, F')."""
    degree, width = cut
    left, right = tables
    device = str(frame.first.device)
    turns = _phases(frame.alpha, degree), _phases(frame.beta, degree)
    power = torch.arange(degree + 1, dtype=torch.float64, device=device)
    c1, c2 = frame.first[:, None] ** power, frame.second[:, None] ** power
    total = frame.first.new_zeros(len(frame.first), left.norm.shape[1], right.norm.shape[1])
    for d in range(degree + 1):
        even, odd = matrices(d, device)
        even, odd = even[:, : width // 2 + 1], odd[:, : (width + 1) // 2]
        p_even, p_odd = _rotate(left.harmonics[d], rows[0], turns[0][d % 2], width)
        q_even, q_odd = _rotate(right.harmonics[d], rows[1], turns[1][d % 2], width)
        weight = c1[:, : d + 1].flip(1) * c2[:, : d + 1]
        for p, q, matrix, w in (
            (p_even, q_even, even, weight[:, 0::2]),
            (p_odd, q_odd, odd, weight[:, 1::2]),
        ):
            k = matrix.shape[1]
            if k:
                total += torch.bmm((p @ matrix) * w[:, None, :k], (q @ matrix).mT)
    return total
