"""Expectations of pairs of derivatives, <sigma^(p)_a sigma^(q)_b>, that carry the cross tangent kernel over a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.pair_moments import PairMoments

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SlopeMoments:
    """Expectations over one layer's z ~ N(0, K), each of shape (N, N): ``s31`` is <sigma'''_a sigma'_b>."""

    s11: FloatArray
    s20: FloatArray
    s22: FloatArray
    s31: FloatArray

    def derivative(self, p: int, q: int) -> FloatArray:
        """<d_g (sigma^(p)_a sigma^(q)_b)> for (p, q) = (1, 0) or (2, 1), shape (N, N, N), axes a, b, g."""
        first, second = {(1, 0): (self.s20, self.s11), (2, 1): (self.s31, self.s22)}[p, q]
        eye = np.eye(len(first))
        return np.asarray(first[:, :, None] * eye[:, None, :] + second[:, :, None] * eye[None, :, :])


def slope_moments(activation: Activation, kernel: Tensor) -> SlopeMoments:
    """The moments of a smooth activation at a kernel of shape (N, N)."""
    moments = PairMoments(activation, kernel)
    return SlopeMoments(*(moments(p, q).cpu().numpy() for p, q in ((1, 1), (2, 0), (2, 2), (3, 1))))
