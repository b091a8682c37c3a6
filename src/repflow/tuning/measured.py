"""The rule of :mod:`repflow.tuning.rates` in measured form: learning rates of any module, from draws of it on the data.

What theory gives for a chain is measured here on functional copies, averaged over draws of the initialisation:

- Theta_g, each tensor's part of the tangent kernel, hence its largest eigenvalue and the edge of stability;
- kappa, the relative change of the last features in the joint first step. For a chain at criticality the contributions
  of layers k and m overlap as min(L - k, L - m), which sums to kappa^2 = sum_l (sum_{k<=l} kappa_k)^2, the formula of
  the chain; a residual branch's change counts relative to its stream by itself, and norms, pooling and attention count
  for what they do;
- under Adam, R: the same change when every hidden weight steps until its own module's output has changed by its own
  size. All of them step by d = KAPPA_ADAM/R (for a chain R = sqrt(1^2 + ... + (L-1)^2)). A coherent step of size one
  changes an output entry by sqrt(m) |dz/dW|_2, with m the entries of W that it depends on: n_in rms(s) for a linear
  layer. Tensors of one axis take BIAS_STEP of d, the head HEAD_STEP KAPPA_ADAM/L of the size that the outputs have to
  reach, with L the depth of the chain of the same R.

The head's variance carries n^-s and every factor before it n^s; this is exact for whatever is linear in its last
weights, so that one set of draws at s = 1 serves all s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.empirical.call import Call
from repflow.empirical.draw import Draw, Pull, gradients, measure_draw
from repflow.empirical.response import Features, response
from repflow.empirical.sharpness import largest_tangent_eigenvalue
from repflow.empirical.twin import Parameters, Twin
from repflow.tuning import constants
from repflow.tuning.initial import Anatomy
from repflow.tuning.parameters import root_mean_square
from repflow.tuning.rates import Aims, GroupRate, bound_rate, scaling_for
from repflow.tuning.tangent import largest_eigenvalue
from repflow.tuning.targets import LossScale
from repflow.tuning.vectors import Outputs

#: Draws over which the sharpness of all outputs is averaged: it differs by a few per cent between them.
EDGE_DRAWS = 3


@dataclass(frozen=True)
class MeasuredRates:
    """Rates of all tensors and the limits that set them.

    Attributes
    ----------
    groups
        By tensor name; only those that learn.
    scaling, kappa, edge, binding
        As in :class:`repflow.tuning.rates.Rates`.
    depth
        L of the chain whose features answer as strongly to unit changes of all its layers.
    failures
        What could not be measured, and why.
    """

    groups: dict[str, GroupRate]
    scaling: float
    kappa: float
    edge: float
    binding: str
    depth: float
    failures: dict[str, str]


def measured_rates(
    twin: Twin,
    call: Call,
    anatomy: Anatomy,
    initialize: Callable[[torch.Generator], Parameters],
    outputs: Outputs,
    loss: LossScale,
    scaling: float | None,
    initial_scaling: float,
    draws: int,
    aims: Aims,
    carried: float = 1.0,
    kept: frozenset[str] = frozenset(),
) -> MeasuredRates:
    """The learning rates of every tensor that learns.

    Parameters
    ----------
    twin, call
        The module and the data.
    anatomy
        Its build.
    initialize
        Draws parameters with the head's variance over n^``initial_scaling``, times ``carried`` squared.
    outputs
        How the module's outputs are read: the errors at f = 0, their size, the axis of the n_L values.
    loss
        Scale of the loss's gradient and curvature.
    scaling
        s, or None to choose it.
    draws
        Of the initialisation.
    aims
        What the rates should reach.
    carried
        The part of the loss's margin that the head's size at the draws has; the rest is left to the features.
    kept
        Tensors whose values are kept: under Adam they step relative to their own size.
    """
    features = Features(anatomy.head)
    head = anatomy.head_tensors()
    hidden = [name for name in anatomy.learns if name not in head and twin.parameters[name].ndim > 1]
    found = [
        measure_draw(
            twin, _learning(initialize(_seeded(i)), anatomy), call, anatomy.sites, features, outputs.pull,
            _seeded(1_000 + i), stepping=sorted(hidden), axis=outputs.axis,
        )
        for i in range(draws)
    ]  # fmt: skip
    names = [name for name in twin.parameters if name in anatomy.learns]
    kernels = {name: torch.stack([_kernel(draw, name) for draw in found]).mean(0) for name in names}
    width = _head_width(anatomy, twin.parameters)
    # The draws' n^-s in every kernel before the head is in lambda already: a rate at another s is n^(s - s') times it.
    lambdas, total, tops = _shares(names, kernels, twin.parameters, head, call.rows)
    first = _joint_response(twin, call, anatomy, initialize, outputs.pull, lambdas, features, draws, outputs.axis)
    kappa_one = loss.gradient * first * width ** (0.5 * (1 - initial_scaling))
    edge = 2.0 / loss.curvature
    if scaling is None:
        unbound = aims.sgd * loss.gradient / (carried * kappa_one) if kappa_one > 0 else math.inf
        scaling = scaling_for(unbound, width, aims.edge_share)
    kappa = kappa_one * width ** (0.5 * (scaling - 1))
    rate, binding = bound_rate(kappa, aims.sgd * carried / loss.margin, edge)
    # The rate rests on the mean output's kernel, as for a chain; the edge that is reported, on all outputs together.
    largest = _all_outputs(twin, call, anatomy, initialize, lambdas, max(1, min(draws // 2, EDGE_DRAWS)))
    edge *= outputs.places / (largest or outputs.places)
    # Without a hidden weight that learns, what is left steps as it would before a single one.
    unit = math.sqrt(sum(draw.unit_response**2 for draw in found) / draws) or 1.0
    depth = equivalent_depth(unit)
    calm = loss.margin**-constants.MARGIN_POWER
    steps = (
        aims.adam * calm / unit,
        constants.HEAD_STEP * aims.adam / depth * calm,
    )
    adams = _adam(names, found, anatomy, twin.parameters, head, steps, outputs.size * loss.margin, kept)
    trace = float(total.trace()) or 1.0
    together = sum(lambdas[name] * tops[name] for name in names) or 1.0
    groups = {}
    for name in names:
        factor = rate * (1.0 if name in head else width ** (scaling - initial_scaling))
        shrink = 1.0 if name in head else width ** (0.5 * (initial_scaling - scaling))
        gradient = math.sqrt(sum(draw.tensors[name].gradient ** 2 for draw in found) / draws)
        adam, relative = adams[name]
        groups[name] = GroupRate(
            factor * lambdas[name],
            adam,
            loss.gradient * gradient * shrink,
            lambdas[name] * float(kernels[name].trace()) / trace,
            lambdas[name] * tops[name] / together,
            relative,
        )
    failures = {path: why for draw in found for path, why in draw.failures.items()}
    return MeasuredRates(groups, scaling, kappa * rate, edge / rate, binding, depth, failures)


def equivalent_depth(response_: float) -> float:
    """L of the chain with sqrt(1^2 + ... + (L - 1)^2) equal to a response; 1 for 0."""
    if response_ <= 0:
        return 1.0
    # M (M + 1)(2 M + 1)/6 = response^2 for M = L - 1, by Newton's method from its leading term.
    m = max((3 * response_**2) ** (1 / 3), 1e-3)
    for _ in range(50):
        value = m * (m + 1) * (2 * m + 1) / 6 - response_**2
        m = max(m - value / (m * m + m + 1 / 6), 1e-6)
    return 1 + m


def _shares(
    names: list[str], kernels: Mapping[str, Tensor], parameters: Parameters, head: set[str], rows: int
) -> tuple[dict[str, float], Tensor, dict[str, float]]:
    """lambda of each tensor, for which the sum's largest eigenvalue over N is 1; that sum; each one's own largest."""
    tops = {name: max(largest_eigenvalue(kernels[name]), 0.0) for name in names}
    strongest = max(tops.values(), default=0.0)
    lambdas = {}
    for name in names:
        vector = parameters[name].ndim < 2
        share = constants.BIAS_SHARE if vector else constants.HEAD_SHARE if name in head else 1.0
        lambdas[name] = share * rows / tops[name] if tops[name] > 1e-12 * strongest else 0.0
    total = sum((lambdas[name] * kernels[name] for name in names), start=torch.zeros(rows, rows, dtype=torch.float64))
    top = largest_eigenvalue(total) / rows
    if top <= 0:
        return lambdas, total, tops
    return {name: value / top for name, value in lambdas.items()}, total / top, tops


def _joint_response(
    twin: Twin,
    call: Call,
    anatomy: Anatomy,
    initialize: Callable[[torch.Generator], Parameters],
    pull: Pull,
    lambdas: Mapping[str, float],
    features: Features,
    draws: int,
    classes: int,
) -> float:
    """Relative change of the last features by the first step of all tensors before them, rms over draws.

    The errors are taken less their mean over rows and positions, as for a chain: the constant mode fits what is common
    to all in a few steps.
    """
    if features.path is None:
        return 0.0
    head = anatomy.head_tensors()
    squares = 0.0

    def centred(output: Tensor, generator: torch.Generator) -> Tensor:
        errors = pull(output, generator)
        positions = [axis % errors.ndim for axis in range(errors.ndim) if axis % errors.ndim != classes % errors.ndim]
        return errors - errors.mean(positions or [0], keepdim=True)

    for i in range(draws):
        parameters = _learning(initialize(_seeded(i)), anatomy)
        twin.batch_statistics(parameters, call)
        own, _, _ = gradients(twin, parameters, call, centred, _seeded(1_000 + i))
        direction = {name: -lambdas[name] * gradient for name, gradient in own.items() if name not in head}
        squares += response(twin, parameters, call, direction, features) ** 2
    return math.sqrt(squares / draws)


def _all_outputs(
    twin: Twin,
    call: Call,
    anatomy: Anatomy,
    initialize: Callable[[torch.Generator], Parameters],
    lambdas: Mapping[str, float],
    draws: int,
) -> float:
    """Largest eigenvalue of the tangent kernel of all outputs, rows and positions, mean over draws."""
    total = 0.0
    for i in range(draws):
        parameters = _learning(initialize(_seeded(i)), anatomy)
        twin.batch_statistics(parameters, call)
        total += largest_tangent_eigenvalue(twin, parameters, call, lambdas, _seeded(2_000 + i))
    return total / draws


def _adam(
    names: list[str],
    found: list[Draw],
    anatomy: Anatomy,
    parameters: Parameters,
    head: set[str],
    steps: tuple[float, float],
    target: float,
    kept: frozenset[str],
) -> dict[str, tuple[float, float]]:
    """Adam's rate of each tensor and the change of its module that it makes; ``steps`` of hidden ones, of the head."""
    result = {}
    for name in names:
        vector = parameters[name].ndim < 2
        relative = steps[1] if name in head else steps[0]
        relative *= constants.BIAS_STEP if vector and name not in kept else 1.0
        entries = [draw.tensors[name] for draw in found if not math.isnan(draw.tensors[name].row)]
        if entries and name not in kept:
            row = sum(entry.row for entry in entries) / len(entries)
            size = math.sqrt(sum(entry.size for entry in entries) / len(entries))
            # The head's step is relative to what the outputs have to reach, not to what they are.
            change = math.sqrt(anatomy.fan_in[name] * row) / (target if name in head else size)
        else:
            change = 1.0 / (root_mean_square(parameters[name]) or 1.0)
        result[name] = (relative / change if change > 0 else 0.0, relative)
    return result


def _head_width(anatomy: Anatomy, parameters: Parameters) -> int:
    site = anatomy.head_site
    return max((anatomy.fan_in[name] for name in anatomy.weights(site, parameters)), default=1) if site else 1


def _kernel(draw: Draw, name: str) -> Tensor:
    kernel = draw.tensors[name].kernel
    assert kernel is not None
    return kernel


def _learning(parameters: Parameters, anatomy: Anatomy) -> Parameters:
    return {name: tensor.detach().requires_grad_(name in anatomy.learns) for name, tensor in parameters.items()}


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
