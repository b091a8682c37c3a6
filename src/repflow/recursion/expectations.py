"""Gaussian expectations that one step of the recursion needs, each computed once and shared by its statistics."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.four_point_tensors import four_point_tensors
from repflow.expectation.pair_map import pair_map
from repflow.expectation.single import rule
from repflow.expectation.slope_map import slope_map
from repflow.recursion.pairs import Pairs

#: Orders of derivatives of <s^(i) s^(j) s^(k) s^(l)>, each sorted: what the fluctuations of the NTK are made of.
FLUCTUATIONS = ((0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1))
#: What its differentials are made of besides.
DIFFERENTIALS = ((0, 1, 1, 2), (1, 1, 1, 3), (1, 1, 2, 2))


class LayerExpectations:
    """Expectations over one layer's neurons at z ~ N(0, K).

    Attributes
    ----------
    activation
        sigma.
    kernel
        K, shape (N, N).
    maps, slopes
        K -> <s_a s_b> and K -> <s'_a s'_b> with first and second derivatives in K.
    pairs
        The unordered pairs of the N inputs.
    error
        Largest relative error estimate.
    """

    def __init__(
        self, activation: Activation, kernel: Float64[Tensor, "N N"], kinds: Sequence[tuple[int, int, int, int]]
    ) -> None:
        self.activation = activation
        self.kernel = kernel
        self.pairs = Pairs(len(kernel), kernel.device)
        self.maps = pair_map(activation, kernel, derivatives=2, slope=True)
        self.slopes = slope_map(activation, kernel, derivatives=2)
        found = four_point_tensors(activation, kernel, kinds)
        self._four = found.values
        self.error = found.error

    def four(self, *orders: int) -> Float64[Tensor, "N N N N"]:
        """E[s^(i)_a s^(j)_b s^(k)_c s^(l)_d] for the four orders, axes in their order."""
        place = sorted(range(4), key=lambda slot: orders[slot])
        i, j, k, m = (orders[slot] for slot in place)
        return self._four[i, j, k, m].permute([place.index(slot) for slot in range(4)])

    def moment(self, p: int, q: int) -> Float64[Tensor, "N N"]:
        """<s^(p)_a s^(q)_b> for (p, q) of (1, 1), (2, 0), (2, 2) and (3, 1)."""
        source = {(1, 1): self.maps.slope, (2, 0): _twice(self.maps.d_self)}
        source |= {(2, 2): self.slopes.d_cross, (3, 1): _twice(self.slopes.d_self)}
        values = source[p, q]
        assert values is not None
        values = values.clone()
        quadrature = rule(self.activation, self.kernel.diagonal())
        f, g = (
            self.activation.derivative(quadrature.z, order=k) if k else self.activation(quadrature.z) for k in (p, q)
        )
        values.diagonal().copy_(quadrature.mean(f * g))
        return values


def _twice(values: Tensor | None) -> Tensor | None:
    return None if values is None else 2 * values
