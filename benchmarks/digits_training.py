"""One model on the digits, by cross-entropy: 200 steps of batch 100, as a user would write it."""

from __future__ import annotations

import math

import torch
from torch import nn
from training import dataset

STEPS, BATCH = 200, 100
#: A run ends when its loss exceeds this, and counts as infinite.
DIVERGED = 10 * math.log(10)


def train_on_digits(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> float:
    """Cross-entropy over all data after training; infinite where it diverged. ``seed`` is that of the data's order."""
    x, y = dataset("digits")
    order = torch.Generator().manual_seed(10_000 + seed)
    for _ in range(STEPS):
        rows = torch.randperm(len(x), generator=order)[:BATCH]
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        if not float(loss.detach()) < DIVERGED:
            return math.inf
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        outputs = torch.cat([model(part) for part in x.split(300)])
        final = float(nn.functional.cross_entropy(outputs, y))
    return final if final < DIVERGED else math.inf
