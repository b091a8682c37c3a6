"""What joins a hidden layer to the output: the cross tangent kernel and its correlations, carried from layer to layer.

For a neuron k of hidden layer l and a neuron i of layer m >= l,

    h_{ki;ac} = sum_theta lambda dz^(l)_{k;a} dz^(m)_{i;c}

is how z^(l)_k moves when z^(m)_i is pushed along its gradient. At leading order, with means over the n_l neurons k,

    X_abcd = n_l E[ mean_k h_{ki;ac} h_{ki;bd} ]
    Y_abce = n_l E[ mean_k z^(l)_{k;a} h_{ki;bc} z^(m)_{i;e} ]
    W_abcd = n_l E[ mean_k z^(l)_{k;a} sum z^(l)_{k;b},alpha beta z^(m)_{i;c},alpha z^(m)_{i;d},beta ]
    Z_abcd = n_l E[ mean_k z^(l)_{k;a} sum z^(l)_{k;b},alpha z^(m)_{i;c},alpha beta z^(m)_{i;d},beta ]

with lambda in each sum over parameters alpha, beta. They start at m = l from the tensors of layer l: one neuron of its
own, and n_l - 1 others,

    X = Theta_ac Theta_bd + r B_abcd,  Y = K_ae Theta_bc + r F_abec,  W = r P_bcda,  Z = r Q_cdba,     r = n_l/n_{l-1}

and go from m to m + 1, averaging over the weights between, as

    X' = C_W <s'_c s'_d> X              Y' = C_W sum_g <d_g(s'_c s_e)> Y_abcg
    W' = C_W <s'_c s'_d> W              Z' = sum_g <d_g dOmega_cd> Y_abcg + C_W <s'_c s'_d> Z
    dOmega_cd = lambda_W s'_c s_d + C_W s''_c s'_d Theta_cd

docs/representation-learning.md has the derivation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.network import Layer
from repflow.training.slope_moments import SlopeMoments

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CrossTangent:
    """X, Y, W, Z between a hidden layer and a later one, each of shape (N, N, N, N), axes as the subscripts above."""

    X: FloatArray
    Y: FloatArray
    W: FloatArray
    Z: FloatArray


def at_own_layer(layer: Any, ratio: float) -> CrossTangent:
    """m = l.

    Parameters
    ----------
    layer
        With ``kernel``, ``ntk``, ``B``, ``F``, ``P`` and ``Q`` of layer l.
    ratio
        n_l/n_{l-1}.
    """
    kernel, ntk = layer.kernel, layer.ntk
    return CrossTangent(
        X=np.einsum("ac,bd->abcd", ntk, ntk) + ratio * layer.B,
        Y=np.einsum("ae,bc->abce", kernel, ntk) + ratio * np.einsum("abec->abce", layer.F),
        W=ratio * np.einsum("bcda->abcd", layer.P),
        Z=ratio * np.einsum("cdba->abcd", layer.Q),
    )


def next_cross_tangent(cross: CrossTangent, layer: Layer, ntk: FloatArray, moments: SlopeMoments) -> CrossTangent:
    """From m to m + 1.

    Parameters
    ----------
    cross
        At layer m.
    layer
        Layer m + 1.
    ntk
        Theta of layer m, shape (N, N).
    moments
        Over layer m.
    """
    C_W = layer.C_W
    slope = C_W * moments.s11
    # <d_g(s'_c s_e)> and <d_g dOmega_cd>
    signal = moments.derivative(1, 0)
    omega = layer.lambda_W * signal + C_W * ntk[:, :, None] * moments.derivative(2, 1)
    return CrossTangent(
        X=slope * cross.X,
        Y=C_W * np.einsum("ceg,abcg->abce", signal, cross.Y),
        W=slope * cross.W,
        Z=np.einsum("cdg,abcg->abcd", omega, cross.Y) + slope * cross.Z,
    )
