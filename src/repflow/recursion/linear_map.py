"""How fluctuations of one layer's Gram matrix pass to the next: the derivatives of K -> <s s>, acting on pairs.

<s_a s_b> depends on K_aa, K_bb and K_ab only, so each row of the Jacobian has three entries and each Hessian six.
"""

from __future__ import annotations

from torch import Tensor

from repflow.expectation.pair_map import PairMap
from repflow.recursion.pairs import Pairs


class LinearMap:
    """First and second derivatives of <s_a s_b> in the kernel's entries, without the factor C_W."""

    def __init__(self, pairs: Pairs, maps: PairMap) -> None:
        self.pairs = pairs
        self.maps = maps
        assert maps.d_cross is not None
        assert maps.d_self is not None
        self._cross = maps.d_cross[pairs.a, pairs.b]
        self._first = maps.d_self[pairs.a, pairs.b]
        self._second = maps.d_self[pairs.b, pairs.a]

    def __call__(self, values: Tensor) -> Tensor:
        """F_(ab),p v_p over the first axis of a tensor (P, ...)."""
        p = self.pairs
        shape = (-1, *([1] * (values.ndim - 1)))
        return (
            self._cross.reshape(shape) * values
            + self._first.reshape(shape) * values[p.aa]
            + self._second.reshape(shape) * values[p.bb]
        )

    def both_sides(self, matrix: Tensor) -> Tensor:
        """F_p,a F_q,b M_ab for a (P, P) matrix."""
        return self(self(matrix).T).T

    def curvature(self, matrix: Tensor) -> Tensor:
        """F_(ab),pq M_pq for a symmetric (P, P) matrix, shape (P,)."""
        p, m = self.pairs, self.maps
        assert m.h_cross is not None
        assert m.h_self is not None
        assert m.h_self_other is not None
        assert m.h_self_cross is not None
        index = p.index[p.a, p.b]
        a, b = p.a, p.b
        return (
            m.h_cross[a, b] * matrix[index, index]
            + m.h_self[a, b] * matrix[p.aa, p.aa]
            + m.h_self[b, a] * matrix[p.bb, p.bb]
            + 2 * m.h_self_other[a, b] * matrix[p.aa, p.bb]
            + 2 * m.h_self_cross[a, b] * matrix[p.aa, index]
            + 2 * m.h_self_cross[b, a] * matrix[p.bb, index]
        )
