"""The neural tangent kernel: its infinite-width value, its mean at order 1/n and its fluctuations.

With Omega_12 = lambda_W s_1 s_2 + C_W s'_1 s'_2 Theta_12, a function of one neuron, F = C_W <s s>, subscripts a, b that
run over the independent entries of K, and r = n/n' (n = n_l just activated, n' = n_{l-1}):

    Theta'  = lambda_b + <Omega>
    A'_1234 = Cov(Omega_12, Omega_34) + r [ <Omega_12>_a V_ab <Omega_34>_b + <Omega_12>_a D_a(34) C_W <s'_3 s'_4>
              + (12 <-> 34) + C_W^2 <s'_1 s'_2> <s'_3 s'_4> A_1234 ]
    D'_1234 = Cov(C_W s_1 s_2, Omega_34) + r [ F_12,a V_ab <Omega_34>_b + F_12,a D_a(34) C_W <s'_3 s'_4> ]
    B'_1324 = C_W^2 <s'_1 s'_2 s'_3 s'_4> Theta_12 Theta_34 + r C_W^2 <s'_1 s'_3> <s'_2 s'_4> B_1324
    F'_1324 = C_W^2 <s_1 s'_3 s_2 s'_4> Theta_34 + r C_W^2 sum_ef <d_e(s_1 s'_3)> <d_f(s_2 s'_4)> F_e3f4
    H1'_12  = r [ <Omega_12>_a G1_a + <Omega_12>_ab V_ab / 2 + C_W <s'_1 s'_2> H1_12
              + (C_W/2) sum_cd (D_cd12 + F_c1d2 + F_c2d1) <d_c d_d(s'_1 s'_2)> ]

The leading terms of the exact recursion of one network's NTK (PDLT chapter 8), in a form without the kernel's inverse;
docs/tangent-kernel.md has the derivation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.network import Layer
from repflow.recursion.expectations import LayerExpectations
from repflow.recursion.forward import State
from repflow.recursion.indices import derivatives, read, stein_pairs
from repflow.recursion.linear_map import LinearMap
from repflow.recursion.pairs import Pairs


@dataclass
class Tangent:
    """What is known of one layer's NTK at order 1.

    Attributes
    ----------
    correction
        H1, shape (N, N): E[H] = Theta + H1/n_{l-1}.
    A, D
        By pairs, shape (P, P): A_(12)(34), symmetric, and D_(12)(34), of z z by rows and the NTK by columns.
    B, F
        Shape (N, N, N, N), axes 1, 3, 2, 4 of B_1324 and F_1324.
    """

    correction: Tensor
    A: Tensor
    B: Tensor
    D: Tensor
    F: Tensor


def first_tangent(kernel: Tensor) -> Tangent:
    """Layer 1, whose NTK does not fluctuate."""
    n, pairs = len(kernel), Pairs(len(kernel), kernel.device).count
    zero = kernel.new_zeros
    return Tangent(zero(n, n), zero(pairs, pairs), zero(n, n, n, n), zero(pairs, pairs), zero(n, n, n, n))


class OmegaMap:
    """Derivatives of <Omega_ab> in the kernel's entries, acting on pairs."""

    def __init__(self, layer: Layer, given: LayerExpectations, ntk: Tensor) -> None:
        self._signals, self._slopes = LinearMap(given.pairs, given.maps), LinearMap(given.pairs, given.slopes)
        self._lambda_W = layer.lambda_W
        self._weight = layer.C_W * given.pairs.compress(ntk)

    def __call__(self, values: Tensor) -> Tensor:
        """<Omega_p>_a v_a over the first axis of a tensor (P, ...)."""
        weight = self._weight.reshape(-1, *([1] * (values.ndim - 1)))
        return self._lambda_W * self._signals(values) + weight * self._slopes(values)

    def curvature(self, matrix: Tensor) -> Tensor:
        """<Omega_p>_ab M_ab for a symmetric (P, P) matrix, shape (P,)."""
        return self._lambda_W * self._signals.curvature(matrix) + self._weight * self._slopes.curvature(matrix)


def next_tangent(tangent: Tangent, state: State, layer: Layer, n_before: int, given: LayerExpectations) -> Tangent:
    """One step of the recursion.

    Parameters
    ----------
    tangent, state
        Layer l.
    layer
        Layer l + 1; its fan-in is n_l.
    n_before
        n_{l-1}.
    given
        Expectations over layer l.
    """
    assert state.ntk is not None
    assert state.vertex is not None
    assert state.correction is not None
    pairs, ntk, C_W = given.pairs, state.ntk, layer.C_W
    ratio = layer.n_in / n_before
    jacobian, omega = LinearMap(pairs, given.maps), OmegaMap(layer, given, ntk)
    assert given.maps.slope is not None
    slope = C_W * given.maps.slope
    by_pair = pairs.compress(slope)
    fresh_D, fresh_A = _single_neuron(layer, given, ntk)

    through_vertex = omega(state.vertex)  # <Omega_12>_a V_ab
    from_D = omega(tangent.D) * by_pair
    A = fresh_A + ratio * (omega(through_vertex.T) + from_D + from_D.T + by_pair[:, None] * by_pair * tangent.A)
    D = fresh_D + ratio * C_W * (jacobian(through_vertex.T) + jacobian(tangent.D) * by_pair)
    correction = (
        omega(state.correction)
        + 0.5 * omega.curvature(state.vertex)
        + by_pair * pairs.compress(tangent.correction)
        + 0.5 * C_W * pairs.compress(_second_derivatives(tangent, given))
    )
    return Tangent(
        correction=pairs.expand(ratio * correction),
        A=A,
        B=C_W**2 * given.four(1, 1, 1, 1) * read(ntk, "ac") * read(ntk, "bd")
        + ratio * read(slope, "ab") * read(slope, "cd") * tangent.B,
        D=D,
        F=C_W**2 * (given.four(0, 1, 0, 1) * read(ntk, "bd") + ratio * _carried(tangent.F, given)),
    )


def _single_neuron(layer: Layer, given: LayerExpectations, ntk: Tensor) -> tuple[Tensor, Tensor]:
    """Cov(C_W s_1 s_2, Omega_34) and Cov(Omega_12, Omega_34) by pairs, shape (P, P) each."""
    pairs = given.pairs
    assert given.maps.slope is not None
    signal, slope = pairs.compress(given.maps.mean), pairs.compress(given.maps.slope)
    weight = layer.C_W * pairs.compress(ntk)
    mixed = weight * (pairs.compress_square(given.four(0, 0, 1, 1)) - signal[:, None] * slope)
    slopes = weight[:, None] * weight * (pairs.compress_square(given.four(1, 1, 1, 1)) - slope[:, None] * slope)
    with_omega = layer.lambda_W * given.signal_covariance + mixed
    return layer.C_W * with_omega, layer.lambda_W * (with_omega + mixed.T) + slopes


def _second_derivatives(tangent: Tangent, given: LayerExpectations) -> Tensor:
    """sum_cd (D_cd12 + F_c1d2 + F_c2d1) <d_c d_d(s'_1 s'_2)>, shape (N, N)."""
    index, D, F = given.pairs.index, tangent.D, tangent.F
    assert given.slopes.d_self is not None
    assert given.slopes.d_cross is not None
    first = torch.arange(len(index), device=F.device)[:, None]
    second = first.T
    same = D[index.diagonal()[:, None], index] + F[first, first, first, second] + F[first, second, first, first]
    cross = D[index, index] + F[first, first, second, second] + F[first, second, second, first]
    both = given.slopes.d_self * same
    return 2 * (both + both.T + given.slopes.d_cross * cross)


def _carried(F: Tensor, given: LayerExpectations) -> Tensor:
    """sum_ef <d_e(s_1 s'_3)> <d_f(s_2 s'_4)> F_e3f4, axes 1, 3, 2, 4."""
    stein = derivatives(given.maps)
    return stein_pairs(F, stein, stein).permute(1, 0, 3, 2)
