"""The change of hidden kernels and of the NTK in training, predicted at order 1/n.

Along full-batch gradient descent on (1/2B) sum |f - y|^2 the preactivations of a hidden layer move by

    dz(T) = -eta sum_t h(t) eps(t) + (eta^2/2) sum_t z''[eps(t), eps(t)],   h(t) = h(0) - eta sum_{t' < t} dh[eps(t')]

and the NTK likewise with dH and ddH for h and dh. With eps(t) = M^t eps(0) this is exact at leading order: corrections
to M, and further derivatives, count at order 1/n^2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.training.cross_tangent import CrossTangent
from repflow.training.residuals import StepSums

FloatArray = NDArray[np.float64]


def hidden_change(
    cross: CrossTangent, sums: StepSums, learning_rate: float, outputs: int, covariance: FloatArray
) -> FloatArray:
    """n_l times the mean change of (1/n_l) sum_k z_k;a z_k;b in a hidden layer l, shape (N, N).

    With A = sum_t M^t/B, C2 = sum_{t,t'} E[eps(t) eps(t')^T] and C1 the same over t' < t, both summed over outputs,

        n_l E[Delta_ab] = eta^2 sum_cd X_abcd C2_cd + (J_ab + J_ba)
        J_ab = -eta n_L sum_ce Y_abce A_ce + eta^2 sum_cd (W_abcd C2_cd/2 + Z_abcd C1_cd)

    Parameters
    ----------
    cross
        Between layer l and the output.
    sums
        Of the steps.
    learning_rate
        eta.
    outputs
        n_L.
    covariance
        C = n_L K + sum_j y_j y_j^T, of f - y at initialisation, summed over outputs.
    """
    both, ordered = sums.of_pairs(covariance), sums.of_ordered_pairs(covariance)
    one_side = -learning_rate * outputs * np.einsum("abce,ce->ab", cross.Y, sums.of_outputs())
    one_side += learning_rate**2 * np.einsum("abcd,cd->ab", 0.5 * cross.W, both)
    one_side += learning_rate**2 * np.einsum("abcd,cd->ab", cross.Z, ordered)
    # z'' is symmetric in its two gradients: one half of all pairs of steps, equal steps included.
    square = learning_rate**2 * np.einsum("abcd,cd->ab", cross.X, both)
    return np.asarray(square + one_side + one_side.T)


def ntk_change(output: Any, sums: StepSums, learning_rate: float, outputs: int, covariance: FloatArray) -> FloatArray:
    """n_{L-1} times the mean change of (1/n_L) sum_i H_ii;12 at the output, shape (N, N).

    With A, C2, C1 as in :func:`hidden_change`, c2 = C2/n_L and c1 = C1/n_L of one output,

        n_{L-1} E[Delta_12] = J_12 + J_21
        J_12 = -eta sum_ae A_ae (P_12ae + n_L Q_12ae + Q_1a2e)
               + (eta^2/2) sum_ab [ C2_ab (R_12ab + S_12ab) + c2_ab (R_1ab2 + R_1b2a + T_1a2b + U_1b2a) ]
               + eta^2 sum_ab [ C1_ab T_12ab + c1_ab (S_1a2b + U_1ba2) ]

    which sums the neural indices of dH_{iij}, ddI_{iijk}, ddII_{iijk} and ddII_{ijik} (arguments 1, a, 2, b) over the
    outputs j, k. Axes of T_12ab: inputs of the first and third neuron, then of the second and fourth, and so on.

    Parameters
    ----------
    output
        With ``P``, ``Q``, ``R``, ``S``, ``T`` and ``U`` of layer L.
    sums, learning_rate, outputs, covariance
        As in :func:`hidden_change`.
    """
    P, Q, R, S, T, U = (getattr(output, name) for name in "PQRSTU")
    both, ordered = sums.of_pairs(covariance), sums.of_ordered_pairs(covariance)
    first = P + outputs * Q + np.einsum("xaye->xyae", Q)
    half = -learning_rate * np.einsum("xyae,ae->xy", first, sums.of_outputs())
    # The Hessian of H along two gradients is symmetric in them: one half of all pairs of steps, equal steps included.
    shared = R + S
    own = np.einsum("xaby->xyab", R) + np.einsum("xbya->xyab", R)
    own = own + np.einsum("xayb->xyab", T) + np.einsum("xbya->xyab", U)
    # The gradients themselves turn, by what was learnt in earlier steps.
    turned = np.einsum("xayb->xyab", S) + np.einsum("xbay->xyab", U)
    half += learning_rate**2 * np.einsum("xyab,ab->xy", 0.5 * shared + 0.5 * own / outputs, both)
    half += learning_rate**2 * np.einsum("xyab,ab->xy", T + turned / outputs, ordered)
    return np.asarray(half + half.T)
