"""<f_1 f_2 f_3 f_4>, with or without kinks: Hermite series of the two pair products in canonical coordinates.

    <s_1 s_2 s_3 s_4> = sum_jk P_jk Q_jk c_1^j c_2^k,      P_jk = <s_1 s_2 h_j(u_1) h_k(u_2)>,  Q_jk likewise

(Kibble-Slepian at rank two). The trapezoid rule on u computes P and Q with spectral accuracy; about n^2 evaluations a
quadruple stand against n^4 of plain quadrature. The share of each product's norm that is left out bounds the
remainder, and the quadruples that miss the tolerance are taken again with more terms.

A kink costs accuracy twice. The coefficients fall only as a power of the degree, so that the series may end at
_MAX_TERMS with a remainder of order 1e-6. And the trapezoid rule errs by h^2/12 where a line of kinks runs along an
axis of the grid: the caller takes part of each variance out of the covariance and hands it over as ``spread``, over
which the activation is averaged (:mod:`repflow.expectation.smoothing`). A product of one variable (repeated or
collinear inputs) is integrated with panels cut at the kinks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.canonical import Canonical, canonical
from repflow.expectation.single import hermite_coefficients, hermite_values, rule
from repflow.expectation.smoothing import Smoothed

#: Numbers of the functions of a pair's two variables.
Product = tuple[int, int]

#: Half-range in u: Hermite functions of a high degree fall as exp(-u^2/4), 1e-8 and 1e-12 there. A kink costs more than
#: the first of these anyway.
_REACH, _SMOOTH_REACH = 8.5, 10.5
_STEP_Z = 0.4  # trapezoid step in z: activations have poles at a distance of order 1.5 or more
_MAX_TERMS = 512
_FIRST_TERMS = 64  # of the first guess, which goes by c alone
_CHUNK = 150_000  # grid points at a time: larger temporaries are mapped and unmapped anew at each operation
_QUANTUM = 1.25  # node counts are rounded up on this geometric scale, so that few batches differ


@dataclass(frozen=True)
class Sides:
    """How the two pair products are taken.

    Attributes
    ----------
    single
        For each pair, whether its two variables are collinear in every quadruple (equal inputs among them).
    step
        Widest trapezoid step in u across a line of kinks; infinite for a smooth activation.
    spread
        Standard deviations over which the activation is averaged, (M, 4), or None.
    """

    single: tuple[bool, bool] = (False, False)
    step: float = math.inf
    spread: Tensor | None = None

    @property
    def reach(self) -> float:
        """Half-range of the trapezoid rule in u."""
        return _SMOOTH_REACH if math.isinf(self.step) else _REACH


@lru_cache(maxsize=256)
def _axis(terms: int, nodes: int, reach: float, device: str) -> tuple[Tensor, Tensor]:
    """Trapezoid nodes on [-reach, reach] and the matrix w h_m(u) from values to coefficients, shape (terms, nodes)."""
    u = torch.linspace(-reach, reach, nodes, dtype=torch.float64, device=device)
    w = torch.exp(-0.5 * u * u) / math.sqrt(2 * math.pi) * (u[1] - u[0])
    return u, hermite_values(u, terms) * w


def _node_count(scale: Tensor, terms: Tensor, kinked: Tensor, sides: Sides) -> Tensor:
    """Nodes that an axis needs, rounded up to an odd number on a geometric scale.

    Parameters
    ----------
    scale
        Largest loading of the axis, shape (M,): z moves by ``scale`` du.
    terms
        Hermite terms on it, shape (M,).
    kinked
        Whether a line of kinks may run across it, shape (M,).
    sides
        With the step there.
    """
    step = torch.minimum(_STEP_Z / scale.clamp(min=1e-300), 2 * math.pi / (terms.double().sqrt() + 7.0))
    step = torch.where(kinked, step.clamp(max=sides.step), step)
    count = (2 * sides.reach / step).clamp(min=8.0)
    grade = torch.ceil(torch.log(count / 8.0) / math.log(_QUANTUM) - 1e-9)
    return torch.ceil(8.0 * _QUANTUM**grade).long() | 1


def _first_terms(correlation: Tensor, tol: float) -> Tensor:
    """Terms that c alone asks for, c^m < tol, as a power of two, at most _FIRST_TERMS."""
    need = math.log(tol) / torch.log(correlation.clamp(1e-12, 1 - 1e-12))
    grade = torch.ceil(torch.log2(need.clamp(min=4.0)))
    return (2 ** grade.clamp(max=math.log2(_FIRST_TERMS))).long()


def product_series(
    functions: Sequence[Activation],
    covariance: Tensor,
    tol: float,
    columns: Sequence[tuple[Product, Product]],
    sides: Sides,
) -> tuple[Tensor, Tensor]:
    """<f_i(z_1) f_j(z_2) f_k(z_3) f_l(z_4)> for a batch of quadruples, several (i, j, k, l) at once.

    Parameters
    ----------
    functions
        f_0, f_1, ..., with the same breakpoints.
    covariance
        Shape (M, 4, 4), less what ``sides.spread`` averages over.
    tol
        Remainder accepted, relative to sqrt(<(f_i f_j)^2> <(f_k f_l)^2>).
    columns
        The numbers ((i, j), (k, l)) of each expectation.
    sides
        How to take the products (1, 2) and (3, 4).

    Returns
    -------
    values, error
        Shape (M, C) each; ``error`` is the bound on the relative remainder that was reached.
    """
    frame = canonical(covariance)
    m, device = len(covariance), covariance.device
    values, error = covariance.new_zeros(m, len(columns)), covariance.new_zeros(m, len(columns))
    wanted = [sorted({column[side] for column in columns}) for side in (0, 1)]
    scale, kinked = _axes(frame, sides)
    terms = _first_terms(frame.correlation, tol)
    if any(sides.single):
        terms[:, 1] = 1  # one of the products does not depend on its second variable
    todo = torch.arange(m, device=device)
    while len(todo):
        counts = torch.stack(
            [_node_count(scale[todo, k], terms[todo, k], kinked[todo, k], sides) for k in (0, 1)], dim=1
        )
        kinds, which = torch.unique(torch.cat([terms[todo], counts], dim=1), dim=0, return_inverse=True)
        again = []
        for number, (t1, t2, n1, n2) in enumerate(kinds.tolist()):
            members = todo[which == number]
            step = max(1, _CHUNK // (n1 * n2))
            for start in range(0, len(members), step):
                part = members[start : start + step]
                expansions = [
                    _one_variable(functions, products, loading[part], t1)
                    if single
                    else _two_variables(functions, products, loading[part], spread, (t1, t2), (n1, n2), sides.reach)
                    for products, loading, single, spread in zip(
                        wanted, (frame.first, frame.second), sides.single, _spreads(sides, part), strict=True
                    )
                ]
                more = torch.zeros_like(terms[part], dtype=torch.bool)
                for column, (left, right) in enumerate(columns):
                    values[part, column], missing = _sum(
                        [expansions[0][left], expansions[1][right]], frame.correlation[part]
                    )
                    error[part, column] = missing.sum(1)
                    more |= missing > tol
                more &= terms[part] < _MAX_TERMS
                if any(sides.single):
                    more[:, 1] = False
                terms[part] = torch.where(more, 2 * terms[part], terms[part])
                again.append(part[more.any(1)])
        todo = torch.cat(again)
    return values, error


def _axes(frame: Canonical, sides: Sides) -> tuple[Tensor, Tensor]:
    """Largest loading of each axis, and whether a line of kinks may run across it, (M, 2) each."""
    loadings = torch.stack([frame.first, frame.second], dim=1)  # (M, side, variable, axis)
    scale = loadings.abs().amax((1, 2))
    open_ = [side for side, single in enumerate(sides.single) if not single]
    if not open_ or math.isinf(sides.step):
        return scale, torch.zeros_like(scale, dtype=torch.bool)
    direction = loadings[:, open_].abs() / loadings[:, open_].norm(dim=-1, keepdim=True).clamp(min=1e-300)
    return scale, direction.amax((1, 2)) > 0.2


def _spreads(sides: Sides, part: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Of the first and the second pair, (B, 2) each."""
    if sides.spread is None:
        return None, None
    return sides.spread[part, :2], sides.spread[part, 2:]


def _sum(products: list[tuple[Tensor, Tensor]], correlation: Tensor) -> tuple[Tensor, Tensor]:
    """The truncated series (B,), and relative bounds on what the cut in either index leaves out (B, 2)."""
    left, right = products
    t1, t2 = (min(a, b) for a, b in zip(left[0].shape[1:], right[0].shape[1:], strict=True))
    degree = [torch.arange(t, dtype=torch.float64, device=correlation.device) for t in (t1, t2)]
    powers = correlation[:, :1, None] ** degree[0][:, None] * correlation[:, 1:, None] ** degree[1]
    value = (left[0][:, :t1, :t2] * right[0][:, :t1, :t2] * powers).sum((1, 2))
    reach = correlation ** torch.tensor([t1, t2], dtype=torch.float64, device=correlation.device)
    return value, (left[1] * right[1]).sqrt() * reach


def _shares(norm: Tensor, *kept: Tensor) -> Tensor:
    """Shares of the norm lost at each of two successive cuts, shape (B, 2)."""
    safe = norm.clamp(min=1e-300)
    return torch.stack([(norm - kept[0]) / safe, (kept[0] - kept[-1]) / safe], dim=1).clamp(min=0.0)


def _two_variables(
    functions: Sequence[Activation],
    products: Sequence[Product],
    loading: Tensor,
    spread: Tensor | None,
    terms: tuple[int, int],
    nodes: tuple[int, int],
    reach: float,
) -> dict[Product, tuple[Tensor, Tensor]]:
    """For each (i, j) the coefficients (B, t1, t2) of f_i(z_1) f_j(z_2), averaged over ``spread`` (B, 2), and the
    shares of its norm left out.
    """
    device = str(loading.device)
    (u1, h1), (u2, h2) = (_axis(t, n, reach, device) for t, n in zip(terms, nodes, strict=True))
    z = loading[:, :, 0, None, None] * u1[:, None] + loading[:, :, 1, None, None] * u2
    used = {number for product in products for number in product}
    if spread is None:
        values = {number: functions[number](z) for number in used}
    else:
        values = {number: Smoothed(functions[number])(z, spread[:, :, None, None]) for number in used}
    found = {}
    for i, j in products:
        product = values[i][:, 0] * values[j][:, 1]
        norm = ((product**2 @ h2[0]) * h1[0]).sum(-1)
        half = h1 @ product
        coefficients = half @ h2.T
        shares = _shares(norm, ((half**2).sum(1) * h2[0]).sum(-1), (coefficients**2).sum((1, 2)))
        found[i, j] = coefficients, shares
    return found


def _one_variable(
    functions: Sequence[Activation], products: Sequence[Product], loading: Tensor, terms: int
) -> dict[Product, tuple[Tensor, Tensor]]:
    """For each (i, j) the coefficients (B, t1, 1) of f_i(A_11 u) f_j(A_21 u), and the shares of its norm left out."""
    along = loading[:, :, 0]  # (B, 2)
    sigma = along.abs().amax(1)
    kinks = torch.tensor(functions[0].kinks, dtype=torch.float64, device=loading.device)
    safe = torch.where(along.abs() > 0, along, 1e-300)
    edges = (kinks / safe[:, :, None]).flatten(1) * sigma[:, None]
    quadrature = rule(edges, sigma**2, terms)
    found = {}
    for i, j in products:
        product = functions[i](along[:, :1] * quadrature.u) * functions[j](along[:, 1:] * quadrature.u)
        coefficients = hermite_coefficients(quadrature, product, terms)
        kept = (coefficients**2).sum(1)
        found[i, j] = coefficients[:, :, None], _shares(quadrature.mean(product**2), kept)
    return found
