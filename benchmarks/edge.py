"""The predicted edge of stability against real networks: sharpness, first rise of the loss, divergence.

    python benchmarks/edge.py                       # width 256, 3 hidden layers, 20 seeds; half an hour on one core
    python benchmarks/edge.py --seeds 3 --width 64

64 digits, s = 0, full-batch gradient descent on (1/2B) sum |f - y|^2, one output (odd or even) or ten. Everything is
relative to the prediction of ``plan.max_learning_rate()``: the sharpness over 2/edge; the smallest rate on a grid of 2%
at which the loss rises in any of the first 30 steps; the smallest rate on a grid of 10% at which the loss after 200
steps is above ten times its start. Means over seeds.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repflow.data import load_data
from repflow.tuning import Plan, tune

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}


def problem(outputs: int) -> tuple[Tensor, Tensor]:
    """64 digits with their targets."""
    data = load_data("digits", inputs=64)
    assert data.y is not None
    x, labels = torch.tensor(data.x), torch.tensor(data.y)
    return x, nn.functional.one_hot(labels, 10).double() if outputs == 10 else (2.0 * (labels % 2) - 1)[:, None]


def network(activation: str, n_in: int, width: int, outputs: int) -> nn.Sequential:
    """Three hidden layers in float64."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise([n_in, width, width, width]):
        layers += [nn.Linear(a, b), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(width, outputs)).double()


def rates_of(plan: Plan, model: nn.Module) -> list[float]:
    """SGD's rate of every parameter at lr = 1."""
    rates = {id(p): group["lr"] for group in plan.param_groups(model, optimizer="sgd") for p in group["params"]}
    return [rates[id(p)] for p in model.parameters()]


def sharpness(model: nn.Module, x: Tensor, rates: Sequence[float], iterations: int = 40) -> float:
    """Largest eigenvalue of J^T J/N over all outputs, in the units of the rates, by power iteration."""
    names = [name for name, _ in model.named_parameters()]
    params = [p.detach() for p in model.parameters()]
    generator = torch.Generator().manual_seed(0)
    vector = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in params]
    size = torch.tensor(0.0)

    def outputs(values: list[Tensor]) -> Tensor:
        found: Tensor = torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))
        return found

    for _ in range(iterations):
        _, pushed = torch.func.jvp(outputs, (params,), ([v * r**0.5 for v, r in zip(vector, rates, strict=True)],))
        pulled = torch.func.vjp(outputs, params)[1](pushed)[0]
        vector = [g * r**0.5 for g, r in zip(pulled, rates, strict=True)]
        size = torch.stack([(v**2).sum() for v in vector]).sum().sqrt()
        vector = [v / size for v in vector]
    return float(size) / len(x)


def losses(model: nn.Sequential, x: Tensor, y: Tensor, rates: Sequence[float], lrs: Tensor, steps: int) -> Tensor:
    """Loss before each step and at the end for every lr, all at once; shape (steps + 1, len(lrs))."""
    sigma = model[1]
    parameters = [p.detach().expand(len(lrs), *p.shape).clone().requires_grad_() for p in model.parameters()]
    history = []
    for step in range(steps + 1):
        signal = x.expand(len(lrs), *x.shape)
        for number in range(0, len(parameters), 2):
            signal = signal if number == 0 else sigma(signal)
            signal = torch.baddbmm(parameters[number + 1][:, None, :], signal, parameters[number].mT)
        loss = 0.5 * ((signal - y) ** 2).sum(-1).mean(-1)
        history.append(loss.detach())
        if step < steps:
            gradients = torch.autograd.grad(loss.sum(), parameters)
            with torch.no_grad():
                for p, g, rate in zip(parameters, gradients, rates, strict=True):
                    p.sub_((lrs * rate).view(-1, *(1,) * (p.ndim - 1)) * g.nan_to_num(0.0, 0.0, 0.0))
    return torch.stack(history).nan_to_num(torch.inf)


def first(bad: Tensor, lrs: Tensor) -> float:
    """The smallest lr with the property, infinite where none has it."""
    return float(lrs[bad][0]) if bool(bad.any()) else float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--outputs", type=int, nargs="*", default=[1, 10], choices=[1, 10])
    parser.add_argument("--activations", nargs="*", default=list(ACTIVATIONS), choices=list(ACTIVATIONS))
    options = parser.parse_args()
    print("| network | sharpness | first rise | divergence |\n| --- | --- | --- | --- |", flush=True)
    for outputs in options.outputs:
        x, y = problem(outputs)
        for activation in options.activations:
            model = network(activation, x.shape[1], options.width, outputs)
            plan = tune(model, x, y, scaling=0.0)
            edge, rates = plan.max_learning_rate(), rates_of(plan, model)
            assert edge is not None
            found = []
            fine = edge * 0.6 * 1.02 ** torch.arange(130, dtype=torch.float64)
            coarse = edge * 0.8 * 1.1 ** torch.arange(40, dtype=torch.float64)
            for seed in range(options.seeds):
                plan.initialize_(model, torch.Generator().manual_seed(seed))
                top = sharpness(model, x, rates) * edge / 2
                rise = float("inf")
                for part in fine.split(10):  # ascending: what follows the first rise is not run
                    rise = first((losses(model, x, y, rates, part, 30).diff(dim=0) > 0).any(0), part)
                    if rise < float("inf"):
                        break
                runaway = float("inf")
                for part in coarse.split(6):
                    history = losses(model, x, y, rates, part, 200)
                    runaway = first(history[-1] > 10 * history[0], part)
                    if runaway < float("inf"):
                        break
                found.append((top, rise / edge, runaway / edge))
            shown = []
            for column in zip(*found, strict=True):
                values = torch.tensor(column)
                shown.append(f"{float(values.mean()):.2f} +- {float(values.std() / len(values) ** 0.5):.2f}")
            print(f"| {activation}, {outputs} output{'s' * (outputs > 1)} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
