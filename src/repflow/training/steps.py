"""The optimisers' steps for stacks of parameters, each network and each parameter with its own rate."""

from __future__ import annotations

import torch
from torch import Tensor

#: Names that ``optimizer`` takes.
OPTIMIZERS = ("sgd", "adam")
_BETAS = (0.9, 0.999)


class GradientDescent:
    """p <- p - rate v, with v <- momentum v + g; as ``torch.optim.SGD``.

    Parameters
    ----------
    parameters
        Stacks (R, ...).
    rates
        One for each, broadcastable against it.
    momentum
        In [0, 1).
    """

    def __init__(self, parameters: list[Tensor], rates: list[Tensor], momentum: float = 0.0) -> None:
        self._parameters, self._rates, self._momentum = parameters, rates, momentum
        self._velocities = [torch.zeros_like(p) for p in parameters] if momentum else []

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """Move every parameter, in place."""
        for index, (parameter, rate, gradient) in enumerate(zip(self._parameters, self._rates, gradients, strict=True)):
            move = gradient
            if self._momentum:
                move = self._velocities[index].mul_(self._momentum).add_(gradient)
            parameter.sub_(rate * move)


class Adam:
    """p <- p - rate m/(sqrt(v) + eps), both averages without their bias; as ``torch.optim.Adam``.

    Parameters
    ----------
    parameters
        Stacks (R, ...).
    rates, eps
        One for each, broadcastable against it.
    """

    def __init__(self, parameters: list[Tensor], rates: list[Tensor], eps: list[Tensor]) -> None:
        self._parameters, self._rates, self._eps = parameters, rates, eps
        self._first = [torch.zeros_like(p) for p in parameters]
        self._second = [torch.zeros_like(p) for p in parameters]
        self._count = 0

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """Move every parameter, in place."""
        self._count += 1
        first, second = (1 - beta**self._count for beta in _BETAS)
        for parameter, rate, eps, gradient, m, v in zip(
            self._parameters, self._rates, self._eps, gradients, self._first, self._second, strict=True
        ):
            m.mul_(_BETAS[0]).add_(gradient, alpha=1 - _BETAS[0])
            v.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
            parameter.sub_(rate * (m / first) / ((v / second).sqrt_().add_(eps)))
