"""The first and second differentials of the NTK at order 1/n: how training moves the kernel.

With m_ab = <s'_a s'_b>, dOmega_ab = lambda_W s'_a s_b + C_W s''_a s'_b Theta_ab, r = n/n' and sums over the slots
of the inputs that stand inside an expectation:

    P'_0123 = C_W^2 <s''_0 s'_1 s'_2 s_3> Theta_01 Theta_02
              + r C_W^2 m_12 [ <s''_0 s_3> B_0012 + sum_e <d_e(s'_0 s_3)> P_012e ]
    Q'_0123 = C_W <dOmega_01 s'_2 s_3> Theta_02
              + r [ C_W sum_ef <d_e dOmega_01> <d_f(s'_2 s_3)> F_e0f2 + C_W^2 m_01 sum_e <d_e(s'_2 s_3)> Q_012e ]
    R'_0123 = C_W <(lambda_W s''_0 s_1 + C_W s'''_0 s'_1 Theta_01) s'_2 s'_3> Theta_02 Theta_03
              + r C_W m_23 [ <lambda_W s''_0 s_1 + C_W s'''_0 s'_1 Theta_01> B_0023 + sum_e <d_e dOmega_01> P_023e
              + C_W m_01 R_0123 ]
    S'_1234 = C_W <(lambda_W s'_1 s'_2 + C_W s''_1 s''_2 Theta_12) s'_3 s'_4> Theta_13 Theta_24
              + r C_W m_34 [ <lambda_W s'_1 s'_2 + C_W s''_1 s''_2 Theta_12> B_1234 + C_W m_12 S_1234 ]
    T'_1324 = <dOmega_13 dOmega_24> Theta_12
              + r [ sum_ef <d_e dOmega_13> <d_f dOmega_24> F_e1f2 + C_W m_24 sum_e <d_e dOmega_13> Q_241e
              + C_W m_13 sum_e <d_e dOmega_24> Q_132e + C_W^2 m_13 m_24 T_1324 ]
    U'_1423 = C_W^2 <s''_1 s'_4 s''_2 s'_3> Theta_12 Theta_13 Theta_24 + r C_W^2 m_14 m_23 U_1423

All vanish at layer 1. Definitions as in :class:`FlowLayer`; sources: PDLT chapter 11 (P, Q) and its chapter on the end
of training (R, S, T, U), without the kernel's inverse; docs/tangent-kernel.md has the derivation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from repflow.network import Layer
from repflow.recursion.expectations import LayerExpectations
from repflow.recursion.indices import Stein, derivatives, read, stein_pairs
from repflow.recursion.tangent import Tangent


@dataclass
class Differentials:
    """The mean dNTK and ddNTK of one layer, all (N, N, N, N): axes as the subscripts of P_0123, Q_0123, R_0123, S_1234,
    T_1324 and U_1423.
    """

    P: Tensor
    Q: Tensor
    R: Tensor
    S: Tensor
    T: Tensor
    U: Tensor


def first_differentials(kernel: Tensor) -> Differentials:
    """Layer 1, which is linear in its parameters."""
    n = len(kernel)
    return Differentials(*(kernel.new_zeros(n, n, n, n) for _ in range(6)))


def next_differentials(
    before: Differentials, tangent: Tangent, ntk: Tensor, layer: Layer, n_before: int, given: LayerExpectations
) -> Differentials:
    """One step of the recursion.

    Parameters
    ----------
    before, tangent
        Layer l.
    ntk
        Theta of layer l, shape (N, N).
    layer
        Layer l + 1; its fan-in is n_l.
    n_before
        n_{l-1}.
    given
        Expectations over layer l, of a twice differentiable activation.
    """
    C_W, lambda_W = layer.C_W, layer.lambda_W
    ratio = layer.n_in / n_before
    theta, slope = partial(read, ntk), partial(read, C_W * given.moment(1, 1))
    gain, angle = derivatives(given.maps), derivatives(given.slopes)
    d_omega = gain.times(lambda_W).plus(angle.times(C_W * ntk))
    four, B, F, P, Q = given.four, tangent.B, tangent.F, before.P, before.Q
    pair = C_W * theta("ab")

    new_P = C_W**2 * four(2, 1, 1, 0) * theta("ab") * theta("ac")
    carried = read(given.moment(2, 0), "ad") * read(B, "aabc") + _along(gain, "ad", P, "abca", "abcd")
    new_P += ratio * C_W * slope("bc") * carried

    new_Q = C_W * theta("ac") * (lambda_W * four(1, 0, 1, 0) + pair * four(2, 1, 1, 0))
    carried = stein_pairs(F, d_omega, gain) + slope("ab") * _along(gain, "cd", Q, "abcc", "abcd")
    new_Q += ratio * C_W * carried

    by_first = read(lambda_W * given.moment(2, 0) + C_W * ntk * given.moment(3, 1), "ab")
    new_R = C_W * theta("ac") * theta("ad") * (lambda_W * four(2, 0, 1, 1) + pair * four(3, 1, 1, 1))
    carried = by_first * read(B, "aacd") + _along(d_omega, "ab", P, "acda", "acdb") + slope("ab") * before.R
    new_R += ratio * slope("cd") * carried

    by_both = read(lambda_W * given.moment(1, 1) + C_W * ntk * given.moment(2, 2), "ab")
    new_S = C_W * theta("ac") * theta("bd") * (lambda_W * four(1, 1, 1, 1) + pair * four(2, 2, 1, 1))
    new_S += ratio * slope("cd") * (by_both * B + slope("ab") * before.S)

    one = slope("ab") * _along(d_omega, "cd", Q, "abcc", "abcd")
    carried = stein_pairs(F, d_omega, d_omega) + one + one.permute(2, 3, 0, 1)
    new_T = theta("ac") * _d_omega_squared(layer, given, ntk) + ratio * carried
    new_T += ratio * slope("ab") * slope("cd") * before.T

    new_U = C_W**2 * four(2, 1, 2, 1) * theta("ac") * theta("ad") * theta("cb")
    new_U += ratio * slope("ab") * slope("cd") * before.U
    return Differentials(new_P, new_Q, new_R, new_S, new_T, new_U)


def _along(stein: Stein, pair: str, tensor: Tensor, first: str, second: str) -> Tensor:
    """sum_e <d_e f> X_e: the tensor read with e at the first and at the second slot of the pair."""
    return read(stein.first, pair) * read(tensor, first) + read(stein.second, pair) * read(tensor, second)


def _d_omega_squared(layer: Layer, given: LayerExpectations, ntk: Tensor) -> Tensor:
    """<dOmega_ab dOmega_cd>."""
    left, right = layer.C_W * read(ntk, "ab"), layer.C_W * read(ntk, "cd")
    four = given.four
    mixed = right * four(1, 0, 2, 1) + left * four(2, 1, 1, 0)
    return layer.lambda_W * (layer.lambda_W * four(1, 0, 1, 0) + mixed) + left * right * four(2, 1, 2, 1)
