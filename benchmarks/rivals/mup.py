"""mup (2203.03466): its readout layer, base shapes, initialisers and optimisers."""

from __future__ import annotations

from collections.abc import Sequence

import mup
import torch
from rivals.method import Method, chain, linear_layers
from torch import nn
from training import Cell, Setting


class Mup(Method):
    """``mup`` at one base width, with PyTorch's default initialisation or He's.

    The base fixes what is held when the width changes: at the base width the method is PyTorch's default or He itself.
    """

    package = "mup"

    def __init__(self, base: int, he: bool = False) -> None:
        self.name = f"mup-he-{base}" if he else f"mup-{base}"
        self.base, self.he = base, he

    def model(self, cell: Cell, setting: Setting, seed: int) -> nn.Module:
        """See :class:`~rivals.method.Method`."""
        sigma = self.activation(cell)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = chain(cell, sigma, readout=mup.MuReadout)
            base, delta = (chain(cell, sigma, readout=mup.MuReadout, width=k * self.base) for k in (1, 2))
            mup.set_base_shapes(model, base, delta=delta)
            if self.he:
                torch.manual_seed(seed)
                for layer in linear_layers(model):
                    mup.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
        return model

    def optimizer(self, model: nn.Module, cell: Cell, setting: Setting, lr: float) -> torch.optim.Optimizer:
        """See :class:`~rivals.method.Method`."""
        return {"sgd": mup.MuSGD, "adam": mup.MuAdam}[setting.optimizer](model.parameters(), lr=lr)

    def forward_factors(self, layers: Sequence[nn.Linear]) -> list[tuple[float, float]]:
        """The readout divides its input by width / base width."""
        last = layers[-1]
        return [(1.0, 1.0)] * (len(layers) - 1) + [(last.output_mult / last.width_mult(), 1.0)]
