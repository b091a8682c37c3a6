"""The action of a distribution as a polynomial in the preactivations: its data-dependent couplings."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True)
class Couplings:
    """The action S(z) = -log p(z), truncated at an order of 1/n, with M_ab = sum_i z_{i;a} z_{i;b} over the neurons:

        S = constant + 1/2 g_ab M_ab - 1/8 v_abcd M_ab M_cd - 1/48 u_abcdef M_ab M_cd M_ef

    At order 0 g is the inverse of K and the others vanish: neurons do not interact. v begins at order 1/n and u at
    1/n^2. To leading order they are V/n and X/n^2 with their indices raised by the inverse of K, X less what V gives
    it (PDLT chapter 4, whose action stops at v).

    Attributes
    ----------
    constant
        Log of the normaliser.
    quadratic
        g, shape (N, N).
    quartic
        v, shape (N, N, N, N); zero at order 0.
    sextic
        u, shape (N,)*6; zero below order 2.
    """

    constant: float
    quadratic: Float64[Tensor, "N N"]
    quartic: Float64[Tensor, "N N N N"]
    sextic: Float64[Tensor, "N N N N N N"]
