"""The flow of digits through ten layers: seconds, memory, and ratios to its peers.

    python benchmarks/flow.py [--quick]

Kernel: N = 1000 inputs, n_0 = 64, depth 10 (target 1.5 s and 1 GiB; with the tangent kernel 2.5 s). Vertex in full:
gelu, N = 16 (10 s) and N = 32 (60 s). Tangent kernel at order 1, gelu: all tensors at N = 4 (30 s), A, B, D, F at
N = 16 (60 s). Peers, measured in the same run: tensor quadrature, 2-D for the kernel and 4-D
for the vertex, at nodes that reach 1e-6 (in batches, see benchmarks/expectation.py), and an ensemble of Gram-matrix
chains: M of them know a variance to sqrt(2/M) of itself, their cost is that of repflow.sample with method="gram".
"""

from __future__ import annotations

import argparse
import math
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch

import repflow as rf
from expectation import COUPLINGS, best_of, digits, pair_peer, quadruple_peer

ACCURACY = 1e-6


class PeakMemory:
    """Growth of the resident set during a block, sampled every 5 ms."""

    def __enter__(self) -> PeakMemory:
        self._process = psutil.Process()
        self._start = self.peak = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, self._process.memory_info().rss)

    @property
    def growth(self) -> float:
        """GiB."""
        return (self.peak - self._start) / 2**30


def network(name: str, depth: int, width: int = 64) -> rf.Network:
    C_W, C_b, K = COUPLINGS[name]
    widths = [64, *[width] * (depth - 1), 10]
    return rf.mlp(widths, name, C_W=[K - C_b, *[C_W] * (depth - 1)], C_b=C_b)


def chain_cost(net: rf.Network, x: Any, networks: int) -> float:
    """Seconds for one network of the Gram-matrix chain."""
    rf.sample(net, x, networks=networks, seed=1, method="gram")
    start = time.perf_counter()
    rf.sample(net, x, networks=networks, seed=0, method="gram")
    return (time.perf_counter() - start) / networks


def kernels(n: int, depth: int, repeats: int) -> None:
    x = digits(n)
    for name in COUPLINGS:
        net = network(name, depth)
        rf.flow(net, x[:8], order=0, tangent=True)
        with PeakMemory() as memory:
            rf.flow(net, x, order=0)
        seconds = best_of(repeats, lambda net=net: rf.flow(net, x, order=0))
        tangent = best_of(repeats, lambda net=net: rf.flow(net, x, order=0, tangent=True))
        print(f"kernel {name:5s} N={n} L={depth}: {seconds:.2f} s, +{memory.growth:.2f} GiB; with NTK {tangent:.2f} s")
        peer = pair_peer(rf.as_activation(name), rf.flow(net, x[:100], order=0)[1].kernel, ACCURACY)
        theirs = peer.seconds * n * (n + 1) / 2 * (depth - 1)
        print(f"       2-D quadrature, {peer.describe(ACCURACY)}: {theirs:.1f} s, {theirs / seconds:.0f} times as long")


def vertices(n: int, depth: int, repeats: int, chains: int, largest: int) -> None:
    name = "gelu"
    net, x = network(name, depth), digits(n)
    rf.flow(net, x[:3])
    seconds = best_of(repeats, lambda: rf.flow(net, x))
    found = rf.flow(net, x)
    count = math.comb(n + 3, 4)
    print(
        f"vertex {name} N={n} L={depth}, {count} quadruples a layer: {seconds:.1f} s (error estimate {found.error:.0e})"
    )
    peer = quadruple_peer(rf.as_activation(name), found[1].kernel, ACCURACY, largest)
    theirs = peer.seconds * count * (depth - 1)
    print(f"       4-D quadrature, {peer.describe(ACCURACY)}: {theirs:.0f} s, {theirs / seconds:.0f} times as long")
    cost = chain_cost(net, x, chains)
    # A variance measured on M networks is known to sqrt(2/M) of itself, were the fluctuation Gaussian.
    for accuracy in (1e-2, ACCURACY):
        needed = 2 / accuracy**2
        print(
            f"       ensemble, {needed:.0e} Gram chains of {1e6 * cost:.0f} us for V to {accuracy:g}: "
            f"{needed * cost:.2g} s, {needed * cost / seconds:.2g} times as long"
        )


def tangents(n: int, depth: int, repeats: int, differentials: bool, largest: int) -> None:
    name = "gelu"
    net, x = network(name, depth), digits(n)
    rf.flow(net, x[:2], tangent=True, differentials=differentials)
    seconds = best_of(repeats, lambda: rf.flow(net, x, tangent=True, differentials=differentials))
    pairs = n * (n + 1) // 2
    count = 2 * math.comb(n + 3, 4) + pairs**2  # <s s s s> and <s' s' s' s'>, <s s s' s'>
    if differentials:  # derivatives of orders 0112, 1113 and 1122
        count += n * n * pairs + math.comb(n + 2, 3) * n + pairs**2
    what = "A B D F P Q R S T U" if differentials else "A B D F"
    print(f"tangent {name} N={n} L={depth}, {what}, {count} expectations a layer: {seconds:.1f} s")
    peer = quadruple_peer(rf.as_activation(name), rf.flow(net, x, order=0)[1].kernel, ACCURACY, largest)
    theirs = peer.seconds * count * (depth - 1)
    print(f"       4-D quadrature, {peer.describe(ACCURACY)}: {theirs:.0f} s, {theirs / seconds:.0f} times as long")
    networks = 32
    start = time.perf_counter()
    rf.sample(net, x[:4], networks=networks, seed=0, tangent=True)
    cost = (time.perf_counter() - start) / networks
    needed = 2 / 1e-2**2
    print(
        f"       ensemble at N=4, {needed:.0e} networks of width 64, {1e3 * cost:.1f} ms each, for A to 1%: "
        f"{needed * cost:.2g} s, {needed * cost / seconds:.2g} times as long"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="N = 200 for the kernel, N = 8 for the vertex")
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--chains", type=int, default=2000, help="Gram chains timed")
    parser.add_argument("--skip-large", action="store_true", help="leave N = 32 out")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, load {psutil.getloadavg()[0]:.1f}, {Path(__file__).name}")
    kernels(200 if options.quick else 1000, options.depth, options.repeats)
    for n in (8,) if options.quick else (16,) if options.skip_large else (16, 32):
        vertices(n, options.depth, options.repeats, options.chains, 32 if options.quick else 64)
    for n, differentials in ((4, True), (8 if options.quick else 16, False)):
        tangents(n, options.depth, options.repeats, differentials, 32 if options.quick else 64)


if __name__ == "__main__":
    main()
