"""Four-point expectations of two different inputs, (a, .., a, b, .., b): products of one variable each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.kinked import COLLINEAR
from repflow.expectation.mehler import Series, correlations
from repflow.expectation.pair_tables import derivatives
from repflow.expectation.single import rule
from repflow.expectation.split import Function, split_expectations

_TOL = 1e-10


def two_inputs(
    activation: Activation, kernel: Tensor, quadruples: Tensor, arrangements: Sequence[tuple[int, ...]]
) -> tuple[Tensor, Tensor]:
    """<s^(i)_a s^(j)_a s^(k)_b s^(l)_b> and its like.

    Parameters
    ----------
    activation
        sigma.
    kernel
        K, shape (N, N).
    quadruples
        Inputs in ascending order, shape (M, 4): m times a, then 4 - m times b, 1 <= m <= 4.
    arrangements
        The orders (i, j, k, l).

    Returns
    -------
    values, error
        Shape (M, C) each; the error of what the series resolves is a bound, elsewhere an estimate.
    """
    values = kernel.new_empty(len(quadruples), len(arrangements))
    error = torch.zeros_like(values)
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
        known: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[Tensor, Tensor]] = {}
        for number, orders in enumerate(arrangements):
            key = tuple(sorted(orders[:m])), tuple(sorted(orders[m:]))
            if key not in known and m == 4:
                quadrature = series.rule()
                found = quadrature.mean(product(key[0])(quadrature.z))[a]
                known[key] = found, torch.zeros_like(found)
            elif key not in known:
                left_name, right_name = str(key[0]), str(key[1])
                for side in key:
                    series.add(str(side), product(side))
                found, unresolved = series.pairs(left_name, right_name, a, b, rho[a, b], _TOL)
                short = _TOL * (series.norm(left_name)[a] * series.norm(right_name)[b]).sqrt()
                left = torch.nonzero(unresolved).ravel()
                if len(left):
                    functions = product(key[0]), product(key[1])
                    found[left], short[left] = _by_quadrature(activation, kernel, (a[left], b[left]), functions)
                known[key] = found, short
            values[chosen, number], error[chosen, number] = known[key]
    return values, error


def _by_quadrature(
    activation: Activation, kernel: Tensor, pairs: tuple[Tensor, Tensor], functions: tuple[Function, Function]
) -> tuple[Tensor, Tensor]:
    """<f_a g_b> for pairs (P,), and what exchanging the inner and the outer integral changes."""
    variance = kernel.diagonal()
    a, b = pairs
    values, error = kernel.new_empty(len(a)), kernel.new_zeros(len(a))
    cross = kernel[a, b]
    collinear = variance[a] * variance[b] - cross * cross <= COLLINEAR * variance[a] * variance[b]
    wide = variance[a] >= variance[b]  # goes outside: the slope of the conditional mean stays below one
    for swapped in (False, True):
        (i, j), (f, g) = ((b, a), functions[::-1]) if swapped else ((a, b), functions)
        line = torch.nonzero(collinear & (wide != swapped)).ravel()
        if len(line):
            ratio = torch.sign(cross[line]) * (variance[j[line]] / variance[i[line]]).sqrt()
            kinks = torch.tensor(activation.kinks, dtype=torch.float64, device=kernel.device)
            edges = torch.cat([kinks.expand(len(line), -1), kinks / ratio[:, None]], dim=1)
            quadrature = rule(edges, variance[i[line]])
            values[line] = quadrature.mean(f(quadrature.z) * g(ratio[:, None] * quadrature.z))
        plane = torch.nonzero(~collinear & (wide != swapped)).ravel()
        if len(plane):
            first, second, both = variance[i[plane]], variance[j[plane]], cross[plane]
            values[plane] = split_expectations([f], [g], activation.kinks, first, second, both)[0][0]
            other = split_expectations([g], [f], activation.kinks, second, first, both)[0][0]
            error[plane] = (values[plane] - other).abs()
    return values, error
