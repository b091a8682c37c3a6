"""How much a data set's kernel differs from one initialisation to the next, for a thousand inputs.

    python examples/kernel_fluctuation.py [--inputs 1000] [--depth 10] [--width 256] [--samples 4096] [--seed 0]

The four-point vertex of N inputs has N^4 components, 10^12 for a thousand. Two numbers about the kernel G of each layer
need none of them, because each is a trace tr(A G):

- the mean of G_aa over the inputs, A = 1/N;
- a class contrast: the mean of G_ab over pairs of inputs of one class less its mean over pairs of two classes.

``rf.kernel_fluctuation`` carries A backwards through the layers and samples single neurons, so every standard deviation
comes with a standard error of that sampling. A thousand inputs take about a minute on one core.
"""

from __future__ import annotations

import argparse

import numpy as np

import repflow as rf
from repflow.data import load_data


def contrast_matrix(labels: np.ndarray) -> np.ndarray:
    """A with tr(A G) = mean of G_ab over pairs of one class - mean over pairs of two classes, a != b; shape (N, N)."""
    same = labels[:, None] == labels[None, :]
    within, between = same & ~np.eye(len(labels), dtype=bool), ~same
    return within / within.sum() - between / between.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000, help="N; 11 or more, so that some class has two images")
    parser.add_argument("--depth", type=int, default=10, help="L, the number of weight layers")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--samples", type=int, default=4096, help="single neurons drawn a layer")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.inputs < 11:
        parser.error(f"--inputs must be 11 or more, so that some class has two images, got {options.inputs}")

    data = load_data("digits", inputs=options.inputs)
    count = len(data.x)
    hidden = [options.width] * (options.depth - 1)
    network = rf.mlp([data.x.shape[1], *hidden, 10], activation="tanh", init="critical", x=data.x)
    print(network)

    size = np.eye(count) / count
    for name, A in (("mean of G_aa", size), ("class contrast", contrast_matrix(data.y))):
        found = rf.kernel_fluctuation(network, data.x, A, samples=options.samples, seed=options.seed)
        deviation = found.covariance.clamp(min=0.0).sqrt()
        # The error of a square root: that of the variance over twice the root.
        error = found.stderr / (2 * deviation).clamp(min=1e-300)
        print(f"{name}: value at infinite width, and its standard deviation between initialisations")
        for layer in range(1, len(deviation)):
            print(
                f"  layer {layer + 1:2d}  {found.mean_A[layer]:9.6f}  +- {deviation[layer]:.6f}"
                f"  (standard error {error[layer]:.6f})"
            )


if __name__ == "__main__":
    main()
