"""Where lr = 1.0 stops being the best rate: the numbers of docs/trust.md.

    python benchmarks/trust.py                       # all questions, some six minutes on one core
    python benchmarks/trust.py --only batch noise    # some of them

Digits, 200 steps of batch 100, (1/2) squared error summed over outputs unless a question changes that. A row of a sweep
has the loss at lr = 1.0, the least loss over octaves of lr from 2^-4 to 2^4, and the octave: medians of three seeds.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable

import torch
import training
from torch import Tensor, nn
from training import Cell, Setting, dataset, plan_of, prepare, train

import repflow as rf
from repflow.tuning import Plan

OCTAVES = tuple(range(-4, 5))
SEEDS = 3
CELLS = (Cell("tanh", 3, 64), Cell("relu", 3, 64), Cell("tanh", 10, 64), Cell("relu", 10, 128))


def sweep(cell: Cell, setting: Setting, plan: Plan | None = None, lrs: Iterable[int] = OCTAVES) -> dict[int, float]:
    """Median loss over seeds, by octave of lr."""
    plan = plan or plan_of(cell, setting.loss)
    arms = [(plan, 2.0**octave, seed) for octave in lrs for seed in range(SEEDS)]
    losses = train(cell, setting, prepare(cell, setting, arms))
    losses = [math.inf if math.isnan(loss) else loss for loss in losses]
    return {octave: statistics.median(losses[i * SEEDS : (i + 1) * SEEDS]) for i, octave in enumerate(lrs)}


def row(label: str, losses: dict[int, float]) -> str:
    """One line: loss at lr = 1.0, the least, and where."""
    best = min(losses, key=losses.__getitem__)
    ratio = losses[0] / losses[best]
    return f"  {label:36s} {losses[0]:8.4f}   best {losses[best]:8.4f} at 2^{best:<3d} ratio {ratio:6.2f}"


def steps() -> None:
    """Short training and long training."""
    for cell, count in itertools.product(CELLS[:3], (25, 100, 200, 800)):
        print(row(f"{cell.name}, {count} steps", sweep(cell, Setting(steps=count))))


def batch() -> None:
    """Tiny and huge batches."""
    sizes = (1, 5, 25, 100, 400)
    for cell, size in (*itertools.product(CELLS[:3], sizes), *((cell, 1797) for cell in CELLS[:2])):
        print(row(f"{cell.name}, batch {size}", sweep(cell, Setting(batch=size))))


def noise() -> None:
    """Labels replaced by random ones."""
    x, y = dataset("digits")
    for cell, share in itertools.product(CELLS[:3], (0.0, 0.2, 0.5, 1.0)):
        generator = torch.Generator().manual_seed(0)
        random = torch.randint(10, y.shape, generator=generator)
        replaced = torch.rand(len(y), generator=generator) < share
        name = f"digits-noise-{share}"
        training._DATA[name] = (x, torch.where(replaced, random, y))
        noisy = Cell(cell.activation, cell.hidden, cell.width, name)
        print(row(f"{cell.name}, {share:.0%} random labels", sweep(noisy, Setting(steps=200))))


def data() -> None:
    """Inputs that are not standardised."""
    x, _ = dataset("digits")
    raw = x - x.min()
    changed: dict[str, Callable[[], Tensor]] = {
        "standardised": lambda: x,
        "times 100": lambda: 100 * x,
        "over 100": lambda: x / 100,
        "pixels from 0": lambda: raw,
        "plus 10": lambda: x + 10,
    }
    for cell, (label, make) in itertools.product(CELLS[:3], changed.items()):
        name = f"digits {label}"
        training._DATA[name] = (make(), dataset("digits")[1])
        other = Cell(cell.activation, cell.hidden, cell.width, name)
        print(row(f"{cell.name}, {label}", sweep(other, Setting())))


def narrow() -> None:
    """Beyond r_L = 0.3: the best rate, and seeds at lr = 1.0."""
    seeds = 12
    for activation, width in (("relu", 16), ("relu", 32), ("relu", 64), ("relu", 128), ("tanh", 16), ("tanh", 64)):
        cell = Cell(activation, 10, width)
        plan = plan_of(cell)
        losses = train(cell, Setting(), prepare(cell, Setting(), [(plan, 1.0, seed) for seed in range(seeds)]))
        label = f"{cell.name}, r_L = {plan.aspect_ratio.relative_variance:.2f}"
        print(f"{row(label, sweep(cell, Setting(), plan))}   {seeds} seeds {min(losses):.4f} to {max(losses):.4f}")


def entropy() -> None:
    """Cross-entropy, and Adam: the losses of the text are those of squared errors and SGD."""
    for cell in CELLS[:3]:
        for optimizer, loss in (("sgd", "cross_entropy"), ("adam", "cross_entropy"), ("adam", "mse")):
            print(row(f"{cell.name}, {optimizer}, {loss}", sweep(cell, Setting(optimizer, loss))))


def tied() -> None:
    """Std of the output kernel over seeds, relative to its mean, with hidden weights apart and tied."""
    x = dataset("digits")[0][:8].double()
    for activation, share in itertools.product((nn.Tanh, nn.ReLU), (False, True)):
        parts: list[nn.Module] = [nn.Linear(64, 64), activation()]
        hidden = nn.Linear(64, 64)
        for _ in range(8):
            parts += [hidden if share else nn.Linear(64, 64), activation()]
        model = nn.Sequential(*parts, nn.Linear(64, 10)).double()
        plan = rf.tune(model, x, scaling=0.0)
        kernels = []
        for seed in range(400):
            plan.initialize_(model, torch.Generator().manual_seed(seed))
            with torch.no_grad():
                kernels.append(model[:-1](x).square().mean(1))
        drawn = torch.stack(kernels)
        measured = float((drawn.std(0) / drawn.mean(0)).mean())
        ratio = float(drawn.mean()) / float(rf.flow(plan.network, x, order=0)[-1].kernel.diagonal().mean())
        ratio *= plan.network.layers[-1].C_W
        name = f"{activation.__name__} 9x64, {'tied' if share else 'apart'}"
        print(
            f"  {name:20s} predicted {plan.fluctuation:.3f} measured {measured:.3f}; mean {ratio:.2f} of the predicted"
        )


def _loop(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
    x, y = dataset("digits")
    targets = nn.functional.one_hot(y).float()
    order = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(len(x), (100,), generator=order)
        loss = 0.5 * ((model(x[rows]) - targets[rows]) ** 2).sum() / 100
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(0.5 * ((model(x) - targets) ** 2).sum(1).mean())


def pretrained() -> None:
    """A model trained from PyTorch's initialisation by Adam, then given the rates without ``initialize_``."""
    x, y = dataset("digits")
    for cell in CELLS[:3]:
        for optimizer, kind in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)):
            line = []
            for lr in (1.0, 1 / 8, 1 / 64):
                torch.manual_seed(0)
                model = cell.model()
                before = _loop(model, torch.optim.Adam(model.parameters(), lr=1e-3), 400)
                plan = rf.tune(model, x, y)
                after = _loop(model, kind(plan.param_groups(model, lr=lr, optimizer=optimizer)), 20)
                line.append(f"lr {lr:.3g}: {after:.4f}")
            print(f"  {cell.name:12s} {optimizer:5s} before {before:.4f}; after 20 more steps at {', '.join(line)}")


def eps() -> None:
    """Adam's eps at lr = 1.0, beside the predicted size of the gradients."""
    for cell in (*CELLS[:3], Cell("relu", 3, 1024)):
        plan = plan_of(cell)
        sizes = [entry.gradient for entry in plan.parameters]
        line = []
        for value in (1e-8, 1e-5, 1e-3, 1e-1):
            model = plan.initialize_(cell.model(), torch.Generator().manual_seed(0))
            groups = plan.param_groups(model, optimizer="adam", eps=value)
            line.append(f"{value:g}: {_loop(model, torch.optim.Adam(groups), 200):.4f}")
        smallest = min(group["eps"] for group in groups) / value
        print(
            f"  {cell.name:12s} gradients {min(sizes):.1e} to {max(sizes):.1e}, smallest factor {smallest:.0e}; "
            f"loss at eps {', '.join(line)}"
        )


def decay() -> None:
    """Weight decay of AdamW at lr = 1.0: rate times decay is the same in every group."""
    for cell in CELLS[:3]:
        plan = plan_of(cell)
        line = []
        for value in (0.0, 0.01, 0.1, 1.0, 10.0):
            model = plan.initialize_(cell.model(), torch.Generator().manual_seed(0))
            groups = plan.param_groups(model, optimizer="adamw", weight_decay=value)
            line.append(
                f"{value:g} ({groups[0]['lr'] * groups[0]['weight_decay']:.1e}): "
                f"{_loop(model, torch.optim.AdamW(groups), 200):.4f}"
            )
        print(f"  {cell.name:12s} loss at decay (rate x decay) {', '.join(line)}")


def precision() -> None:
    """Number formats of the weights themselves, and eps in them."""
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        tiny = [float(torch.tensor(value, dtype=kind)) for value in (1e-8, 1e-5)]
        print(f"  eps 1e-8 and 1e-5 in {name}: {tiny[0]:.1e}, {tiny[1]:.1e}")
    x, y = dataset("digits")
    x, targets = x - x.min(), nn.functional.one_hot(y).float()  # pixels that are 0 in every digit: no gradient
    for kind, value in itertools.product((torch.float32, torch.bfloat16, torch.float16), (1e-8, 1e-5)):
        model = CELLS[0].model()
        plan = rf.tune(model, x, y)
        plan.initialize_(model, torch.Generator().manual_seed(0))
        model.to(kind)
        optimizer = torch.optim.Adam(plan.param_groups(model, optimizer="adam", eps=value), foreach=False)
        order = torch.Generator().manual_seed(0)
        for _ in range(200):
            rows = torch.randint(len(x), (100,), generator=order)
            loss = 0.5 * ((model(x[rows].to(kind)).float() - targets[rows]) ** 2).sum() / 100
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            final = float(0.5 * ((model(x.to(kind)).float() - targets) ** 2).sum(1).mean())
        print(f"  tanh 3x64 in {str(kind)[6:]:9s} Adam, eps {value:g}: loss {final:.4f}")


QUESTIONS = (narrow, steps, batch, noise, data, entropy, tied, pretrained, eps, decay, precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [question.__name__ for question in QUESTIONS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for question in QUESTIONS:
        if question.__name__ in options.only:
            start = time.perf_counter()
            print(f"{question.__name__}: {(question.__doc__ or '').splitlines()[0]}")
            question()
            print(f"  {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
