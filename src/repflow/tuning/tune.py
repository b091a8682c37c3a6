"""``tune``: from a person's model and data to a plan, without touching the model."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from repflow.activation import Activation
from repflow.build import mlp
from repflow.criticality import Critical, critical
from repflow.expectation.pair_map import pair_map
from repflow.graph.chain import Chain, read_chain, rows_of
from repflow.graph.isolation import random_state_kept
from repflow.network import Layer, Network
from repflow.recursion.inputs import as_inputs
from repflow.tuning import constants
from repflow.tuning.fluctuation import relative_variance
from repflow.tuning.parameters import parameter_plans
from repflow.tuning.plan import TRUSTED, AspectRatio, Plan
from repflow.tuning.rates import rates
from repflow.tuning.tangent import layer_kernels
from repflow.tuning.targets import check_loss, error_products, loss_scale

_NO_BIAS = (
    "layers without biases cannot hold the critical C_b: C_W keeps the kernel's size, and directions decay faster"
)
_NO_ADAM_EDGE = (
    "max_learning_rate is None for Adam and AdamW: it is 2 over the sharpness, which bounds steps along the gradient, "
    "and theirs are along its signs"
)


def tune(model: nn.Module, x: Any, y: Any = None, scaling: float | None = None, loss: str = "mse") -> Plan:
    """Initialisation and learning rates for a model, from theory, with no training and no change to the model.

    Parameters
    ----------
    model
        A chain of linear and elementwise layers. Parameters, buffers, gradients, flags, hooks and the state of the
        random number generators stay as they are.
    x
        A batch of inputs, shape (N, ...), flattened to (N, n_0), or (..., n_0) where the model takes positions one by
        one; a tuple or dictionary that holds it is taken too. Up to 64 rows, evenly spaced, are looked at.
    y
        Their targets: class numbers (N,) or values (N, n_L); for one output, values (N,). Without them random balanced
        labels are assumed.
    scaling
        s in [0, 1], from the tangent limit to maximal update; None chooses it from the network and the data.
    loss
        ``"mse"`` is (1/2B) sum |f - y|^2, ``"mse_mean"`` is ``nn.MSELoss``, ``"cross_entropy"`` is
        ``nn.CrossEntropyLoss``.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError, TypeError
        The model is not a chain (the message names the step), or ``x``, ``y``, ``scaling`` or ``loss`` is not of the
        form above.

    Examples
    --------
    >>> plan = tune(model, x, y)                                    # doctest: +SKIP
    >>> plan.initialize_(model)                                     # doctest: +SKIP
    >>> optimizer = torch.optim.SGD(plan.param_groups(model))       # doctest: +SKIP
    """
    with random_state_kept():
        return _plan(model, x, y, scaling, loss)


def _plan(model: nn.Module, x: Any, y: Any, scaling: float | None, loss: str) -> Plan:
    number = isinstance(scaling, (int, float)) and not isinstance(scaling, bool)
    if scaling is not None and not (number and 0 <= scaling <= 1):
        raise ValueError(f"scaling must lie in [0, 1], or be None, got {scaling!r}")
    check_loss(loss)
    chain = read_chain(model)
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
    notes = list(chain.notes)
    network = _critical_network(chain, inputs, notes)
    kernels = layer_kernels(network, inputs)
    found = rates(network, kernels, learns, errors, scale, scaling)
    network = _with_head_factor(network, found.scaling)
    ratio = _aspect_ratio(network, inputs, chain)
    if ratio.relative_variance > TRUSTED:
        notes.append(
            f"r_L = {ratio.relative_variance:.2f} is above {TRUSTED}: initialisations differ much, and lr = 1.0 may be "
            "too high for some"
        )
    notes.append(_NO_ADAM_EDGE)
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


def _with_head_factor(network: Network, scaling: float) -> Network:
    """The head's variances over n^s."""
    if network.depth == 1:
        return network
    factor = network.widths[-2] ** -scaling
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
    optimum = 4.0 / ((20 + 3 * network.widths[-1]) * nu)
    return AspectRatio(value, optimum, variance, 1 + int(TRUSTED * width / nu))


def _correlation_length(chain: Chain) -> float | None:
    """The shortest correlation length of a compromise among the activations; None where all are critical."""
    lengths = [
        min(point.xi_parallel, point.xi_perpendicular)
        for point in _distinct_critical(chain).values()
        if point.universality_class == "none"
    ]
    return min(lengths) if lengths else None
