"""dks (Deep Kernel Shaping, 2110.01765): transformed activations and orthogonal weights; it gives no rates."""

from __future__ import annotations

from functools import cache

import torch
from dks.pytorch.activation_transform import get_transformed_activations
from dks.pytorch.parameter_sampling_functions import scaled_uniform_orthogonal_
from rivals.method import Activation, Method, chain, linear_layers
from torch import nn
from training import Cell, Setting

_NAMES = {"tanh": "tanh", "gelu": "gelu_exact"}


@cache
def transformed(activation: str, hidden: int) -> Activation:
    """The activation of a chain of ``hidden`` activated layers, whose maximal slope function is the slope's power.

    The first call of a fresh installation computes 100,000 quadrature nodes, which the package keeps: some minutes.
    """
    name = _NAMES[activation]
    return get_transformed_activations([name], method="DKS", max_slope_func=lambda slope: slope**hidden)[name]


class Dks(Method):
    """``dks.pytorch`` with its defaults for tanh and gelu (it advises against relu).

    Inputs are the benchmark's own, standardised: the package's normalisation of every row is left out.
    """

    name = "dks"
    package = "dks"

    def takes(self, cell: Cell) -> bool:
        """See :class:`~rivals.method.Method`."""
        return cell.activation in _NAMES

    def activation(self, cell: Cell) -> Activation:
        """See :class:`~rivals.method.Method`."""
        return transformed(cell.activation, cell.hidden)

    def model(self, cell: Cell, setting: Setting, seed: int) -> nn.Module:
        """See :class:`~rivals.method.Method`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = chain(cell, self.activation(cell))
            for layer in linear_layers(model):
                # The function takes (inputs, outputs): the transpose of PyTorch's weight, written through the view.
                scaled_uniform_orthogonal_(layer.weight.data.t())
                nn.init.zeros_(layer.bias)
        return model
