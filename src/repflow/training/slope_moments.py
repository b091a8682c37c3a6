"""Expectations of pairs of derivatives, <sigma^(p)_a sigma^(q)_b>, that carry the cross tangent kernel over a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.pair_map import pair_map
from repflow.expectation.single import rule
from repflow.expectation.slope_map import slope_map

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
    maps = pair_map(activation, kernel, derivatives=1, slope=True)
    slopes = slope_map(activation, kernel, derivatives=1)
    assert maps.slope is not None
    assert maps.d_self is not None
    assert slopes.d_self is not None
    assert slopes.d_cross is not None
    # dS_ab/dK_aa = <d_a d_a (s_a s_b)>/2 off the diagonal, where the maps are functions of three variables.
    found = {(1, 1): maps.slope, (2, 0): 2 * maps.d_self, (2, 2): slopes.d_cross, (3, 1): 2 * slopes.d_self}
    quadrature = rule(activation, kernel.diagonal())
    d = [activation.derivative(quadrature.z, order) for order in range(4)]
    arrays = {}
    for (p, q), values in found.items():
        matrix = values.clone()
        matrix.diagonal().copy_(quadrature.mean(d[p] * d[q]))
        arrays[p, q] = matrix.cpu().numpy()
    return SlopeMoments(arrays[1, 1], arrays[2, 0], arrays[2, 2], arrays[3, 1])
