"""What the experiment on the renormalisation group flow measures: growth, memory, the digits' couplings, one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.emergent_scale import variance
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
        pairs = [variance(chains, row, float(K[row])) for row in range(len(hidden))]
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


def digits_couplings(activation: str, width: int, last: int, networks: int, seed: int) -> list[dict[str, Any]]:
    """Exponents from layer ``last``/2 to ``last`` on three images: those that ``relevance`` predicts, and sampled ones.

    The sampled ones are those of the vertex and of the differences between inputs, from the Gram matrices of networks
    in the two layers, with errors by leaving out groups of networks. The law and the verdict of each coupling are those
    of a network twice as deep.
    """
    from repflow.build import mlp
    from repflow.criticality import relevance
    from repflow.data import load_data
    from repflow.ensemble import gram_draws
    from repflow.recursion import flow

    x = load_data("digits", inputs=200).x
    # The shortest, a middle one and the longest: differences between norms are then as large as the data has them.
    x = x[np.argsort((x**2).sum(axis=1))[[0, len(x) // 2, -1]]]
    network, deep = (
        mlp([x.shape[1], *[width] * (depth - 1), 1], activation=activation, init="critical", x=x)
        for depth in (last, 2 * last)
    )
    predicted = flow(deep, x, order=1, tangent=True)
    theory = relevance(predicted)
    # One input, chosen by theory: the largest of several sampled variances would be biased upwards.
    V, K = predicted[last].vertex.numpy(), predicted[last].kernel.numpy().diagonal()
    top = int(np.argmax([V[(a,) * 4] / K[a] ** 2 for a in range(len(K))]))
    drawn = gram_draws(network, x, networks, seed=seed, layers=[last // 2, last], progress=False)
    sampled = octave_exponents(drawn, top)
    rows = []
    for one in theory:
        # What vanishes exactly is left at rounding, which has no exponent.
        vanishes = one.law == "none" or float(one.values[-1]) < 1e-12
        exponent = None if vanishes else math.log2(one.values[last - 1] / one.values[last // 2 - 1])
        measured, error = sampled.get(one.coupling, (None, None))
        rows.append(
            {
                "activation": activation,
                "coupling": one.coupling,
                "law": "none" if vanishes else one.law,
                "exponent_or_rate": None if vanishes else one.exponent,
                "verdict": "vanishes" if vanishes else one.verdict,
                "over_octave": exponent,
                "measured": None if vanishes else measured,
                "stderr": None if vanishes else error,
            }
        )
    return rows


def octave_exponents(drawn: FloatArray, top: int = 0, groups: int = 40) -> dict[str, tuple[float, float]]:
    """Exponents of vertex, norms and directions from layer L/2 to L, with jackknife errors.

    Parameters
    ----------
    drawn
        Gram matrices in the two layers, (2, networks, N, N); the same networks.
    top
        The input whose vertex is taken.
    groups
        How many are left out in turn.
    """
    networks = drawn.shape[1] // groups * groups
    split = drawn[:, :networks].reshape(2, groups, networks // groups, *drawn.shape[2:])
    first = split.mean(axis=2)
    second = np.einsum("lgraa->lgra", split)
    second = (second**2).mean(axis=2)
    names = ("vertex", "norms", "directions")
    without = np.array(
        [_exponents(np.delete(first, k, 1).mean(1), np.delete(second, k, 1).mean(1), top) for k in range(groups)]
    )
    whole = np.array(_exponents(first.mean(1), second.mean(1), top))
    value = groups * whole - (groups - 1) * without.mean(axis=0)
    error = np.sqrt((groups - 1) / groups * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return {name: (float(value[k]), float(error[k])) for k, name in enumerate(names)}


def _exponents(mean: FloatArray, square: FloatArray, top: int) -> list[float]:
    """From E[G], (2, N, N), and E[G_aa^2], (2, N), in two layers: couplings as ``relevance`` defines them."""
    K = np.einsum("laa->la", mean)
    vertex = square[:, top] / K[:, top] ** 2 - 1.0
    norms = np.log(K.max(axis=1) / K.min(axis=1))
    upper = np.triu_indices(K.shape[1], 1)
    cosine = mean / np.sqrt(K[:, :, None] * K[:, None, :])
    directions = (1.0 - cosine[:, upper[0], upper[1]]).mean(axis=1)
    return [float(np.log2(values[1] / values[0])) for values in (vertex, norms, directions)]


def rg_step(width: int, hidden: int, networks: int, key: tuple[int, ...]) -> dict[str, Any]:
    """Integrate the neurons of one layer out of sampled tanh networks and compare with the next layer's sample.

    Given G the next layer has mean F(G), variance C2(G)/n and third cumulant C3(G)/n^2, F, C2 and C3 Gaussian
    expectations. Averaged over the sampled G of layer l, by the law of total cumulance, these are the first three
    cumulants of layer l + 1. Each is compared with the sample of layer l + 1, whose networks are the same, so that the
    difference has a small error.
    """
    from scipy.interpolate import CubicSpline
    from scipy.stats import chi2

    from repflow.criticality.susceptibility import moments
    from repflow.criticality.typical import higher_moments

    chains = simulate("tanh", 1.0, 0.0, 1.0, width, [hidden + 1, hidden + 2], networks, key, np.ones(hidden + 1))
    g, after = chains.gram
    K = np.asarray(np.geomspace(0.9 * float(g.min()), 1.1 * float(g.max()), 300), dtype=np.float64)
    at = moments_of(K, moments, higher_moments)
    F, C2, C3 = CubicSpline(np.log(K), at)(np.log(g)).T
    F, C2, C3 = F * g, C2 * g**2 / width, C3 * g**3 / width**2
    rest = after - F
    found: dict[str, Any] = {"width": width, "hidden_layers": hidden}
    scores = []
    centre = F - F.mean()
    predicted = (
        float(F.mean()),
        float(C2.mean() + (centre**2).mean()),
        float(C3.mean() + 3.0 * (centre * C2).mean() + (centre**3).mean()),
    )
    own = after - after.mean()
    sampled = (float(after.mean()), float((own**2).mean()), float((own**3).mean()))
    # What vanishes on average if the step is right: G' cumulants given G, and their products with functions of G.
    differences = (rest, rest**2 - C2 + 2.0 * rest * centre, own**3 - C3 - 3.0 * centre * C2 - centre**3)
    for name, difference, ours, theirs in zip(("mean", "variance", "third cumulant"), differences, predicted, sampled):
        error = float(difference.std(ddof=1)) / math.sqrt(networks)
        scores.append((theirs - ours) / error)
        found[name] = {"integrated": ours, "sampled": theirs, "stderr": error, "z": scores[-1]}
    found["p_value"] = float(chi2.sf(sum(score**2 for score in scores), len(scores)))
    return found


def moments_of(K: FloatArray, moments: Any, higher_moments: Any) -> FloatArray:
    """F/K, C2/K^2 and C3/K^3 of tanh at C_W = 1, shape (A, 3)."""
    from repflow.activation import as_activation

    sigma = as_activation("tanh")
    at = moments(sigma, K)
    sixth = np.array([higher_moments(sigma, float(value))[1] for value in K])
    C3 = sixth - 3.0 * at.fourth * at.square + 2.0 * at.square**3
    return np.column_stack([at.square / K, (at.fourth - at.square**2) / K**2, C3 / K**3])
