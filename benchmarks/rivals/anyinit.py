"""AnyInit: its initialisation; it gives no rates."""

from __future__ import annotations

import anyinit
import torch
from rivals.method import Method
from torch import nn
from training import ACTIVATIONS, Cell, Setting


class AnyInit(Method):
    """``anyinit.initialize`` in its default mode, analytic, on PyTorch's own layers."""

    name = "anyinit"
    package = "anyinit"

    def model(self, cell: Cell, setting: Setting, seed: int) -> nn.Module:
        """See :class:`~rivals.method.Method`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cell.model()  # its activations as modules, by which AnyInit knows them
        assert isinstance(model[1], ACTIVATIONS[cell.activation])
        anyinit.initialize(model, seed=seed)
        return model
