"""``tune``: from a person's model and data to a plan, without touching the model."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from repflow.activation import Activation
from repflow.build import mlp
from repflow.criticality import Critical, critical, optimal_aspect_ratio
from repflow.expectation.pair_map import pair_map
from repflow.graph.chain import Chain, read_chain, rows_of
from repflow.isolation import random_state_kept
from repflow.network import Layer, Network
from repflow.recursion.inputs import as_inputs
from repflow.tuning import constants
from repflow.tuning.aspect_ratio import TRUSTED, AspectRatio
from repflow.tuning.couplings import COUPLINGS, Couplings, gains, held, held_kernel
from repflow.tuning.fluctuation import relative_variance
from repflow.tuning.modules import module_plan
from repflow.tuning.notes import above_the_edge, seeds_differ
from repflow.tuning.parameters import parameter_plans
from repflow.tuning.plan import Plan
from repflow.tuning.rates import aims_for, rates
from repflow.tuning.tangent import layer_kernels
from repflow.tuning.targets import check_loss, error_products, loss_scale
from repflow.tuning.wrapping import whole

_NO_BIAS = (
    "layers without biases cannot hold the critical C_b: C_W keeps the kernel's size, and directions decay faster"
)
_NO_ADAM_EDGE = (
    "max_learning_rate is None for Adam and AdamW: it is 2 over the sharpness, which bounds steps along the gradient, "
    "and theirs are along its signs"
)


_HELD = (
    "at criticality the kernel would decay with depth: C_W above it holds K = {kernel:.2g} in the hidden layers, with "
    "differences between inputs growing by no more than e"
)

#: Share of the inputs' mean square that their mean may have before a plan says so.
ALIKE = 0.9


def tune(
    model: nn.Module,
    x: Any,
    y: Any = None,
    scaling: float | None = None,
    loss: str = "mse",
    couplings: Couplings = "held",
) -> Plan:
    """Initialisation and learning rates for a model, with no training and no change to the model.

    From theory for a chain of linear and elementwise layers; any other module's are measured on draws of its
    initialisation, by the same rule (docs/architectures.md).

    Parameters
    ----------
    model
        Of any kind. Parameters, buffers, gradients, flags, hooks and the state of the random number generators stay as
        they are.
    x
        A batch of inputs, shape (N, ...), flattened to (N, n_0), or (..., n_0) where the model takes positions one by
        one; a tuple or dictionary that holds it is taken too. Up to 64 rows, evenly spaced, are looked at. For a model
        that is no chain the arguments of its forward pass: a tensor, a tuple, or a dictionary of keywords, whose
        entries may be None or integer tensors; up to 32 rows.
    y
        Their targets: class numbers (N,) or values (N, n_L); for one output, values (N,); for outputs at several
        positions one class number each. Without them random balanced labels are assumed.
    scaling
        s in [0, 1], from the tangent limit to maximal update; None chooses it from the network and the data.
    loss
        ``"mse"`` is (1/2B) sum |f - y|^2, ``"mse_mean"`` is ``nn.MSELoss``, ``"cross_entropy"`` is
        ``nn.CrossEntropyLoss``.
    couplings
        Of a chain whose activations all have K* = 0 (tanh, sin, erf): ``"held"`` keeps its kernel from decaying with
        depth, as far as that network's depth allows (:mod:`repflow.tuning.couplings`); ``"critical"`` are those of
        infinite depth. Any other network has critical ones.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError, TypeError
        The model fails on ``x`` (the message names the module), has nothing to train, or ``x``, ``y``, ``scaling``,
        ``loss`` or ``couplings`` is not of the form above.

    Examples
    --------
    >>> plan = tune(model, x, y)                                    # doctest: +SKIP
    >>> plan.initialize_(model)                                     # doctest: +SKIP
    >>> optimizer = torch.optim.SGD(plan.param_groups(model))       # doctest: +SKIP
    """
    with random_state_kept():
        return _plan(whole(model), x, y, scaling, loss, couplings)


def _plan(model: nn.Module, x: Any, y: Any, scaling: float | None, loss: str, couplings: Couplings) -> Plan:
    number = isinstance(scaling, (int, float)) and not isinstance(scaling, bool)
    if scaling is not None and not (number and 0 <= scaling <= 1):
        raise ValueError(f"scaling must lie in [0, 1], or be None, got {scaling!r}")
    check_loss(loss)
    if couplings not in COUPLINGS:
        raise ValueError(f"couplings must be one of {', '.join(COUPLINGS)}, got {couplings!r}")
    try:
        chain = read_chain(model)
    except ValueError as error:  # no chain, or nothing that symbolic tracing reads
        return module_plan(model, x, y, scaling, loss, str(error).removeprefix("module is not a chain: "))
    stray = _strays(model, chain)
    if stray:
        why = f"{stray[0]!r} is no weight or bias of a linear layer on the path to the output"
        return module_plan(model, x, y, scaling, loss, why)
    learns = _trainable(chain)
    if not any(map(any, learns)):
        raise ValueError("model has no trainable parameter: nothing can be tuned")
    outputs = chain.widths[-1]
    scale = loss_scale(loss, outputs)
    flat = rows_of(x, chain.widths[0])
    count = len(flat)
    rows = torch.linspace(0, count - 1, min(count, constants.ROWS), dtype=torch.float64).round().long()
    inputs = as_inputs(flat[rows.to(flat.device)], chain.widths[0], "cpu")
    if float((inputs**2).mean()) == 0:
        raise ValueError("x is zero everywhere: a network's response to it cannot be tuned")
    errors = error_products(y, rows, count, outputs, loss)
    notes = [*chain.notes, *common_part(inputs)]
    network = _critical_network(chain, inputs, notes)
    network = _with_head_factor(network, scale.margin**2)
    kernel = held_kernel(chain.activations) if couplings == "held" else None
    if kernel is not None:
        network = held(network, kernel)
        notes.append(_HELD.format(kernel=kernel))
    aims = aims_for(_classes(chain), held=0 if kernel is None else len(chain.activations))
    kernels = layer_kernels(network, inputs)
    found = rates(network, kernels, learns, errors, scale, scaling, aims, gains(chain.activations, kernel))
    network = _with_head_factor(network, network.widths[-2] ** -found.scaling)
    ratio = _aspect_ratio(network, inputs, chain)
    notes += [*seeds_differ(ratio.relative_variance), *above_the_edge(found.edge), _NO_ADAM_EDGE]
    return Plan(
        network=network,
        current=None if chain.on_meta else chain.network(),
        parameters=parameter_plans(model, chain, network, found, notes),
        scaling=found.scaling,
        chosen=scaling is not None,
        loss=loss,
        kappa=found.kappa,
        edge=found.edge,
        binding=found.binding,
        aspect_ratio=ratio,
        correlation_length=_correlation_length(chain),
        notes=tuple(notes),
    )


def _strays(model: nn.Module, chain: Chain) -> list[str]:
    """Names of parameters that learn and belong to no layer of the chain, such as the slope of a PReLU."""
    held = {id(parameter) for layer in chain.layers for parameter in layer.linear.parameters()}
    return [
        name for name, parameter in model.named_parameters() if parameter.requires_grad and id(parameter) not in held
    ]


def common_part(inputs: Tensor) -> list[str]:
    """A note where the inputs, rows of (N, n_0), hardly differ beside what they have in common."""
    common, size = float((inputs.mean(0) ** 2).sum()), float((inputs**2).sum(1).mean())
    if len(inputs) < 2 or size == 0 or common <= ALIKE * size:
        return []
    return [f"x: what all inputs have in common is {common / size:.0%} of their mean square; subtract the mean"]


def _trainable(chain: Chain) -> list[tuple[bool, bool]]:
    """Whether each layer's weights and biases learn."""
    return [
        (layer.linear.weight.requires_grad, layer.has_bias and layer.linear.bias.requires_grad)
        for layer in chain.layers
    ]


def _critical_network(chain: Chain, inputs: Tensor, notes: list[str]) -> Network:
    """Critical couplings on these inputs; layers without biases keep the kernel's size with their weights alone."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = mlp(chain.widths, list(chain.activations), init="critical", x=inputs)
    notes.extend(str(entry.message) for entry in caught)
    layers: list[Layer] = []
    size = float((inputs**2).mean())
    for planned, step in zip(network.layers, chain.layers, strict=True):
        signal = _signal(layers[-1], size) if layers else size
        size = planned.C_b + planned.C_W * signal
        layer = planned
        if not step.has_bias:
            layer = replace(planned, C_W=size / signal, C_b=0.0, lambda_b=0.0)
            if planned.C_b > 0 and _NO_BIAS not in notes:
                notes.append(_NO_BIAS)
        layers.append(layer)
    return Network(tuple(layers))


def _signal(layer: Layer, kernel: float) -> float:
    """<s s> of a layer's activation at one variance."""
    assert layer.activation is not None
    return float(pair_map(layer.activation, torch.tensor([[kernel]], dtype=torch.float64)).mean[0, 0])


def _with_head_factor(network: Network, factor: float) -> Network:
    """The head's variances times a factor; a network of one layer has no head to scale."""
    if network.depth == 1:
        return network
    head = network.layers[-1]
    return Network((*network.layers[:-1], replace(head, C_W=head.C_W * factor, C_b=head.C_b * factor)))


def _distinct_critical(chain: Chain) -> dict[Activation, Critical]:
    return {activation: critical(activation) for activation in dict.fromkeys(chain.activations)}


def _aspect_ratio(network: Network, inputs: Tensor, chain: Chain) -> AspectRatio:
    if network.depth == 1:
        return AspectRatio(0.0, None, 0.0, None)
    variance = float(relative_variance(network, inputs).mean())
    value = network.aspect_ratio
    nus = [point.nu for point in _distinct_critical(chain).values()]
    if any(nu is None for nu in nus):
        return AspectRatio(value, None, variance, None)
    nu = max(float(nu) for nu in nus if nu is not None)
    width = (network.depth - 1) / value
    optimum = optimal_aspect_ratio(nu, network.widths[-1])
    return AspectRatio(value, optimum, variance, 1 + int(TRUSTED * width / nu))


def _classes(chain: Chain) -> set[str]:
    """Universality classes of the activations."""
    return {point.universality_class for point in _distinct_critical(chain).values()}


def _correlation_length(chain: Chain) -> float | None:
    """The shortest correlation length of a compromise among the activations; None where all are critical."""
    lengths = [
        min(point.xi_parallel, point.xi_perpendicular)
        for point in _distinct_critical(chain).values()
        if point.universality_class == "none"
    ]
    return min(lengths) if lengths else None
