"""Training of many networks of one shape together: a layer of all of them is one batched matrix product.

Each network has its own draw, its own rates and its own order of the data, as if it had been trained alone by
``torch.optim``; what comes out differs by rounding only. For networks of some tens of neurons this is many times faster
than one after another, where the time goes into calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from repflow.training.losses import LOSSES, loss_of
from repflow.training.steps import OPTIMIZERS, Adam, GradientDescent

Sigma = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TrainedNetworks:
    """R networks after training.

    Attributes
    ----------
    parameters
        Weights and biases of layers 1..L in turn, each a stack (R, n_l, n_{l-1}) or (R, n_l).
    losses
        On the batch of each step, before it; shape (steps, R).
    """

    parameters: tuple[Tensor, ...]
    losses: Tensor


def stack(models: Sequence[nn.Module]) -> tuple[Tensor, ...]:
    """The parameters of several models of one shape, each name a stack (R, ...), in the models' order."""
    if not models:
        raise ValueError("models must hold at least one model")
    held = [[parameter.detach().clone() for parameter in model.parameters()] for model in models]
    shapes = [[tuple(parameter.shape) for parameter in parameters] for parameters in held]
    if any(other != shapes[0] for other in shapes):
        raise ValueError("models must have parameters of the same shapes")
    return tuple(torch.stack(parts) for parts in zip(*held, strict=True))


def outputs(parameters: Sequence[Tensor], sigma: Sigma, x: Tensor) -> Tensor:
    """What networks of linear layers with biases give, shape (R, B, n_L).

    Parameters
    ----------
    parameters
        As in :class:`TrainedNetworks`.
    sigma
        The activation of every hidden layer.
    x
        Shape (R, B, n_0), or (B, n_0) for all networks.
    """
    signal = x.expand(len(parameters[0]), *x.shape[-2:])
    for number in range(0, len(parameters), 2):
        if number:
            signal = sigma(signal)
        weights, biases = parameters[number], parameters[number + 1]
        signal = torch.baddbmm(biases[:, None, :], signal, weights.transpose(1, 2))
    return signal


def train(
    parameters: Sequence[Tensor],
    sigma: Sigma,
    rates: Tensor,
    x: Tensor,
    targets: Tensor,
    *,
    seeds: Sequence[int],
    steps: int,
    batch: int,
    optimizer: str = "sgd",
    loss: str = "mse",
    momentum: float = 0.0,
    eps: Tensor | None = None,
    told: Callable[[int], None] | None = None,
) -> TrainedNetworks:
    """Train R networks of linear layers with biases and one activation.

    Parameters
    ----------
    parameters
        Initial weights and biases, as :func:`stack` makes them; left as they are.
    sigma
        The activation of every hidden layer.
    rates
        Learning rate of each network and parameter, shape (R, 2 L).
    x, targets
        Shape (N, n_0) and (N, n_L).
    seeds
        One a network: of the order in which it sees the data. Networks of equal seeds see the same batches: the first
        ``batch`` entries of a permutation drawn anew for each step.
    steps, batch
        Steps, and rows in each.
    optimizer, loss, momentum
        ``"sgd"`` or ``"adam"``; one of LOSSES; of SGD.
    eps
        Of Adam, shape (R, 2 L); 1e-8 unless given.
    told
        Called with the number of each step.

    Raises
    ------
    ValueError
        A name is unknown, or a shape or a number is not as above.
    """
    count = len(parameters[0])
    _check(parameters, rates, x, targets, seeds, steps, batch, optimizer, loss, momentum)
    held = [parameter.clone().requires_grad_() for parameter in parameters]
    stepper = _stepper(held, rates, optimizer, momentum, eps)
    generators = {seed: torch.Generator().manual_seed(seed) for seed in dict.fromkeys(seeds)}
    losses = torch.empty(steps, count, dtype=x.dtype)
    for number in range(steps):
        drawn = {seed: torch.randperm(len(x), generator=generator)[:batch] for seed, generator in generators.items()}
        rows = torch.stack([drawn[seed] for seed in seeds])
        found = loss_of(loss, outputs(held, sigma, x[rows]), targets[rows])
        losses[number] = found.detach()
        stepper.step(torch.autograd.grad(found.sum(), held))
        if told is not None:
            told(number + 1)
    return TrainedNetworks(tuple(parameter.detach() for parameter in held), losses)


def _check(
    parameters: Sequence[Tensor],
    rates: Tensor,
    x: Tensor,
    targets: Tensor,
    seeds: Sequence[int],
    steps: int,
    batch: int,
    optimizer: str,
    loss: str,
    momentum: float,
) -> None:
    count = len(parameters[0])
    if len(parameters) % 2 or any(w.ndim != 3 or b.ndim != 2 for w, b in zip(parameters[::2], parameters[1::2])):
        raise ValueError("parameters must be weights (R, n_l, n_{l-1}) and biases (R, n_l) in turn")
    if tuple(rates.shape) != (count, len(parameters)):
        raise ValueError(f"rates must have shape {(count, len(parameters))}, got {tuple(rates.shape)}")
    if len(seeds) != count:
        raise ValueError(f"seeds must hold one for each of {count} networks, got {len(seeds)}")
    if len(x) != len(targets):
        raise ValueError(f"targets must have a row for each of the {len(x)} rows of x, got {len(targets)}")
    if not (steps >= 1 and 1 <= batch <= len(x)):
        raise ValueError(f"steps must be 1 or more, and batch from 1 to {len(x)}, got {steps} and {batch}")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    if not 0 <= momentum < 1 or (momentum and optimizer != "sgd"):
        raise ValueError(f"momentum must lie in [0, 1), and be 0 for Adam, got {momentum!r}")


def _stepper(
    held: list[Tensor], rates: Tensor, optimizer: str, momentum: float, eps: Tensor | None
) -> GradientDescent | Adam:
    def columns(matrix: Tensor) -> list[Tensor]:
        return [
            matrix[:, number].to(parameter.dtype).view(-1, *[1] * (parameter.ndim - 1))
            for number, parameter in enumerate(held)
        ]

    if optimizer == "sgd":
        return GradientDescent(held, columns(rates), momentum)
    return Adam(held, columns(rates), columns(torch.full_like(rates, 1e-8) if eps is None else eps))
