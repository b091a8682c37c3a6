"""One input, layer by layer: how its fluctuation grows and how long a change of its kernel is remembered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.gram_chain import relu_products, simulate

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Running:
    """One input of one kind of network at infinite-width predictions and as sampled, layer by layer.

    Attributes
    ----------
    name
        What it is.
    width
        n.
    hidden
        (M,) numbers of hidden layers below, l - 1.
    kernel
        (M,) K at infinite width.
    predicted
        (M,) V/(n K^2) at order 1/n.
    ratio, ratio_stderr
        (M,) sampled Var G/K^2.
    correction, correction_stderr, correction_predicted
        (M,) sampled E[G]/K - 1 and G1/(n K).
    memory, memory_stderr, memory_predicted
        (M,) by what a small relative change of G in the layer with ``origin`` hidden layers below is multiplied from
        there on: the regression coefficient of G/K on it, and the product of chi_parallel K/K'. NaN below it.
    origin
        That layer.
    """

    name: str
    width: int
    hidden: NDArray[np.int64]
    kernel: FloatArray
    predicted: FloatArray
    ratio: FloatArray
    ratio_stderr: FloatArray
    correction: FloatArray
    correction_stderr: FloatArray
    correction_predicted: FloatArray
    memory: FloatArray
    memory_stderr: FloatArray
    memory_predicted: FloatArray
    origin: int

    def at(self, hidden: int) -> int:
        """The row of a number of hidden layers."""
        return int(np.flatnonzero(self.hidden == hidden)[0])


def run_one_input(
    name: str,
    activation: str,
    C_W: float,
    K1: float,
    width: int,
    hidden: Sequence[int],
    origin: int,
    networks: int,
    key: tuple[int, ...],
) -> Running:
    """Sample Gram chains of one input without biases and put order 1/n beside them."""
    from repflow.criticality import typical_behaviour

    path = typical_behaviour(activation, C_W, 0.0, K1, max(hidden) + 1)
    at = np.asarray(hidden)
    K = path.kernel[at]
    growth = (path.chi_parallel * path.kernel)[:-1] / path.kernel[1:]
    layers = [count + 1 for count in hidden]
    if activation == "relu":
        gram = K1 * relu_products(width, layers, networks, key)
        square = (gram / K[:, None] - 1.0) ** 2
        pairs = [(float(one.mean()), float(one.std(ddof=1)) / math.sqrt(networks)) for one in square]
        means = [(float(one.mean()), float(one.std(ddof=1)) / math.sqrt(networks)) for one in gram / K[:, None]]
        noise = None
    else:
        chains = simulate(activation, C_W, 0.0, K1, width, layers, networks, key, growth)
        gram, noise = chains.gram, chains.response
        pairs = [chains.relative_variance(row, float(K[row])) for row in range(len(hidden))]
        means = [chains.mean(row, lambda g: g) for row in range(len(hidden))]
    memory, error, predicted = (np.full(len(hidden), math.nan) for _ in range(3))
    start = list(hidden).index(origin)
    for row in range(start, len(hidden)):
        predicted[row] = float(np.prod(growth[origin : hidden[row]]))
        later = None if noise is None else noise[row] - predicted[row] * noise[start]
        memory[row], error[row] = regression(gram[row] / K[row], gram[start] / K[start], later)
    ratio, ratio_error = np.array(pairs).T
    mean, mean_error = np.array(means).T
    if activation != "relu":
        mean, mean_error = mean / K, mean_error / K
    return Running(
        name=name,
        width=width,
        hidden=at.astype(np.int64),
        kernel=K,
        predicted=path.vertex[at] / (width * K**2),
        ratio=ratio,
        ratio_stderr=ratio_error,
        correction=mean - 1.0,
        correction_stderr=mean_error,
        correction_predicted=path.kernel_correction[at] / (width * K),
        memory=memory,
        memory_stderr=error,
        memory_predicted=predicted,
        origin=origin,
    )


def regression(y: FloatArray, x: FloatArray, noise: FloatArray | None = None) -> tuple[float, float]:
    """The coefficient of y on x, all (networks,), and its standard error whatever the spread of y given x.

    ``noise`` is something independent of x that y depends on, taken out first: the coefficient stays, its error falls.
    """
    centred, rest = x - x.mean(), y - y.mean()
    if noise is not None and float(np.ptp(noise)) > 0.0:
        other = noise - noise.mean()
        square = np.array([[(a * b).sum() for a in (centred, other)] for b in (centred, other)])
        fit = np.linalg.solve(square, np.array([(centred * rest).sum(), (other * rest).sum()]))
        rest = rest - fit[1] * other
    total = float((centred**2).sum())
    slope = float((centred * rest).sum()) / total
    residual = rest - slope * centred
    return slope, math.sqrt(float(((centred * residual) ** 2).sum())) / total


def power(values: FloatArray, errors: FloatArray, places: FloatArray) -> tuple[float, float]:
    """The exponent between the first and the last of several values, and its standard error (ends independent)."""
    span = math.log(places[-1] / places[0])
    slope = math.log(values[-1] / values[0]) / span
    return slope, math.hypot(errors[-1] / values[-1], errors[0] / values[0]) / span
