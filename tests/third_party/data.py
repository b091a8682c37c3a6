"""Small real batches of every form that the modules of the zoo take: wine and digits of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine
from tests.third_party.zoo import CLASSES, COLUMNS, TOKENS, VOCABULARY
from torch import Tensor, nn

#: Below it are the padding and special tokens of the language models.
FIRST_TOKEN = 3


def batch(kind: str, rows: int) -> tuple[Any, Tensor]:
    """Inputs of a kind, and one class a row; for ``"tokens"`` the next token at every position."""
    if kind in ("image", "tokens"):
        digits = load_digits()
        chosen = np.flatnonzero(digits.target < CLASSES)[:rows]
        images = torch.tensor(digits.images[chosen], dtype=torch.float32)
        if kind == "image":
            return (images[:, None] - 4.9) / 6.0, torch.tensor(digits.target[chosen])
        line = FIRST_TOKEN + images[:, 3].long()  # the fourth line of pixels, 0 to 16
        return line[:, :TOKENS], line[:, 1 : TOKENS + 1]
    wine = load_wine()
    chosen = np.linspace(0, len(wine.target) - 1, rows).astype(int)
    table = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)[chosen]
    x, y = table[:, :COLUMNS], torch.tensor(wine.target[chosen])
    if kind == "table":
        return x, y
    if kind == "mixed":
        numbers, rest = x[:, : COLUMNS // 2], x[:, COLUMNS // 2 :]
        return (numbers, torch.stack([_bins(rest[:, 0], 4), _bins(rest[:, 1], 5)], 1)), y
    tokens = FIRST_TOKEN + _bins(table[:, -TOKENS:], VOCABULARY - FIRST_TOKEN)
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}, y


def _bins(values: Tensor, count: int) -> Tensor:
    """Equal intervals from -2 to 2."""
    return ((values + 2) / 4 * count).long().clamp(0, count - 1)


def logits(module: nn.Module, x: Any) -> Tensor:
    """What a module answers, one row a class of ``y``'s."""
    found = module(**x) if isinstance(x, dict) else module(*x) if isinstance(x, tuple) else module(x)
    answer: Tensor = getattr(found, "logits", found)
    return answer.flatten(0, -2)
