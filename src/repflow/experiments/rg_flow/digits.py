"""Exponents of the couplings of three images of the digits, predicted and measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


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
