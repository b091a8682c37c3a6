"""Learning-rate factors of every parameter group, and the scaling s, from theory alone.

Gradient descent. Hidden weights share the tangent kernel's largest eigenvalue equally, the head and biases have smaller
shares (constants.HEAD_SHARE, BIAS_SHARE): they and what has grown alike feed the constant mode, which sets the largest
stable rate and learns nothing. Two limits bound the rate of all groups together:

- the change of the hidden features in the first step. With kappa_k = rms(dz^(k))/rms(z^(k)) by layer k's own
  parameters,

      kappa^2 = sum_{l=1}^{L-1} (sum_{k<=l} kappa_k)^2

  is the constant KAPPA_SGD of the activation's universality class at lr = 1.0. The errors that it is taken with are
  those at f = 0 less their mean over the inputs: what is common to all inputs is fitted by the constant mode in a few
  steps and does not set the rate (nor do the outputs at initialisation, mostly common too). At criticality a change
  of layer k reaches the layers above at its relative size, so the inner sum is the total change of layer l (where the
  kernel is held above criticality, changes grow on their way: :mod:`repflow.tuning.couplings`). For equal
  kappa_k it is kappa_k L^(3/2)/sqrt(3), which reproduces the measured L^(-3/2) of plain ReLU networks (2305.07810); the
  plain sum of kappa_k drifts by two octaves from 3 to 30 layers.
- the edge of stability, 2 over the sharpness, times EDGE_LIMIT.

The scaling s in [0, 1] (Yaida 2210.04909; s = 0 the tangent limit, s = 1 maximal update) is the one for which kappa
reaches its value at EDGE_SHARE of the squared error's edge.

Cross-entropy. Its outputs have to go further than those of the squared error, by the margin (targets.LossScale): they
are taken as that margin times outputs which have to go as far. So the head's standard deviations are that much larger,
and the rest follows: the same change of the features, the same number of steps.

Adam. A step of a parameter is its sign times the rate, so the coherent change of a layer's preactivations by its
weights is rate n_in rms(s). All hidden layers change by the same relative amount d with d^2 (1^2 + ... + (L-1)^2) =
KAPPA_ADAM^2, the same measure as above; the head changes the outputs by HEAD_STEP KAPPA_ADAM/L of the size that they
have to reach. With cross-entropy all steps are smaller by margin^MARGIN_POWER.

What was tried and discarded is in docs/tuning-rates.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.criticality.points import HALF_STABLE, SCALE_INVARIANT
from repflow.network import Network
from repflow.tuning import constants
from repflow.tuning.outputs import sharpness_factor
from repflow.tuning.tangent import LayerKernels, gradient_sizes, hidden_changes, largest_eigenvalue
from repflow.tuning.targets import LossScale


@dataclass(frozen=True)
class GroupRate:
    """Weights or biases of one layer.

    Attributes
    ----------
    sgd, adam
        Learning rate at lr = 1.0.
    gradient
        Predicted root mean square of one parameter's gradient at the start.
    trace, eigenvalue
        Share of the tangent kernel's trace, and of the sum over groups of the largest eigenvalues.
    step
        Relative change of the layer by a coherent step of Adam at lr = 1.0; of the targets' size for the head.
    """

    sgd: float
    adam: float
    gradient: float
    trace: float
    eigenvalue: float
    step: float = 0.0


@dataclass(frozen=True)
class Aims:
    """What lr = 1.0 should reach.

    Attributes
    ----------
    sgd, adam
        kappa at the best rate of SGD and of Adam.
    edge_share
        Share of the largest stable rate at which kappa should be ``sgd``: it fixes s.
    """

    sgd: float = constants.KAPPA_SGD
    adam: float = constants.KAPPA_ADAM
    edge_share: float = constants.EDGE_SHARE


@dataclass(frozen=True)
class Rates:
    """Factors of all groups and the limits that set them.

    Attributes
    ----------
    weights, biases
        One :class:`GroupRate` a layer; biases None where the layer has none.
    scaling
        s.
    kappa
        The first step's relative change of the hidden features at lr = 1.0 (SGD), as defined above.
    edge
        The edge of stability in units of lr, with the spread of several outputs' kernels at this width.
    binding
        ``"features"`` or ``"stability"``: which limit sets lr = 1.0.
    """

    weights: tuple[GroupRate, ...]
    biases: tuple[GroupRate | None, ...]
    scaling: float
    kappa: float
    edge: float
    binding: str


def rates(
    network: Network,
    kernels: list[LayerKernels],
    trainable: list[tuple[bool, bool]],
    errors: Tensor,
    loss: LossScale,
    scaling: float | None,
    aims: Aims,
    gains: Sequence[float] | None = None,
) -> Rates:
    """The learning rates of every group.

    Parameters
    ----------
    network
        Couplings before the head's factor n^-s, with the margin's square.
    kernels
        From :func:`repflow.tuning.tangent.layer_kernels`.
    trainable
        Whether each layer's weights and biases exist and learn.
    errors
        e_b . e_c at f = 0, shape (N, N).
    loss
        Scale of the loss's gradient and curvature.
    scaling
        s, or None to choose it.
    aims
        What the rates should reach.
    gains
        As in :func:`feature_change`.
    """
    rows = len(errors)
    lambdas = [
        _lambda(layer, learns, rows, _place(number, network.depth))
        for number, (layer, learns) in enumerate(zip(kernels, trainable, strict=True))
    ]
    total = torch.stack(
        [w * layer.weights + b * layer.biases for layer, (w, b) in zip(kernels, lambdas, strict=True)]
    ).sum(0)
    top = largest_eigenvalue(total) / rows
    lambdas = [(w / top, b / top) for w, b in lambdas]
    total = total / top
    widths = network.widths
    width = widths[-2] if network.depth > 1 else 1
    changes = hidden_changes(kernels, [w for w, _ in lambdas], [b for _, b in lambdas], centred(errors), widths)
    kappa_one = loss.gradient * feature_change(changes, gains)
    edge = 2.0 / loss.curvature
    if scaling is None:
        unbound = aims.sgd * loss.gradient / (loss.margin * kappa_one) if kappa_one > 0 else math.inf
        scaling = scaling_for(unbound, width, aims.edge_share)
    kappa = kappa_one * width ** (0.5 * (scaling - 1))
    rate, binding = bound_rate(kappa, aims.sgd, edge)
    # What the outputs have to reach: the errors at f = 0, times the margin.
    target = loss.margin * math.sqrt(float(errors.diagonal().mean()) / widths[-1])
    # The outputs at initialisation push too, most of all the constant mode, and are gone in a few steps: they belong to
    # the gradients' size, not to what sets the rate.
    at_start = errors + loss.outputs * kernels[-1].kernel * width**-scaling
    gradients = gradient_sizes(kernels, at_start, widths, scaling)
    trace = float(total.trace())
    weights, biases = [], []
    eigenvalues = [
        (w * largest_eigenvalue(layer.weights), b * largest_eigenvalue(layer.biases))
        for layer, (w, b) in zip(kernels, lambdas, strict=True)
    ]
    together = sum(w + b for w, b in eigenvalues)
    for number, (layer, (w, b)) in enumerate(zip(kernels, lambdas, strict=True)):
        factor = rate * (1.0 if number == network.depth - 1 else width**scaling)
        step = _adam_step(number, network.depth, aims.adam, gains) * loss.margin**-constants.MARGIN_POWER
        adam = _adam(network, kernels, number, step, target)
        weights.append(
            GroupRate(
                factor * w / widths[number],
                adam[0],
                loss.gradient * gradients[number][0],
                w * float(layer.weights.trace()) / trace,
                eigenvalues[number][0] / together,
                step,
            )
        )
        biases.append(
            GroupRate(
                factor * b,
                adam[1],
                loss.gradient * gradients[number][1],
                b * float(layer.biases.trace()) / trace,
                eigenvalues[number][1] / together,
                constants.BIAS_STEP * step,
            )
            if trainable[number][1]
            else None
        )
    # The rate rests on the kernel of infinite width, since its constants were tuned with that; the edge that is
    # reported is that of the network at its width.
    edge /= sharpness_factor(network, kernels, [w for w, _ in lambdas], [b for _, b in lambdas])
    return Rates(tuple(weights), tuple(biases), scaling, kappa * rate, edge / rate, binding)


def feature_change(changes: list[float], gains: Sequence[float] | None = None) -> float:
    """kappa: the root of the sum over hidden layers of the squared total change, that of the layer and all below it.

        kappa^2 = sum_{l=1}^{L-1} (sum_{k<=l} g_k ... g_l kappa_k)^2,

    with kappa_k = rms(dz^(k))/rms(z^(k)) by layer k's own parameters, and g_l the relative change of what layer l
    passes on, over that of its preactivations. At criticality a change of layer k reaches layer l at its relative
    size: all gains are 1, as they are without ``gains``. The changes of one step are coherent.
    """
    total, square = 0.0, 0.0
    for change, gain in zip(changes, gains or [1.0] * len(changes), strict=True):
        total = gain * (total + change)
        square += total**2
    return math.sqrt(square)


def _place(number: int, depth: int) -> str:
    """``"head"``, ``"input"`` or ``"hidden"``; a network of one layer is a head."""
    return "head" if number == depth - 1 else "input" if number == 0 else "hidden"


def _lambda(layer: LayerKernels, learns: tuple[bool, bool], rows: int, place: str) -> tuple[float, float]:
    """The group's share of N over its largest eigenvalue, for weights and biases; 0 for what does not learn."""
    weights, biases = largest_eigenvalue(layer.weights), largest_eigenvalue(layer.biases)
    share = constants.HEAD_SHARE if place == "head" else 1.0
    return (
        share * rows / weights if learns[0] and weights > 0 else 0.0,
        constants.BIAS_SHARE * rows / biases if learns[1] and biases > 0 else 0.0,
    )


def centred(products: Tensor) -> Tensor:
    """Products e_b . e_c of vectors less their mean."""
    return products - products.mean(0) - products.mean(1)[:, None] + products.mean()


def aims_for(classes: Collection[str], held: int = 0) -> Aims:
    """The aims of a network.

    kappa of SGD is the smallest over universality classes, that of scale-invariant ones without any; networks whose
    kernels are held (:mod:`repflow.tuning.couplings`) have aims of their own, by the number of ``held`` layers: in
    shallow ones the root mean square over layers of their total change, kappa/sqrt(L - 1), is what one step can bear.
    """
    if held:
        share = min(1.0, constants.LAYER_CHANGE_HELD * math.sqrt(held) / constants.KAPPA_SGD_HELD)
        return Aims(share * constants.KAPPA_SGD_HELD, constants.KAPPA_ADAM_HELD, share * constants.EDGE_SHARE_HELD)
    values = {SCALE_INVARIANT: constants.KAPPA_SGD, HALF_STABLE: constants.KAPPA_SGD_HALF_STABLE}
    sgd = min((values.get(name, constants.KAPPA_SGD_K_STAR_ZERO) for name in classes), default=constants.KAPPA_SGD)
    return Aims(sgd, constants.KAPPA_ADAM, constants.EDGE_SHARE)


def bound_rate(kappa: float, best: float, edge: float) -> tuple[float, str]:
    """SGD's rate and the limit that sets it.

    Parameters
    ----------
    kappa
        Change of the features at rate 1; 0 without hidden layers that learn.
    best
        Change of the features at the best rate.
    edge
        Of stability, of the kernel that the rate rests on.
    """
    if kappa == 0:  # half the edge damps the stiffest direction at once
        return 0.5 * edge, "stability"
    rate, bound = best / kappa, constants.EDGE_LIMIT * edge
    return (rate, "features") if rate <= bound else (bound, "stability")


def scaling_for(best: float, width: int, edge_share: float) -> float:
    """s in [0, 1] for which kappa is best at a share of the squared error's edge; ``best`` is that rate at s = 1."""
    if width < 2 or best == math.inf:
        return 1.0
    return min(1.0, max(0.0, 1.0 + 2.0 * math.log(best / (2.0 * edge_share)) / math.log(width)))


def _adam_step(number: int, depth: int, kappa: float, gains: Sequence[float] | None) -> float:
    """Relative change of a layer by its weights in one step of Adam at lr = 1.0."""
    if number == depth - 1:
        return constants.HEAD_STEP * kappa / depth
    # Equal changes of one unit in every hidden layer are worth kappa = sqrt(1^2 + ... + (L - 1)^2).
    return kappa / feature_change([1.0] * (depth - 1), gains)


def _adam(
    network: Network, kernels: list[LayerKernels], number: int, step: float, target: float
) -> tuple[float, float]:
    """Adam's rates of a layer's weights and biases at lr = 1.0; ``target`` is the size that the outputs have to
    reach.
    """
    layer = kernels[number]
    signal = math.sqrt(max(float(layer.signal.diagonal().mean()), 1e-300))
    size = math.sqrt(max(float(layer.kernel.diagonal().mean()), 1e-300))
    if number == network.depth - 1:
        size = target
    return step * size / (network.widths[number] * signal), constants.BIAS_STEP * step * size
