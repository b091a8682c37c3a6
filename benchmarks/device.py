"""The same work on the processor and on an accelerator of the same machine: seconds, ratio, and how far results differ.

    python benchmarks/device.py [--device cuda] [--quick] [--threads N]

Theory: kernel of N = 1000 digits, vertex in full, order 2, the tangent kernel at order 1. Ensembles: real networks and
Gram chains; their normals are drawn on the processor in both cases, so that bits do not depend on the device, and only
the products move. The tangent kernel of a convolutional module. Everything but the last is float64. A first call of
each, not timed, warms up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import repflow as rf
from repflow.data import load_data


@dataclass(frozen=True)
class Task:
    """A piece of work that takes a device and gives numbers."""

    name: str
    run: Callable[[str], Any]


def digits(count: int) -> Any:
    return load_data("digits", inputs=count).x


def tasks(quick: bool) -> list[Task]:
    def network(name: str, width: int, depth: int = 10) -> rf.Network:
        return rf.mlp([64, *[width] * (depth - 1), 10], activation=name, init="critical", x=digits(100))

    def theory(name: str, inputs: int, statistic: str, **options: Any) -> Callable[[str], Any]:
        net, x = network(name, 64), digits(inputs)

        def run(device: str) -> Any:
            found = rf.flow(net, x, device=device, progress=False, **options)[-1]
            return getattr(found, statistic)

        return run

    def ensemble(width: int, networks: int, method: str) -> Callable[[str], Any]:
        net, x = network("tanh", width), digits(4)

        def run(device: str) -> Any:
            found = rf.sample(net, x, networks=networks, method=method, device=device, progress=False)
            return found[-1].mean_kernel()

        return run

    def convolutional(inputs: int) -> Callable[[str], Any]:
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 32, 3), nn.GELU(), nn.Conv2d(32, 32, 3), nn.GELU(), nn.Flatten(), nn.Linear(512, 10)]
        x = torch.tensor(digits(inputs), dtype=torch.float32).reshape(-1, 1, 8, 8)

        def run(device: str) -> Any:
            module = nn.Sequential(*layers).to(device)
            return rf.empirical_ntk(module, x.to(device)).kernel

        return run

    big, vertex, six, images, draws = (200, 8, 3, 16, 200) if quick else (1000, 16, 4, 128, 2000)
    return [
        Task(f"kernel and NTK, N = {big}, gelu", theory("gelu", big, "ntk", order=0, tangent=True)),
        Task(f"vertex in full, N = {vertex}, gelu", theory("gelu", vertex, "vertex", order=1)),
        Task(f"order 2, N = {six}, gelu", theory("gelu", six, "sextic", order=2)),
        Task("tangent kernel at order 1, N = 4, gelu", theory("gelu", 4, "A", order=1, tangent=True)),
        Task(f"{draws} real networks, width 64", ensemble(64, draws, "weights")),
        Task(f"{draws // 10} real networks, width 512", ensemble(512, draws // 10, "weights")),
        Task(f"{10 * draws} Gram chains, width 1024", ensemble(1024, 10 * draws, "gram")),
        Task(f"NTK of a convolutional module, N = {images}", convolutional(images)),
    ]


def seconds(task: Task, device: str) -> tuple[float, np.ndarray]:
    """Time of the second call and its result."""
    for _ in range(2):
        start = time.perf_counter()
        found = task.run(device)
        if device != "cpu":
            torch.cuda.synchronize()
        spent = time.perf_counter() - start
    values = found.detach().cpu().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    return spent, values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the processor")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    card = torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device
    print(f"torch {torch.__version__}, {card}, {options.threads} threads of the processor", flush=True)
    print("| what | processor | accelerator | ratio | results differ by |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for task in tasks(options.quick):
        try:
            there, found = seconds(task, options.device)
            here, expected = seconds(task, "cpu")
        except Exception as error:  # one that fails must not hide the others
            print(f"| {task.name} | {type(error).__name__}: {str(error)[:150]} | | | |", flush=True)
            continue
        apart = float(np.abs(found - expected).max() / np.abs(expected).max())
        print(f"| {task.name} | {here:.3g} s | {there:.3g} s | {here / there:.3g} | {apart:.0e} |", flush=True)


if __name__ == "__main__":
    main()
