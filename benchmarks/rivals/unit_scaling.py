"""unit-scaling (u-muP, 2407.17465): its layers, activations, losses and optimisers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import torch
import unit_scaling as uu
import unit_scaling.functional as U  # noqa: N812, the package's own name for it
from rivals.method import Activation, Method, chain, one_hot
from torch import Tensor, nn
from training import Cell, Setting
from unit_scaling.core.functional import scale_elementwise

#: One over the standard deviations of sigma(u) and sigma'(u), u ~ N(0, 1), for activations that the package lacks: it
#: scales gelu so. Closed forms for relu, 61-point quadrature for tanh.
_SCALES = {"relu": ((2.0 / (1.0 - 1.0 / torch.pi)) ** 0.5, 2.0**0.5), "tanh": (1.5926, 1.4673)}


class UnitScaling(Method):
    """``unit_scaling``: weights N(0, 1), scales in the forward and the backward pass, u-muP's rates.

    With biases, as all methods have here (the package's layers leave them out unless asked).
    """

    name = "unit-scaling"
    package = "unit-scaling"
    guess: ClassVar[dict[str, int]] = {"sgd": -5, "adam": -3}

    def activation(self, cell: Cell) -> Activation:
        """See :class:`~rivals.method.Method`."""
        if cell.activation == "gelu":
            return U.gelu
        function = {"relu": torch.relu, "tanh": torch.tanh}[cell.activation]
        return scale_elementwise(function, *_SCALES[cell.activation], "to_output_scale")

    def model(self, cell: Cell, setting: Setting, seed: int) -> nn.Module:
        """See :class:`~rivals.method.Method`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            linear, readout = partial(uu.Linear, bias=True), partial(uu.LinearReadout, bias=True)
            return chain(cell, self.activation(cell), linear, readout)

    def optimizer(self, model: nn.Module, cell: Cell, setting: Setting, lr: float) -> torch.optim.Optimizer:
        """See :class:`~rivals.method.Method`."""
        return {"sgd": uu.optim.SGD, "adam": uu.optim.Adam}[setting.optimizer](model.parameters(), lr=lr)

    def loss(self, setting: Setting) -> Callable[[Tensor, Tensor], Tensor]:
        """The package's own losses, whose gradients are of order one."""
        if setting.loss == "cross_entropy":
            return U.cross_entropy
        return lambda outputs, labels: U.mse_loss(outputs, one_hot(outputs, labels))

    def forward_factors(self, layers: Sequence[nn.Linear]) -> list[tuple[float, float]]:
        """Hidden layers 1/sqrt(fan_in), the readout 1/fan_in, for the biases too."""
        scales = [layer.in_features**-0.5 for layer in layers[:-1]] + [1.0 / layers[-1].in_features]
        return [(scale, scale) for scale in scales]

    def gradient_factors(self, layers: Sequence[nn.Linear], setting: Setting) -> list[float]:
        """Weights' gradients are scaled by 1/sqrt(B), the readout's input gradient by 1/sqrt(n_out).

        The losses' own factors: 2/sqrt(8) on the sum over rows and outputs, k/sqrt(k - 1) on the sum over rows of
        cross-entropy.
        """
        batch, last = setting.batch, layers[-1]
        k = last.out_features
        outer = batch * (k / (k - 1) ** 0.5 if setting.loss == "cross_entropy" else 2.0 / 8.0**0.5)
        below = outer * last.in_features / k**0.5
        factors = [below * batch**-0.5 * layer.in_features**0.5 for layer in layers[:-1]]
        return [*factors, outer * batch**-0.5 * last.in_features]
