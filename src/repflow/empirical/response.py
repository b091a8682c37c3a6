"""How the last features of a module answer to a step of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.empirical.call import Call
from repflow.empirical.twin import Parameters, Passage, Twin

#: The relative change of the features that finite differences aim at, and how far they may miss it.
_AIM, _LOW, _HIGH = 1e-2, 1e-3, 5e-2
_TRIES = 6


@dataclass(frozen=True)
class Features:
    """Where the last features are read: the input of a call of a module, or the model's output.

    Attributes
    ----------
    path
        Of the module; None for the output.
    call
        Which of its calls, from 0.
    """

    path: str | None
    call: int = 0

    def read(self, output: Tensor, passages: list[Passage]) -> Tensor:
        """From a watched forward pass."""
        if self.path is None:
            return output
        found = [passage for passage in passages if passage.path == self.path][self.call].input
        assert found is not None
        return found


def response(
    twin: Twin, parameters: Parameters, call: Call, direction: Mapping[str, Tensor], features: Features
) -> float:
    """rms(dh)/rms(h), with dh the derivative of the features along a direction of all parameters at once.

    By central differences of a size that is found so that the features change by about a hundredth: it needs nothing
    of the module but its forward pass.

    Raises
    ------
    ValueError
        No step gives a finite change.
    """
    names = [name for name, step in direction.items() if bool(torch.count_nonzero(step))]
    if not names:
        return 0.0
    with torch.no_grad():
        base = features.read(*twin.watch(parameters, call)).double()
        size = float(base.square().mean().sqrt())
        if size == 0:
            return 0.0
        epsilon = min(1e-3 * (_rms(parameters[name]) or 1.0) / _rms(direction[name]) for name in names)
        for _ in range(_TRIES):
            ends = []
            for sign in (1, -1):
                moved = {
                    name: tensor + sign * epsilon * direction[name] if name in names else tensor
                    for name, tensor in parameters.items()
                }
                ends.append(features.read(*twin.watch(moved, call)).double())
            change = float(((ends[0] - ends[1]) / 2).square().mean().sqrt()) / size
            if not change < float("inf"):
                epsilon *= 1e-2
            elif _LOW <= change <= _HIGH:
                break
            elif change == 0:
                epsilon *= 100
            else:
                epsilon *= min(max(_AIM / change, 1e-3), 1e3)
        else:
            if not change < float("inf"):
                raise ValueError("model's features have no finite derivative by its parameters")
    return change / epsilon


def _rms(tensor: Tensor) -> float:
    return float(tensor.detach().double().square().mean().sqrt())
