"""What is trained here, also in other processes: a chain of tanh in float64 on the classes of a random linear map."""

import itertools

import torch
from torch import Tensor, nn


def make(device=None, dtype=torch.float64) -> nn.Sequential:
    """Four layers with PyTorch's initialisation, always the same."""
    torch.manual_seed(0)
    widths = (6, 40, 40, 40, 3)
    layers = [nn.Linear(a, b, device=device, dtype=dtype) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.Tanh())][:-1])


def data(rows: int = 40) -> tuple[Tensor, Tensor]:
    """Inputs and classes."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 6, generator=generator, dtype=torch.float64)
    return x, (x @ torch.randn(6, 3, generator=generator, dtype=torch.float64)).argmax(1)


def generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train(model, optimizer, x, y, steps=5, schedule=None) -> list[float]:
    """The loss before each step and after the last."""
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        losses.append(loss.item())
    with torch.no_grad():
        losses.append(nn.functional.cross_entropy(model(x), y).item())
    return losses


def values(model) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def rates(groups, model) -> list[float]:
    """The rate of each of the model's parameters, in order."""
    found = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    return [found[id(parameter)] for parameter in model.parameters()]
