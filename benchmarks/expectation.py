"""Gaussian expectations against plain tensor Gauss-Hermite quadrature of the same accuracy.

    python benchmarks/expectation.py [--quick]

Two activations: one layer's <s s> for N inputs, against a 2-D product rule for every pair. Four activations: quadruples of digits,
against a 4-D product rule. The product rule takes as many nodes an axis as it needs to agree with the library to ``--tolerance``
(relative to the Cauchy-Schwarz bound) on a few tuples; its time is measured on those and scaled to all of them.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

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


def product_rule(activation: rf.Activation, covariance: np.ndarray, nodes: int) -> float:
    """E[prod s(z_i)] on nodes^d Gauss-Hermite points."""
    u, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(min=0))
    d = len(covariance)
    total = np.array(1.0)
    for variable in range(d):
        z = np.zeros([1] * d)
        for axis in range(d):
            z = z + root[variable, axis] * u.reshape([-1 if k == axis else 1 for k in range(d)])
        total = total * activation(torch.as_tensor(z)).numpy()
    for _ in range(d):
        total = total @ w
    return float(total)


def nodes_needed(
    activation: rf.Activation, cases: list[tuple[np.ndarray, float, float]], tolerance: float, largest: int
) -> tuple[int, float, float]:
    """Nodes an axis, the error reached, and the seconds for one tuple."""
    nodes, error = 8, math.inf
    while True:
        start = time.perf_counter()
        error = max(abs(product_rule(activation, k, nodes) - value) / bound for k, value, bound in cases)
        seconds = (time.perf_counter() - start) / len(cases)
        if error <= tolerance or nodes >= largest:
            return nodes, error, seconds
        nodes = min(largest, math.ceil(1.3 * nodes))


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
        ours = best_of(options.repeats, lambda: pair_map(activation, kernel))
        maps = pair_map(activation, kernel)
        cases = []
        for a, b in generator.integers(0, n, (20, 2)):
            index = np.array([a, b])
            bound = float((maps.mean[a, a] * maps.mean[b, b]).sqrt())
            cases.append((kernel.numpy()[np.ix_(index, index)], float(maps.mean[a, b]), bound))
        nodes, error, seconds = nodes_needed(activation, cases, options.tolerance, 200)
        theirs = seconds * n * (n + 1) / 2
        print(
            f"two  {name:6s} N={n}: {ours:.3f} s; product rule, {nodes}^2 nodes (error {error:.0e}): {theirs:.1f} s, "
            f"{theirs / ours:.0f} times as long"
        )
    for name, (_, C_b, K) in COUPLINGS.items():
        activation = rf.as_activation(name)
        x = digits(64)
        kernel = C_b + (K - C_b) / 64 * torch.as_tensor(x @ x.T)
        quadruples = torch.as_tensor(generator.integers(0, 64, (count, 4)))
        ours = best_of(options.repeats, lambda: four_point(activation, kernel, quadruples))
        found = four_point(activation, kernel, quadruples)
        cases = []
        for number in range(4):
            index = quadruples[number].numpy()
            fourth = [float(four_point(activation, kernel, torch.tensor([[i] * 4])).values[0]) for i in index]
            bound = math.prod(fourth) ** 0.25
            cases.append((kernel.numpy()[np.ix_(index, index)], float(found.values[number]), bound))
        nodes, error, seconds = nodes_needed(activation, cases, options.tolerance, 32 if options.quick else 64)
        theirs = seconds * count
        print(
            f"four {name:6s} {count} quadruples: {ours:.3f} s ({1e6 * ours / count:.0f} us each); product rule, {nodes}^4 nodes "
            f"(error {error:.0e}): {theirs:.0f} s, {theirs / ours:.0f} times as long"
        )


if __name__ == "__main__":
    main()
