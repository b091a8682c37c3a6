"""The couplings that a plan advises for a chain: critical, and held above it where the kernel would decay.

At the critical point of the class K* = 0 (tanh, sin, erf) the kernel falls as 1/l: deep layers see ever smaller
preactivations, and the network becomes linear. Criticality is needed over the network's depth only, not over infinitely
many layers. So the kernel is held at a size K > 0 by

    C_W = K/<s s>_K,        C_b = 0,        chi_perp(K) = K <s' s'>_K/<s s>_K >= 1,        chi_parallel(K) < 1,

with K as large as it can be for differences between inputs (and gradients, on their way back) to grow by no more than
GROWTH from the first hidden layer to the last, and at most 1, the size that the first layer has in any case:

    prod_{l=1}^{L-2} chi_perp(K) <= GROWTH.

For an odd activation chi_perp = 1 + O(K^2) while the kernel itself is of order K, so that much is to be had for little
growth: tanh with 30 hidden layers keeps K = 0.4, where the critical kernel has fallen to 0.02. Other classes do not
decay and are critical.

A change of a layer, being no multiple of what it changes, grows on its way up as differences do: by sqrt(chi_perp) a
layer, relative to the kernel, which stays.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import torch

from repflow.activation import Activation
from repflow.criticality import critical
from repflow.criticality.points import K_STAR_ZERO
from repflow.expectation.pair_map import pair_map
from repflow.network import Network
from repflow.tuning import constants

Couplings: TypeAlias = Literal["held", "critical"]
COUPLINGS: tuple[Couplings, ...] = get_args(Couplings)
#: The kernel that the first layer makes where K* is 0.
_LARGEST = 1.0
_SMALLEST = 1e-6
_HALVINGS = 40


def held_kernel(activations: Sequence[Activation]) -> float | None:
    """K at which the kernels of hidden layers are held; None where they stay critical.

    Parameters
    ----------
    activations
        Of the hidden layers, L - 1 of them. All must be of the class K* = 0, or none is held.
    """
    if not activations or any(critical(one).universality_class != K_STAR_ZERO for one in set(activations)):
        return None
    steps = Counter(activations[:-1])  # the head comes after the last
    if any(_moments(one, _LARGEST)[2] >= 1.0 for one in set(activations)):
        return None  # not attracting: the kernel would run away from K
    if _growth(steps, _LARGEST) <= constants.GROWTH:
        return _LARGEST
    low, high = math.log(_SMALLEST), math.log(_LARGEST)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _growth(steps, math.exp(middle)) <= constants.GROWTH else (low, middle)
    return math.exp(low)


def held(network: Network, kernel: float | None) -> Network:
    """A critical network with the kernels of its hidden layers held at :func:`held_kernel`, or as it is where that is
    None.

    The head, whose size s sets, stays as it is.
    """
    if kernel is None:
        return network
    first, *hidden, head = network.layers
    signals = {one: _moments(one, kernel)[0] for one in set(network.activations)}
    layers = [replace(first, C_W=first.C_W * kernel / _LARGEST)]
    for layer in hidden:
        before = layers[-1].activation
        assert before is not None
        layers.append(replace(layer, C_W=kernel / signals[before], C_b=0.0))
    return Network((*layers, head))


def gains(activations: Sequence[Activation], kernel: float | None) -> list[float] | None:
    """How much a relative change of each hidden layer grows through its activation: sqrt(chi_perp); None without a held
    kernel.
    """
    if kernel is None:
        return None
    growth = {one: math.sqrt(_moments(one, kernel)[1]) for one in set(activations)}
    return [growth[one] for one in activations]


def gains_of(network: Network) -> list[float] | None:
    """The gains of a network that may be held: None where its couplings are others, as at criticality."""
    kernel = held_kernel(network.activations)
    if kernel is None:
        return None
    signals = {one: _moments(one, kernel)[0] for one in set(network.activations)}
    for before, layer in itertools.pairwise(network.layers[:-1]):
        assert before.activation is not None
        if not math.isclose(layer.C_W, kernel / signals[before.activation], rel_tol=1e-6):
            return None
    return gains(network.activations, kernel)


def _growth(steps: Mapping[Activation, int], kernel: float) -> float:
    """prod chi_perp."""
    return math.prod(_moments(one, kernel)[1] ** count for one, count in steps.items())


def _moments(activation: Activation, kernel: float) -> tuple[float, float, float]:
    """<s s>, chi_perp and chi_parallel at the C_W that holds the kernel."""
    maps = pair_map(activation, torch.tensor([[kernel]], dtype=torch.float64), derivatives=1, slope=True)
    assert maps.slope is not None
    assert maps.d_cross is not None
    signal = float(maps.mean)
    return signal, kernel * float(maps.slope) / signal, kernel * float(maps.d_cross) / signal
