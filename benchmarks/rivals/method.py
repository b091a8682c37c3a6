"""What a method is to the benchmark: its own model and optimiser, and how the two read as a plain chain of layers.

A package may multiply a layer's output or its gradients by constants. Such a layer is a plain one with other initial
values and rates (the symmetry of Yang and Hu, 2011.14522): with y = a (W x), whose gradient the package multiplies by
g, and V = a W,

    SGD   V starts at a W, rate lr a^2 g
    Adam  V starts at a W, rate lr a, eps / (a g)

take exactly the same path in function space. So all methods train in one batched trainer; :func:`check` compares it
with the package's model trained by the package's optimiser and loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from training import ACTIVATIONS, Cell, Runs, Setting, dataset, train

Activation = Callable[[Tensor], Tensor]


class Method:
    """PyTorch's own layers and optimisers, as they are; others override what they change.

    Attributes
    ----------
    name
        For tables and files.
    package
        What to install, by its name on PyPI.
    guess
        log2 of the rate at which the first scan starts, by optimiser.
    """

    name: str
    package = "torch"
    guess: ClassVar[dict[str, int]] = {"sgd": -3, "adam": -9}

    def takes(self, cell: Cell) -> bool:
        """Whether the method offers this activation."""
        return True

    def model(self, cell: Cell, setting: Setting, seed: int) -> nn.Module:
        """The model of a cell, initialised."""
        raise NotImplementedError

    def optimizer(self, model: nn.Module, cell: Cell, setting: Setting, lr: float) -> torch.optim.Optimizer:
        """Its optimiser."""
        return {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[setting.optimizer](model.parameters(), lr=lr)

    def activation(self, cell: Cell) -> Activation:
        """The activation, elementwise."""
        return ACTIVATIONS[cell.activation]()

    def loss(self, setting: Setting) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of a batch that the gradients are of: (outputs, class numbers) -> number."""
        return nn.CrossEntropyLoss() if setting.loss == "cross_entropy" else half_squared_error

    def forward_factors(self, layers: Sequence[nn.Linear]) -> list[tuple[float, float]]:
        """a of (weight, bias) of every layer: z = a_W W x + a_b b."""
        return [(1.0, 1.0)] * len(layers)

    def gradient_factors(self, layers: Sequence[nn.Linear], setting: Setting) -> list[float]:
        """g of every layer: the package's gradient over the true one of the benchmark's loss."""
        return [1.0] * len(layers)

    def signature(self, cell: Cell, setting: Setting) -> dict[str, Any]:
        """What the results depend on beside the cell; a stored record with another one is measured again."""
        return {"package": f"{self.package} {version(self.package)}"}

    def facts(self, cell: Cell, setting: Setting) -> dict[str, Any]:
        """What else to record."""
        return {}


class Elementwise(nn.Module):
    """A function as a module."""

    def __init__(self, function: Activation) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)


def chain(
    cell: Cell,
    activation: Activation,
    linear: Callable[..., nn.Module] = nn.Linear,
    readout: Callable[..., nn.Module] = nn.Linear,
    width: int | None = None,
) -> nn.Sequential:
    """The cell's chain of layers from the layer classes of a package; ``width`` replaces the cell's own."""
    x, y = dataset(cell.data)
    widths = [x.shape[1], *[width or cell.width] * cell.hidden]
    modules: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        modules += [linear(n_in, n_out), Elementwise(activation)]
    return nn.Sequential(*modules, readout(widths[-1], int(y.max()) + 1))


def half_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """(1/2B) sum |f - y|^2."""
    return 0.5 * ((outputs - one_hot(outputs, labels)) ** 2).sum(-1).mean()


def one_hot(outputs: Tensor, labels: Tensor) -> Tensor:
    """Class numbers as the targets of ``outputs``."""
    return nn.functional.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """Its layers with weights, in order."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def prepare(method: Method, cell: Cell, setting: Setting, arms: Sequence[tuple[float, int]]) -> Runs:
    """The runs of (lr, seed) pairs as a plain chain, from the method's own model and optimiser."""
    models: dict[int, nn.Module] = {}
    initial: list[list[Tensor]] = []
    rates, eps = [], []
    for lr, seed in arms:
        if seed not in models:
            models[seed] = method.model(cell, setting, seed)
        model = models[seed]
        optimizer = method.optimizer(model, cell, setting, lr)
        groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        layers = linear_layers(model)
        values, of_run, eps_of_run = [], [], []
        forward, gradient = method.forward_factors(layers), method.gradient_factors(layers, setting)
        for layer, factors, g in zip(layers, forward, gradient, strict=True):
            for parameter, a in zip((layer.weight, layer.bias), factors, strict=True):
                if parameter is None:  # a layer without biases is one whose biases stay at 0
                    values.append(torch.zeros(layer.out_features))
                    of_run.append(0.0)
                    eps_of_run.append(1.0)
                    continue
                group = groups[id(parameter)]
                values.append(a * parameter.detach())
                of_run.append(group["lr"] * (a * a * g if setting.optimizer == "sgd" else a))
                eps_of_run.append(group.get("eps", 0.0) / (a * g))
        initial.append(values)
        rates.append(of_run)
        eps.append(eps_of_run)
    stacked = [torch.stack(parts) for parts in zip(*initial, strict=True)]
    seeds = [seed for _, seed in arms]
    return Runs(stacked, torch.tensor(rates), torch.tensor(eps), seeds, method.activation(cell))


def evaluate(model: nn.Module, cell: Cell, setting: Setting) -> float:
    """The benchmark's loss over the whole data set."""
    x, y = dataset(cell.data)
    with torch.no_grad():
        return float(Method().loss(setting)(model(x), y))


def train_plainly(method: Method, cell: Cell, setting: Setting, lr: float, seed: int) -> float:
    """One run the way a user of the package would write it."""
    x, y = dataset(cell.data)
    model = method.model(cell, setting, seed)
    optimizer, loss_of = method.optimizer(model, cell, setting, lr), method.loss(setting)
    order = torch.Generator().manual_seed(10_000 + seed)
    for _ in range(setting.steps):
        index = torch.randperm(len(x), generator=order)[: setting.batch]
        optimizer.zero_grad()
        loss_of(model(x[index]), y[index]).backward()
        optimizer.step()
    return evaluate(model, cell, setting)


def check(method: Method, cell: Cell, setting: Setting, lr: float, seeds: int = 2) -> tuple[float, float]:
    """Largest relative difference of the losses, batched against plain, and the largest share of it that was learned.

    Rates must be moderate and runs short: above the edge of stability rounding errors grow with every step.
    """
    arms = [(lr * factor, seed) for factor in (0.5, 1.0) for seed in range(seeds)]
    together = train(cell, setting, prepare(method, cell, setting, arms), stop=10.0)
    alone = [train_plainly(method, cell, setting, *arm) for arm in arms]
    before = [evaluate(method.model(cell, setting, seed), cell, setting) for _, seed in arms]
    off = max(abs(a / b - 1.0) for a, b in zip(together, alone, strict=True))
    return off, max(1.0 - b / c for b, c in zip(alone, before, strict=True))
