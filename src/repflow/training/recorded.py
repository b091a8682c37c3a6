"""A module trained on its full batch by any ``torch.optim`` optimiser, loss and accuracy recorded at every step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from repflow.training.memorisation import Curves, fitted


def train_recorded(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    targets: Tensor,
    stop: Callable[[float, float], bool] = lambda loss, accuracy: accuracy == 1.0,
    at_most: int = 10_000,
) -> Curves:
    """Train in place on (1/2N) sum |f - y|^2 until the run may end.

    Parameters
    ----------
    model
        Maps (N, n_0) to (N, n_L).
    optimizer
        Of the model's parameters, for example ``torch.optim.SGD(plan.param_groups(model, lr))``.
    x, targets
        Shape (N, n_0) and (N, n_L).
    stop
        Of loss and accuracy, before every step: whether the run ends.
    at_most
        Steps.

    Returns
    -------
    Curves
        The last entry belongs to the model as it is left. Where the loss is no longer finite the run ends.

    Raises
    ------
    ValueError
        The targets' shape is not that of the outputs.
    """
    labels = targets.double().numpy()
    losses, accuracies = [], []
    for step in range(at_most + 1):
        outputs = model(x)
        if outputs.shape != targets.shape:
            raise ValueError(f"targets has shape {tuple(targets.shape)}, the outputs {tuple(outputs.shape)}")
        loss = 0.5 * ((outputs - targets) ** 2).sum() / len(x)
        losses.append(loss.item())
        accuracies.append(fitted(outputs.detach().double().numpy(), labels))
        if step == at_most or not np.isfinite(losses[-1]) or stop(losses[-1], accuracies[-1]):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Curves(np.array(losses), np.array(accuracies))
