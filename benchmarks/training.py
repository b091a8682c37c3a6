"""Many small trainings at once: every rate and seed of a cell by batched matrix products.

    python benchmarks/training.py          # the check that this is the library's own optimiser loop, and the time
    against it

A *cell* is an activation, H hidden layers of one width, and a data set; a *run* is one network of it with its own seed
and rates. All runs of a cell share the shapes, so that a layer of all of them is one ``baddbmm``. Float32, one
generator a run for the order of the data.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from repflow.data import load_data
from repflow.tuning import Plan, tune

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}
DIVERGED = 10.0
"""A run ends when its loss exceeds this many times the loss of f = 0."""


@dataclass(frozen=True)
class Cell:
    """What is trained: ``hidden`` layers of ``width``, on a data set."""

    activation: str
    hidden: int
    width: int
    data: str = "digits"

    @property
    def name(self) -> str:
        """For tables and files."""
        return f"{self.activation}-{self.hidden}x{self.width}" + ("" if self.data == "digits" else f"-{self.data}")

    def model(self) -> nn.Sequential:
        """The model, as PyTorch makes it."""
        x, y = dataset(self.data)
        widths = [x.shape[1], *[self.width] * self.hidden]
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [nn.Linear(n_in, n_out), ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], int(y.max()) + 1))


@dataclass(frozen=True)
class Setting:
    """How it is trained."""

    optimizer: str = "sgd"
    loss: str = "mse"
    steps: int = 200
    batch: int = 100
    momentum: float = 0.0

    @property
    def name(self) -> str:
        """For files."""
        extra = f"-m{self.momentum:g}" if self.momentum else ""
        return f"{self.optimizer}-{self.loss}-B{self.batch}-T{self.steps}{extra}"


@dataclass
class Runs:
    """Initial parameters and rates of R runs: per parameter tensor a stack (R, ...), rates and eps (R, parameters).

    ``activation`` replaces the cell's own: some methods transform it.
    """

    parameters: list[Tensor]
    rates: Tensor
    eps: Tensor
    seeds: list[int]
    activation: Callable[[Tensor], Tensor] | None = None


_DATA: dict[str, tuple[Tensor, Tensor]] = {}


def dataset(name: str) -> tuple[Tensor, Tensor]:
    """Inputs, standardised, in float32, and class numbers; rows in a fixed order that mixes the classes."""
    if name not in _DATA:
        if name == "digits":
            data = load_data("digits", inputs=1797)
            assert data.y is not None
            _DATA[name] = (torch.tensor(data.x, dtype=torch.float32), torch.tensor(data.y))
        elif name == "cancer":
            from sklearn.datasets import load_breast_cancer

            x, y = load_breast_cancer(return_X_y=True)
            x = (x - x.mean(0)) / x.std(0)
            _DATA[name] = (torch.tensor(x, dtype=torch.float32), torch.tensor(y))
        else:
            raise ValueError(f"data must be 'digits' or 'cancer', got {name!r}")
    return _DATA[name]


def plan_of(cell: Cell, loss: str = "mse") -> Plan:
    """The plan of a cell, on its own data."""
    x, y = dataset(cell.data)
    return tune(cell.model(), x, y, loss=loss)


def prepare(cell: Cell, setting: Setting, arms: Sequence[tuple[Plan, float, int]]) -> Runs:
    """The runs of (plan, lr, seed) triples: initialised and rated by the plan itself."""
    model = cell.model()
    initial: list[list[Tensor]] = []
    rates, eps = [], []
    for plan, lr, seed in arms:
        plan.initialize_(model, torch.Generator().manual_seed(seed))
        initial.append([parameter.detach().clone() for parameter in model.parameters()])
        settings = {
            id(parameter): group
            for group in plan.param_groups(model, lr=lr, optimizer=setting.optimizer, momentum=setting.momentum)
            for parameter in group["params"]
        }
        rates.append([settings[id(parameter)]["lr"] for parameter in model.parameters()])
        eps.append([settings[id(parameter)].get("eps", 0.0) for parameter in model.parameters()])
    stacked = [torch.stack(parts) for parts in zip(*initial, strict=True)]
    return Runs(stacked, torch.tensor(rates), torch.tensor(eps), [seed for _, _, seed in arms])


def train(cell: Cell, setting: Setting, runs: Runs, stop: float = math.inf) -> list[float]:
    """Loss over the whole data set after training, one number a run; infinite where it diverged.

    Half the squared error summed over outputs, or cross-entropy, averaged over rows. A run is stopped, and counts as
    diverged, at the first batch whose loss is not below ``stop`` times that of its first batch (or of f = 0, whichever
    is larger). Without ``stop`` it has diverged where the loss after training is not below ten times that of f = 0.
    """
    x, y = dataset(cell.data)
    targets = nn.functional.one_hot(y).float()
    sigma = runs.activation or ACTIVATIONS[cell.activation]()
    start = float(_loss(torch.zeros(1, *targets.shape), targets[None], setting.loss))
    parameters = [p.clone().requires_grad_() for p in runs.parameters]
    slots = {"adam": 2, "sgd": int(setting.momentum > 0)}[setting.optimizer]
    state = [[torch.zeros_like(p) for _ in range(slots)] for p in runs.parameters]
    rates, eps, seeds = runs.rates, runs.eps, runs.seeds
    orders = {seed: torch.Generator().manual_seed(10_000 + seed) for seed in runs.seeds}
    left, stopped, limit = torch.arange(len(runs.seeds)), torch.zeros(len(runs.seeds), dtype=torch.bool), torch.empty(0)
    for step in range(1, setting.steps + 1):
        if step % 10 == 1 and stopped.any():
            kept = (~stopped).nonzero()[:, 0]
            left, limit, stopped = left[kept], limit[kept], stopped[kept]
            if not len(kept):
                break
            parameters = [p.detach()[kept].requires_grad_() for p in parameters]
            state = [[slot[kept] for slot in both] for both in state]
            rates, eps, seeds = rates[kept], eps[kept], [seeds[i] for i in kept.tolist()]
        # One order of the data for a seed, shared by all its rates.
        drawn = {seed: torch.randperm(len(x), generator=order)[: setting.batch] for seed, order in orders.items()}
        index = torch.stack([drawn[seed] for seed in seeds])
        losses = _loss(_forward(parameters, x[index], sigma), targets[index], setting.loss)
        gradients = torch.autograd.grad(losses.sum(), parameters)
        if stop < math.inf:
            limit = stop * losses.detach().clamp(min=start) if step == 1 else limit
            stopped = stopped | ~(losses.detach() < limit)
        with torch.no_grad():
            for number, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
                shape = (-1,) + (1,) * (p.ndim - 1)
                rate = rates[:, number].view(shape)
                if setting.optimizer == "sgd":
                    update = state[number][0].mul_(setting.momentum).add_(g) if setting.momentum else g
                else:
                    m, v = state[number]
                    m.mul_(0.9).add_(g, alpha=0.1)
                    v.mul_(0.999).addcmul_(g, g, value=0.001)
                    root = (v / (1 - 0.999**step)).sqrt_().add_(eps[:, number].view(shape))
                    update = m / (1 - 0.9**step) / root
                p.sub_(rate * update)
    found = [math.inf] * len(runs.seeds)
    for i, run in enumerate(left.tolist()):
        with torch.no_grad():
            value = _loss(_forward([p[i : i + 1] for p in parameters], x[None], sigma), targets[None], setting.loss)
        if float(value) < (float(limit[i]) if stop < math.inf else DIVERGED * start) and not stopped[i]:
            found[run] = float(value)
    return found


def _forward(parameters: Sequence[Tensor], x: Tensor, sigma: Callable[[Tensor], Tensor]) -> Tensor:
    signal = x
    for number in range(0, len(parameters), 2):
        if number:
            signal = sigma(signal)
        signal = torch.baddbmm(parameters[number + 1][:, None, :], signal, parameters[number].transpose(1, 2))
    return signal


def _loss(outputs: Tensor, targets: Tensor, loss: str) -> Tensor:
    """One number a run."""
    if loss == "cross_entropy":
        return -(targets * outputs.log_softmax(-1)).sum(-1).mean(-1)
    return 0.5 * ((outputs - targets) ** 2).sum(-1).mean(-1)


def train_plainly(cell: Cell, setting: Setting, plan: Plan, lr: float, seed: int) -> float:
    """The same run by ``torch.optim``, the way a user would write it."""
    x, y = dataset(cell.data)
    model = plan.initialize_(cell.model(), torch.Generator().manual_seed(seed))
    groups = plan.param_groups(model, lr=lr, optimizer=setting.optimizer, momentum=setting.momentum)
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[setting.optimizer](groups)
    order = torch.Generator().manual_seed(10_000 + seed)
    targets = nn.functional.one_hot(y).float()
    for _ in range(setting.steps):
        index = torch.randperm(len(x), generator=order)[: setting.batch]
        loss = _loss(model(x[index])[None], targets[index][None], setting.loss).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(_loss(model(x)[None], targets[None], setting.loss))


def check(steps: int = 20) -> float:
    """Largest relative difference between the batched trainer and torch.optim, over optimisers and losses.

    Short runs at moderate rates: above the edge of stability rounding errors grow with every step, and any two loops
    part.
    """
    cell = Cell("tanh", 3, 64)
    worst = 0.0
    for setting in (
        Setting("sgd", steps=steps),
        Setting("sgd", steps=steps, momentum=0.9),
        Setting("sgd", "cross_entropy", steps=steps),
        Setting("adam", steps=steps),
    ):
        plan = plan_of(cell, setting.loss)
        arms = [(plan, lr, seed) for lr in (0.25, 0.5) for seed in range(3)]
        started = time.perf_counter()
        together = train(cell, setting, prepare(cell, setting, arms))
        batched = time.perf_counter() - started
        started = time.perf_counter()
        alone = [train_plainly(cell, setting, *arm) for arm in arms]
        plain = time.perf_counter() - started
        off = max(abs(a / b - 1) for a, b in zip(together, alone, strict=True))
        worst = max(worst, off)
        print(f"{setting.name:28} largest relative difference {off:.1e}, {plain / batched:.1f} times faster")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    worst = check(parser.parse_args().steps)
    if worst > 1e-3:
        raise SystemExit(f"the batched trainer is off by {worst:.1e} from torch.optim")


if __name__ == "__main__":
    main()
