"""Modules that several rooms test with."""

from __future__ import annotations

import dataclasses

from torch import nn


class Residual(nn.Module):
    """Pre-norm residual branches of two linear layers between an input layer and a head; ``expand`` times as wide inside."""

    def __init__(self, width=16, blocks=3, n_in=6, n_out=3, expand=1):
        super().__init__()
        inner = expand * width
        self.embed = nn.Linear(n_in, width)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))
            for _ in range(blocks)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, n_out)

    def forward(self, x):
        h = self.embed(x)
        for branch in self.branches:
            h = h + branch(h)
        return self.head(self.norm(h))


@dataclasses.dataclass
class Answer:
    """What the models of ``transformers`` return."""

    loss: object = None
    logits: object = None
