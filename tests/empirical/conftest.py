"""Modules of several kinds, small."""

import pytest
import torch
from tests.modules import Answer, Residual
from torch import nn


class Language(nn.Module):
    """Tokens and an optional mask in, a dataclass out; head and embedding may be tied."""

    def __init__(self, width=16, tied=False):
        super().__init__()
        self.tokens, self.places = nn.Embedding(20, width), nn.Embedding(8, width)
        self.block = nn.TransformerEncoderLayer(width, 2, 32, 0.1, batch_first=True, norm_first=True)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 20, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, ids, mask=None):
        h = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        h = self.block(h, src_key_padding_mask=None if mask is None else mask == 0)
        return Answer(None, self.head(self.norm(h)))


class Broken(nn.Module):
    """Its last layer does not fit."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


@pytest.fixture
def x():
    return torch.randn(20, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def ids():
    return torch.randint(20, (12, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def residual():
    torch.manual_seed(0)
    return Residual()


@pytest.fixture
def language():
    torch.manual_seed(0)
    return Language()


@pytest.fixture
def broken():
    torch.manual_seed(0)
    return Broken()
