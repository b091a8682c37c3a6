"""Real networks for the tests of the theory: PyTorch's own autograd, and nothing of repflow's."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


def model_of(widths: tuple[int, ...], activation: type[nn.Module], bias: bool = True) -> nn.Sequential:
    """Linear layers with the activation between them, in float64."""
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        parts += [nn.Linear(a, b, bias=bias), activation()]
    return nn.Sequential(*parts[:-1]).double()


def linears(model: nn.Sequential) -> list[nn.Linear]:
    return [part for part in model if isinstance(part, nn.Linear)]


def forward(model: nn.Sequential, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What each linear layer takes, and what it gives."""
    signals, outs = [], []
    for part in model:
        if isinstance(part, nn.Linear):
            signals.append(x)
            x = part(x)
            outs.append(x)
        else:
            x = part(x)
    return signals, outs


def half_square(model: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """(1/2B) sum |f - y|^2."""
    return 0.5 * ((model(x) - y) ** 2).sum() / len(x)


def ntk_parts(model: nn.Sequential, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """J J^T of each layer's weights and of its biases over (input, output) pairs: (N n_L, N n_L) each."""
    signals, outs = forward(model, x)
    outputs = outs[-1].shape[1]
    backs = [[] for _ in outs]
    for i in range(outputs):
        for found, gradient in zip(backs, torch.autograd.grad(outs[-1][:, i].sum(), outs, retain_graph=True)):
            found.append(gradient)
    parts = []
    for signal, back in zip(signals, backs, strict=True):
        delta = torch.stack(back, dim=1)  # (N, n_L, n_l)
        products = torch.einsum("bim,cjm->bicj", delta, delta)
        gram = (signal @ signal.T).detach()[:, None, :, None]
        size = len(x) * outputs
        parts.append(((products * gram).reshape(size, size), products.reshape(size, size)))
    return parts


def rates_of(plan, model: nn.Sequential) -> list[tuple[float, float]]:
    """SGD's rates of weights and biases of each layer at lr = 1, as the plan's groups set them."""
    rates = {id(p): group["lr"] for group in plan.param_groups(model, optimizer="sgd") for p in group["params"]}
    return [(rates[id(m.weight)], rates.get(id(m.bias), 0.0)) for m in linears(model)]


def sharpness(plan, model: nn.Sequential, x: Tensor) -> float:
    """Largest eigenvalue of the Gauss-Newton matrix of (1/2B) sum |f - y|^2 in the units of the groups' rates."""
    total = sum(w * a + b * c for (a, c), (w, b) in zip(ntk_parts(model, x), rates_of(plan, model), strict=True))
    return float(torch.linalg.eigvalsh(total)[-1]) / len(x)


def own_changes(plan, model: nn.Sequential, x: Tensor, y: Tensor) -> list[float]:
    """rms(dz)/rms(z) of each hidden layer in the first full-batch step of SGD by its own parameters, inputs held."""
    rates = rates_of(plan, model)
    model.zero_grad()
    half_square(model, x, y).backward()
    signals, outs = forward(model, x)
    changes = []
    for m, (w, b), signal, out in list(zip(linears(model), rates, signals, outs, strict=True))[:-1]:
        dz = -w * signal @ m.weight.grad.T - (0 if m.bias is None else b * m.bias.grad)
        changes.append(float(((dz**2).mean() / (out**2).mean()).sqrt().detach()))
    return changes


def rises(plan, model: nn.Sequential, x: Tensor, y: Tensor, lr: float, steps: int = 30) -> bool:
    """Whether the full-batch loss rises at any of the first steps of gradient descent at this lr."""
    optimizer = torch.optim.SGD(plan.param_groups(model, lr=lr, optimizer="sgd"))
    before = float("inf")
    for _ in range(steps + 1):
        loss = half_square(model, x, y)
        if not loss.item() <= before:
            return True
        before = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return False


def first_rise(plan, draw, x: Tensor, y: Tensor, guess: float) -> float:
    """The smallest lr on a grid of 2% at which the loss rises; ``draw()`` gives the same network anew."""
    ratio = 1.02
    place = 0
    while rises(plan, draw(), x, y, guess * ratio**place):
        place -= 4
    while not rises(plan, draw(), x, y, guess * ratio**place):
        place += 1
    return guess * ratio**place
