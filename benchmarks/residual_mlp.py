"""A residual network that reads the digits."""

from __future__ import annotations

from torch import Tensor, nn


class ResidualMLP(nn.Module):
    """Pre-norm residual branches of two linear layers, torch's own layers and initialisation."""

    #: Names of the parameters that are read by the input alone, and of the head.
    embedding, readout = ("embed.",), "head."

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.embed = nn.Linear(64, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 64)."""
        h = self.embed(x)
        for branch in self.blocks:
            h = h + branch(h)
        return self.head(self.norm(h))

    def branches(self) -> list[nn.Module]:
        """Whose output is added to the stream."""
        return list(self.blocks)

    def last_norm(self) -> nn.Module:
        """What feeds the head."""
        return self.norm
