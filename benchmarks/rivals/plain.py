"""PyTorch's default initialisation, and He's: variance 2/fan_in for every weight, biases 0 (1502.01852)."""

from __future__ import annotations

import torch
from rivals.method import Method, chain, linear_layers
from torch import nn
from training import Cell, Setting


class Default(Method):
    """Layers as PyTorch makes them: uniform, variance 1/(3 fan_in), biases too."""

    name = "default"

    def model(self, cell: Cell, setting: Setting, seed: int) -> nn.Module:
        """See :class:`~rivals.method.Method`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return chain(cell, self.activation(cell))


class He(Default):
    """``nn.init.kaiming_normal_`` with the gain of relu in every layer, the usual loop over linear modules."""

    name = "he"

    def model(self, cell: Cell, setting: Setting, seed: int) -> nn.Module:
        """See :class:`~rivals.method.Method`."""
        model = super().model(cell, setting, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for layer in linear_layers(model):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        return model
