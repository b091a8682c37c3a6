"""A small model and real data."""

import pytest
import torch
from tests.tuning.coordinates import chain
from torch import nn

import repflow as rf


@pytest.fixture(scope="session")
def digits():
    """64 digits, standardised, and their classes as one-hot rows in float64."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.data[:64])
    return (x - data.data.mean()) / data.data.std(), nn.functional.one_hot(torch.tensor(data.target[:64]), 10).double()


@pytest.fixture
def model():
    """Four layers, tanh."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 3)
    )


@pytest.fixture
def x():
    return torch.randn(20, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def batch(digits):
    """The digits as the coordinate check takes them: inputs and class numbers."""
    x, y = digits
    return x.float(), y.argmax(1)


@pytest.fixture(scope="module")
def planned(batch):
    """A model of four hidden layers and its plan."""
    torch.manual_seed(0)
    model = chain(128, 4)
    return model, rf.tune(model, *batch)
