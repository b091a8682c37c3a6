"""A plain deep network before and after: PyTorch's defaults with the best rate of a sweep, and a plan at lr = 1.0.

    python examples/tune_model.py [--hidden 30] [--width 64] [--activation tanh] [--optimizer sgd] [--steps 200]

The handwritten digits, batches of 100, half the squared error summed over the outputs: 0.45 is the loss of the best
constant.
"""

from __future__ import annotations

import argparse
import itertools

import torch
from torch import Tensor, nn

import repflow as rf
from repflow.data import load_data

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SWEEPS = {"sgd": (0.01, 0.03, 0.1, 0.3, 1.0), "adam": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), "adamw": (1e-4, 3e-4, 1e-3, 3e-3)}
TRAINED = 1500


def make(hidden: int, width: int, activation: str) -> nn.Sequential:
    """The model as PyTorch initialises it, always the same."""
    torch.manual_seed(0)
    widths = [64, *[width] * hidden]
    layers = [(nn.Linear(a, b), ACTIVATIONS[activation]()) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*itertools.chain(*layers), nn.Linear(width, 10))


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (outputs - targets).square().sum(1).mean()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, steps: int) -> tuple[float, float]:
    """Loss on the digits trained on, and the share of the others that is right."""
    targets = nn.functional.one_hot(y).to(x)
    order = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(TRAINED, (100,), generator=order)
        loss = squared_error(model(x[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        loss = squared_error(model(x[:TRAINED]), targets[:TRAINED])
        right = (model(x[TRAINED:]).argmax(1) == y[TRAINED:]).double().mean()
    return float(loss), float(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=30)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--activation", choices=list(ACTIVATIONS), default="tanh")
    parser.add_argument("--optimizer", choices=list(OPTIMIZERS), default="sgd")
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    if options.hidden < 1:
        parser.error(f"--hidden must be 1 or more, got {options.hidden}")
    shape = (options.hidden, options.width, options.activation)
    optimizer = OPTIMIZERS[options.optimizer]
    digits = load_data("digits", inputs=1797)
    x, y = torch.tensor(digits.x, dtype=torch.float32), torch.tensor(digits.y)

    print(f"{options.hidden} x {options.width} {options.activation}, {options.optimizer}, {options.steps} steps")
    for rate in SWEEPS[options.optimizer]:
        model = make(*shape)
        loss, right = train(model, optimizer(model.parameters(), lr=rate), x, y, options.steps)
        print(f"  default, rate {rate:<7g} loss {loss:.4f}  right {right:.0%}")

    model = make(*shape)
    plan = rf.tune(model, x[:TRAINED], y[:TRAINED])
    plan.initialize_(model, generator=torch.Generator().manual_seed(0))
    groups = plan.param_groups(model, lr=1.0, optimizer=options.optimizer)
    loss, right = train(model, optimizer(groups), x, y, options.steps)
    print(f"  plan, lr = 1.0        loss {loss:.4f}  right {right:.0%}")
    for note in plan.notes:
        print(f"  note: {note}")


if __name__ == "__main__":
    main()
