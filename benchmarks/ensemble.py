"""Speed of the samplers, as ratios against a peer that is measured in the same run.

    python benchmarks/ensemble.py [--repeat 3]

1. ``weights`` against a loop that builds an ``nn.Sequential`` for each network and runs it, at widths 16 and 64,
with the share of
   the time that drawing normals takes.
2. ``gram`` against ``weights``, time for a network, at width 1024, 4 inputs, depth 10.
3. NumPy's generators against ``torch.Tensor.normal_`` in float64 on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from repflow.activation import as_activation
from repflow.ensemble import sample
from repflow.network import Layer, Network

DEPTH = 10
INPUTS = 4


def network(width: int, activation: str = "tanh") -> Network:
    sigma = as_activation(activation)
    return Network(
        tuple(Layer(width, width, C_W=1.0, C_b=0.01, activation=sigma if l < DEPTH - 1 else None) for l in range(DEPTH))
    )


def best(call: Callable[[], object], repeat: int) -> float:
    """Shortest of several runs, in seconds: other work on the machine only adds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def loop(width: int, count: int, x: torch.Tensor, measure: bool) -> None:
    """The peer: build, initialise and run one module after the other; with ``measure`` also keep G of every layer."""
    kept = []
    for _ in range(count):
        modules: list[nn.Module] = []
        for l in range(DEPTH):
            linear = nn.Linear(width, width, dtype=torch.float64)
            nn.init.normal_(linear.weight, 0.0, width**-0.5)
            nn.init.normal_(linear.bias, 0.0, 0.1)
            modules.append(linear)
            if l < DEPTH - 1:
                modules.append(nn.Tanh())
        model = nn.Sequential(*modules)
        with torch.no_grad():
            if not measure:
                model(x)
                continue
            signals = x
            for module in model:
                if isinstance(module, nn.Linear):
                    kept.append(signals @ signals.T / width + 0.01)
                signals = module(signals)


def normals(width: int, count: int, threads: int) -> float:
    """Seconds to draw the normals of ``count`` networks and nothing else, shared evenly by the threads."""
    generator = np.random.Generator(np.random.SFC64(0))
    batch = max(1, (1 << 17) // width**2)
    buffer = np.empty((batch, width, width))
    rounds = max(1, count // batch)

    def draw() -> None:
        for _ in range(rounds):
            generator.standard_normal(out=buffer)

    return best(draw, 3) * DEPTH * count / (rounds * batch) / threads


def weights_against_loop(width: int, networks: int, looped: int, repeat: int, threads: int) -> None:
    x = np.random.default_rng(0).standard_normal((INPUTS, width))
    tensor = torch.from_numpy(x)
    ours = best(lambda: sample(network(width), x, networks, threads=threads), repeat) / networks
    bare = best(lambda: loop(width, looped, tensor, False), repeat) / looped
    full = best(lambda: loop(width, looped, tensor, True), repeat) / looped
    share = normals(width, networks // 10, threads) / (networks // 10) / ours
    print(
        f"weights, width {width}, {INPUTS} inputs, depth {DEPTH}: {ours * 1e6:.1f} us a network with all statistics\n"
        f"  loop that builds and runs nn.Sequential: {bare * 1e6:.0f} us, {bare / ours:.1f} times as long\n"
        f"  the same loop if it keeps G of every layer: {full * 1e6:.0f} us, {full / ours:.1f} times as long\n"
        f"  drawing normals alone is {share:.0%} of our time"
    )


def gram_against_weights(activation: str, repeat: int, threads: int) -> None:
    width = 1024
    x = np.random.default_rng(0).standard_normal((INPUTS, width))
    net = network(width, activation)
    chain = best(lambda: sample(net, x, 2048, method="gram", threads=threads), repeat) / 2048
    real = best(lambda: sample(net, x, 8 * threads, threads=threads), repeat) / (8 * threads)
    print(
        f"gram, width {width}, {INPUTS} inputs, depth {DEPTH}, {activation}: {chain * 1e3:.3f} ms a network; "
        f"weights {real * 1e3:.1f} ms, {real / chain:.0f} times as long"
    )


def generator(kind: type[np.random.BitGenerator], repeat: int) -> None:
    out = np.empty(1 << 20)
    source = np.random.Generator(kind(0))
    print(f"{kind.__name__}: {best(lambda: source.standard_normal(out=out), repeat) / out.size * 1e9:.1f} ns a normal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    print(f"{options.threads} threads, torch {torch.__version__}, NumPy {np.__version__}")
    for width, networks, looped in ((16, 40_000, 400), (64, 4_000, 200)):
        weights_against_loop(width, networks, looped, options.repeat, options.threads)
    for activation in ("tanh", "gelu"):
        gram_against_weights(activation, options.repeat, options.threads)
    for kind in (np.random.SFC64, np.random.PCG64, np.random.Philox):
        generator(kind, options.repeat)
    tensor = torch.empty(1 << 20, dtype=torch.float64)
    print(f"torch normal_: {best(tensor.normal_, options.repeat) / tensor.numel() * 1e9:.1f} ns a normal")


if __name__ == "__main__":
    main()
