"""One step of the implementation against the enumeration of `wick`, every component, from arbitrary tensors of layer l.

The numbers of layer l are random, with no more symmetry than the definitions give, and the widths unequal; expectations
are sums over a grid in four dimensions. The two sides share no formula.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from tests.recursion.wick import STATISTICS, leading
from tests.recursion.wick_terms import Sum, orbit

from repflow.activation import as_activation
from repflow.network import Layer
from repflow.recursion.differentials import Differentials
from repflow.recursion.forward import State
from repflow.recursion.pairs import Pairs
from repflow.recursion.step import Statistics, next_step
from repflow.recursion.tangent import Tangent

N = 4  # so that all four inputs of a tensor can differ
NUMBERS = {"C_W": 1.3, "C_b": 0.2, "lambda_W": 0.7, "lambda_b": 0.4}
WIDTH, WIDTH_BEFORE = 30, 20
SHIFT = 0.4  # sin(z + SHIFT) is entire, neither odd nor even, and has a derivative of every order


def _random(name: str, rng: np.random.Generator) -> np.ndarray:
    """A tensor with the symmetries of its definition."""
    slots = 2 if name in ("Theta", "G1", "H1") else 4
    free = rng.standard_normal((N,) * slots)
    images = orbit(name, tuple(range(slots)))
    return sum(free.transpose(image) for image in images) / len(images)


class Numbers:
    """The value of a derived expression at given inputs."""

    def __init__(self, kernel: np.ndarray, tensors: dict[str, np.ndarray]) -> None:
        nodes, weights = np.polynomial.hermite_e.hermegauss(20)
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*[nodes] * N, indexing="ij")])
        self._z = np.linalg.cholesky(kernel) @ grid
        self._weights = functools.reduce(np.multiply.outer, [weights / math.sqrt(2 * math.pi)] * N).ravel()
        self._tensors = tensors
        self._means: dict[tuple, float] = {}

    def mean(self, factors: tuple[tuple[int, int], ...]) -> float:
        """<product of sigma^(order) at an input>, from (input, order)."""
        key = tuple(sorted(factors))
        if key not in self._means:
            values = [np.sin(self._z[a] + SHIFT + order * math.pi / 2) for a, order in key]
            self._means[key] = float(np.prod(values, axis=0) @ self._weights)
        return self._means[key]

    def __call__(self, expression: Sum, inputs: dict[int, int]) -> float:
        """The expression with an input put in for each label."""
        total = 0.0
        for term, coefficient in expression.items():
            value = float(coefficient)
            for atom, power in Counter(term).items():
                value *= self._factor(atom, inputs) ** power
            total += value
        return total

    def _factor(self, atom: tuple, inputs: dict[int, int]) -> float:
        name, *rest = atom
        if name == "<>":
            return self.mean(tuple((inputs[label], order) for label, order in rest))
        if name == "n/m":
            return WIDTH / WIDTH_BEFORE
        if name in NUMBERS:
            return NUMBERS[name]
        return float(self._tensors[name][tuple(inputs[label] for label in rest)])


@pytest.fixture(scope="module")
def step():
    """The numbers of layer l, and what the implementation makes of them."""
    rng = np.random.default_rng(5)
    root = rng.standard_normal((N, N)) / 2
    kernel = root @ root.T + 0.2 * np.eye(N)
    tensors = {name: _random(name, rng) for name in ("Theta", "G1", "H1", *"VABDFPQRSTU")}
    of = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in tensors.items()}
    pairs = Pairs(N, of["Theta"].device)
    square = pairs.compress_square
    before = Statistics(
        State(torch.from_numpy(kernel), square(of["V"]), pairs.compress(of["G1"]), of["Theta"]),
        Tangent(of["H1"], square(of["A"]), of["B"], square(of["D"]), of["F"]),
        Differentials(*(of[name] for name in "PQRSTU")),
    )
    layer = Layer(WIDTH, 7, NUMBERS["C_W"], NUMBERS["C_b"], NUMBERS["lambda_W"], NUMBERS["lambda_b"], None)
    after = next_step(before, layer, as_activation(lambda z: torch.sin(z + SHIFT)), WIDTH_BEFORE)
    assert after.tangent is not None
    assert after.differentials is not None
    assert after.forward.vertex is not None
    assert after.forward.correction is not None
    found = {
        "V": pairs.expand_square(after.forward.vertex),
        "G1": pairs.expand(after.forward.correction),
        "H1": after.tangent.correction,
        "A": pairs.expand_square(after.tangent.A),
        "B": after.tangent.B,
        "D": pairs.expand_square(after.tangent.D),
        "F": after.tangent.F,
        **vars(after.differentials),
        "K": after.forward.kernel,
        "Theta": after.forward.ntk,
    }
    return Numbers(kernel, tensors), {name: value.numpy() for name, value in found.items()}


def _assert_equal(numbers: Numbers, expression: Sum, labels: tuple[int, ...], found: np.ndarray) -> None:
    expected = np.empty((N,) * len(labels))
    for inputs in itertools.product(range(N), repeat=len(labels)):
        expected[inputs] = numbers(expression, dict(zip(labels, inputs)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("name", STATISTICS)
def test_one_step_is_what_the_enumeration_gives(name, step):
    numbers, found = step
    statistic = STATISTICS[name]
    _assert_equal(numbers, leading(statistic.recursion()), statistic.inputs, found[name])


@pytest.mark.parametrize(("name", "of"), [("K", "G1"), ("Theta", "H1")])
def test_infinite_width(name, of, step):
    numbers, found = step
    _assert_equal(numbers, STATISTICS[of].recursion().order(0), STATISTICS[of].inputs, found[name])
