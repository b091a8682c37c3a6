"""Gaussian expectations against plain tensor Gauss-Hermite quadrature of the same accuracy.

    python benchmarks/expectation.py [--quick]

Two activations: one layer's <s s> for N inputs, against a 2-D product rule for every pair. Four activations:
quadruples of digits, against a 4-D product rule. The product rule takes as many nodes an axis as it needs to agree with
the library to ``--tolerance`` (relative to the Cauchy-Schwarz bound) on a few tuples; its time is measured in batches,
as PyTorch likes them, and scaled to all tuples.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

import repflow as rf
from repflow.expectation import four_point, pair_map

#: C_W and C_b at criticality, and what brings K^(1) to K* for inputs of mean square 1.
COUPLINGS = {"tanh": (1.0, 0.0, 1.0), "gelu": (1.98305826, 0.17292239, 3.56155281)}


def digits(count: int) -> np.ndarray:
    from sklearn.datasets import load_digits

    x = load_digits().data
    return (x[:count] - x.mean()) / x.std()


def best_of(repeats: int, call: Callable[[], object]) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def product_rule(activation: rf.Activation, covariance: torch.Tensor, nodes: int) -> torch.Tensor:
    """E[prod s(z_i)] on nodes^d Gauss-Hermite points for a batch of covariances (M, d, d), in whitened coordinates."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    u, w = torch.as_tensor(points), torch.as_tensor(weights / weights.sum())
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt()[:, None, :]
    m, d = covariance.shape[:2]
    total = torch.ones(())
    for variable in range(d):
        z = torch.zeros([m] + [1] * d, dtype=torch.float64)
        for axis in range(d):
            z = z + root[:, variable, axis].reshape([m] + [1] * d) * u.reshape(
                [-1 if k == axis else 1 for k in range(d)]
            )
        total = total * activation(z)
    for _ in range(d):
        total = total @ w
    return total


@dataclass
class Peer:
    """What the product rule needs.

    Attributes
    ----------
    nodes
        Nodes an axis.
    error
        Largest error reached, relative to the Cauchy-Schwarz bound.
    seconds
        For one tuple, in batches of about 2 million grid points.
    """

    nodes: int
    error: float
    seconds: float

    def describe(self, tolerance: float) -> str:
        """Nodes and error, and whether the tolerance was out of reach."""
        missed = "" if self.error <= tolerance else f", tolerance {tolerance:g} not reached"
        return f"{self.nodes} nodes an axis (error {self.error:.0e}{missed})"


def plain_quadrature(
    activation: rf.Activation,
    covariance: torch.Tensor,
    values: torch.Tensor,
    bound: torch.Tensor,
    tolerance: float,
    largest: int,
) -> Peer:
    """The fewest nodes with which the product rule reaches the tolerance on these tuples, and its time there."""
    nodes = 8
    while True:
        found = torch.cat([product_rule(activation, k[None], nodes) for k in covariance])
        error = float(((found - values).abs() / bound).max())
        if error <= tolerance or nodes >= largest:
            break
        nodes = min(largest, math.ceil(1.25 * nodes))
    d = covariance.shape[1]
    size = max(1, 2_000_000 // nodes**d)
    batch = covariance[:1].expand(size, d, d)
    return Peer(nodes, error, best_of(3, lambda: product_rule(activation, batch, nodes)) / size)


def pair_peer(activation: rf.Activation, kernel: torch.Tensor, tolerance: float) -> Peer:
    """The 2-D rule on some pairs of a kernel."""
    maps = pair_map(activation, kernel)
    a, b = torch.as_tensor(np.random.default_rng(1).integers(0, len(kernel), (2, 20)))
    index = torch.stack([a, b], dim=1)
    bound = (maps.mean[a, a] * maps.mean[b, b]).sqrt()
    return plain_quadrature(
        activation, kernel[index[:, :, None], index[:, None, :]], maps.mean[a, b], bound, tolerance, 200
    )


def quadruple_peer(activation: rf.Activation, kernel: torch.Tensor, tolerance: float, largest: int) -> Peer:
    """The 4-D rule on three quadruples of a kernel."""
    index = torch.as_tensor(np.random.default_rng(1).permutation(len(kernel))[:12].reshape(-1, 4)[:3] % len(kernel))
    values = four_point(activation, kernel, index).values
    fourth = four_point(activation, kernel, torch.arange(len(kernel))[:, None].expand(-1, 4)).values
    return plain_quadrature(
        activation,
        kernel[index[:, :, None], index[:, None, :]],
        values,
        fourth[index].pow(0.25).prod(1),
        tolerance,
        largest,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer inputs and quadruples")
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--quadruples", type=int, default=2000)
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    n = 100 if options.quick else options.inputs
    count = 200 if options.quick else options.quadruples
    generator = np.random.default_rng(0)
    print(f"tolerance {options.tolerance:g} of the Cauchy-Schwarz bound, {torch.get_num_threads()} threads")
    for name, (_, C_b, K) in COUPLINGS.items():
        activation = rf.as_activation(name)
        x = digits(n)
        kernel = C_b + (K - C_b) / 64 * torch.as_tensor(x @ x.T)
        ours = best_of(options.repeats, lambda a=activation, k=kernel: pair_map(a, k))
        peer = pair_peer(activation, kernel, options.tolerance)
        theirs = peer.seconds * n * (n + 1) / 2
        print(
            f"two  {name:5s} N={n}: {ours:.3f} s; product rule, {peer.describe(options.tolerance)}: {theirs:.2f} s, "
            f"{theirs / ours:.0f} times as long"
        )
    for name, (_, C_b, K) in COUPLINGS.items():
        activation = rf.as_activation(name)
        x = digits(64)
        kernel = C_b + (K - C_b) / 64 * torch.as_tensor(x @ x.T)
        quadruples = torch.as_tensor(generator.integers(0, 64, (count, 4)))
        ours = best_of(options.repeats, lambda a=activation, k=kernel, q=quadruples: four_point(a, k, q))
        peer = quadruple_peer(activation, kernel, options.tolerance, 32 if options.quick else 64)
        theirs = peer.seconds * count
        print(
            f"four {name:5s} {count} quadruples: {ours:.3f} s ({1e6 * ours / count:.0f} us each); product rule, "
            f"{peer.describe(options.tolerance)}: {theirs:.0f} s, {theirs / ours:.0f} times as long"
        )


if __name__ == "__main__":
    main()
