"""From a network and a batch to the predicted change of every kernel: tensors, sums over steps, formulas."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.network import Network
from repflow.recursion import flow
from repflow.training.cross_tangent import CrossTangent, at_own_layer, next_cross_tangent
from repflow.training.prediction import hidden_change, ntk_change
from repflow.training.residuals import StepSums, step_sums
from repflow.training.slope_moments import SlopeMoments, slope_moments

FloatArray = NDArray[np.float64]

_TENSORS = ("kernel", "ntk", "B", "F", "P", "Q", "R", "S", "T", "U")


@dataclass(frozen=True)
class Tangents:
    """What the theory knows of a network on a batch, ready for any rate and number of steps.

    Attributes
    ----------
    kernels
        K of layers 1..L, shape (L, N, N).
    ntk
        Theta at the output, shape (N, N).
    ratio
        r_L = max_a V_aaaa/(n_{L-1} K_aa^2).
    hidden
        X, Y, W, Z between each hidden layer and the output.
    output
        P, Q, R, S, T, U of layer L.
    widths
        (n_0, ..., n_L).
    """

    kernels: FloatArray
    ntk: FloatArray
    ratio: float
    hidden: tuple[CrossTangent, ...]
    output: Any
    widths: tuple[int, ...]


def check_smooth(network: Network) -> None:
    """Raise ValueError where an activation has a kink: its dNTK at order 1/n needs second derivatives."""
    kinked = [activation.name for activation in network.activations if not activation.smooth]
    if kinked:
        raise ValueError(
            f"network has the activation {kinked[0]!r}, which has a kink: the change of kernels at order 1/n needs its "
            "second and third derivatives; gelu, silu or softplus are smooth"
        )


def tangents(network: Network, x: FloatArray, progress: bool | None = None) -> Tangents:
    """Compute the tensors of every layer and carry them to the output.

    Raises
    ------
    ValueError
        An activation has a kink.
    MemoryError
        The tensors of N^4 entries would not fit.
    """
    check_smooth(network)
    found = flow(network, x, order=1, tangent=True, progress=progress)
    layers = [SimpleNamespace(**{name: getattr(layer, name).cpu().numpy() for name in _TENSORS}) for layer in found]
    moments = [slope_moments(activation, found[l].kernel) for l, activation in enumerate(network.activations, start=1)]
    return Tangents(
        kernels=np.stack([layer.kernel for layer in layers]),
        ntk=layers[-1].ntk,
        ratio=found[-1].relative_fluctuation,
        hidden=tuple(_to_output(network, layers, moments, l) for l in range(1, network.depth)),
        output=layers[-1],
        widths=network.widths,
    )


def _to_output(network: Network, layers: list[Any], moments: list[SlopeMoments], l: int) -> CrossTangent:
    layer = network.layers[l - 1]
    cross = at_own_layer(layers[l - 1], layer.n_out / layer.n_in)
    for m in range(l, network.depth):
        cross = next_cross_tangent(cross, network.layers[m], layers[m - 1].ntk, moments[m - 1])
    return cross


@dataclass(frozen=True)
class PredictedChange:
    """The mean change of the kernels at order 1/n, with the widths put in.

    Attributes
    ----------
    kernels
        Of (1/n_l) sum_k z_k;a z_k;b in hidden layers l = 1..L-1, shape (L - 1, N, N).
    ntk
        Of (1/n_L) sum_i H_ii;ab at the output, shape (N, N).
    loss
        Mean loss before and after, at infinite width.
    """

    kernels: FloatArray
    ntk: FloatArray
    loss: tuple[float, float]


def predicted_change(
    given: Tangents, target_products: FloatArray, learning_rate: float, steps: int | None
) -> PredictedChange:
    """The change after ``steps`` steps of gradient descent on (1/2N) sum |f - y|^2.

    Parameters
    ----------
    given
        The tensors.
    target_products
        y_a . y_b, shape (N, N).
    learning_rate
        eta.
    steps
        Number of steps; None: to the end.

    Raises
    ------
    ValueError
        Training has no end; see :func:`repflow.training.residuals.step_sums`.
    """
    outputs, widths = given.widths[-1], given.widths
    covariance = outputs * given.kernels[-1] + target_products
    sums = step_sums(given.ntk, covariance, learning_rate, steps)
    size = given.kernels.shape[1:]
    kernels = [
        hidden_change(cross, sums, learning_rate, outputs, covariance) / widths[l]
        for l, cross in enumerate(given.hidden, start=1)
    ]
    last = ntk_change(given.output, sums, learning_rate, outputs, covariance) / widths[-2]
    return PredictedChange(np.stack(kernels) if kernels else np.empty((0, *size)), last, _losses(sums, covariance))


def _losses(sums: StepSums, covariance: FloatArray) -> tuple[float, float]:
    return 0.5 * float(np.trace(covariance)) / sums.size, 0.5 * sums.remaining(covariance) / sums.size
