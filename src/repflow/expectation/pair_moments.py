"""<s^(p)_a s^(q)_b> for all pairs of inputs and several p, q: one Mehler series, whose coefficients they share."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.mehler import Series, correlations
from repflow.expectation.split import split_expectations

_TOL = 1e-10
_HIGHEST = 4


class PairMoments:
    """<s^(p)_a s^(q)_b> under z ~ N(0, K): ``PairMoments(activation, kernel)(p, q)``.

    The Hermite coefficients of each derivative are computed once, whatever it is combined with.

    Parameters
    ----------
    activation
        sigma, smooth.
    kernel
        K, shape (N, N), symmetric and positive semidefinite; it may be singular.
    diagonal
        Whether the diagonal is wanted: <s^(p)_a s^(q)_a>, an integral over one variable.

    Raises
    ------
    ValueError
        The activation has a kink or a jump.
    """

    def __init__(self, activation: Activation, kernel: Float64[Tensor, "N N"], diagonal: bool = True) -> None:
        if not activation.smooth:
            raise ValueError(
                f"activation {activation.name!r} is not smooth at {', '.join(f'{z:g}' for z in activation.kinks)}: "
                "moments of its derivatives need sigma and its derivatives to be continuous; for first derivatives use "
                "pair_map(..., slope=True)"
            )
        self._activation = activation
        self._kernel = kernel
        self._diagonal = diagonal
        self._rho = correlations(kernel)
        self._series = Series(activation, kernel.diagonal())
        self._names: set[int] = set()

    def __call__(self, p: int, q: int) -> Float64[Tensor, "N N"]:
        """The matrix of <s^(p)_a s^(q)_b>, shape (N, N), a by rows.

        Raises
        ------
        ValueError
            An order is not a whole number from 0 to 4.
        """
        for name, order in (("p", p), ("q", q)):
            if not isinstance(order, int) or not 0 <= order <= _HIGHEST:
                raise ValueError(f"{name} must be an order of differentiation from 0 to {_HIGHEST}, got {order!r}")
            if order not in self._names:
                self._series.add(str(order), partial(self._activation.derivative, order=order))
                self._names.add(order)
        values, unresolved = self._series.matrix(str(p), str(q), self._rho, _TOL)
        if bool(unresolved.any()):
            _replace(values, unresolved, self._activation, self._kernel, p, q)
        if self._diagonal:
            quadrature = self._series.rule()
            z = quadrature.z
            product = self._activation.derivative(z, p) * self._activation.derivative(z, q)
            values.diagonal().copy_(quadrature.mean(product))
        return values


def pair_moments(activation: Activation, kernel: Float64[Tensor, "N N"], p: int, q: int) -> Float64[Tensor, "N N"]:
    """<s^(p)_a s^(q)_b> for all pairs of inputs, the diagonal included, of a smooth activation; p, q from 0 to 4.

    :class:`PairMoments` shares work between several (p, q); parameters and errors are described there.
    """
    return PairMoments(activation, kernel)(p, q)


def _replace(values: Tensor, where: Tensor, activation: Activation, kernel: Tensor, p: int, q: int) -> None:
    """Two-dimensional quadrature for the pairs that the series does not resolve."""
    a, b = torch.nonzero(where, as_tuple=True)
    if p == q:
        a, b = a[a <= b], b[a <= b]
    variance = kernel.diagonal()
    flip = variance[a] < variance[b]  # the wider one outside: the slope of the conditional mean stays below one
    for swapped in (False, True):
        i, j = a[flip == swapped], b[flip == swapped]
        if not len(i):
            continue
        first, second = (j, i) if swapped else (i, j)
        orders = (q, p) if swapped else (p, q)
        found = split_expectations(
            [partial(activation.derivative, order=orders[0])],
            [partial(activation.derivative, order=orders[1])],
            (),
            variance[first],
            variance[second],
            kernel[first, second],
        )[0][0]
        values[i, j] = found
        if p == q:
            values[j, i] = found
