"""Gaussian expectations that one step of the recursion needs, each computed once and shared by its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.four_point_tensors import four_point_tensors
from repflow.expectation.pair_map import pair_map
from repflow.expectation.pair_moments import PairMoments
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

    @cached_property
    def signal_covariance(self) -> Float64[Tensor, "P P"]:
        """Cov(s_a s_b, s_c s_d) by pairs."""
        mean = self.pairs.compress(self.maps.mean)
        return self.pairs.compress_square(self.four(0, 0, 0, 0)) - mean[:, None] * mean

    @cached_property
    def moment(self) -> PairMoments:
        """``moment(p, q)`` is <s^(p)_a s^(q)_b>, shape (N, N), for a smooth activation."""
        return PairMoments(self.activation, self.kernel)
