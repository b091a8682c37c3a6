"""Depth and width of a network within a number of parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """H hidden layers of width n, and what they cost.

    Attributes
    ----------
    hidden, width
        H and n.
    parameters
        Weights and biases in all.
    """

    hidden: int
    width: int
    parameters: int

    @property
    def depth(self) -> int:
        """L, the output counted."""
        return self.hidden + 1

    @property
    def ratio(self) -> float:
        """L/n: the sum of 1/n_l over hidden layers."""
        return self.hidden / self.width

    def off(self, optimum: float) -> float:
        """|log| of the ratio over its optimum."""
        return abs(math.log(self.ratio / optimum))


def count(n_in: int, n_out: int, hidden: int, width: int) -> int:
    """Weights and biases of H hidden layers of width n."""
    return (n_in + 1) * width + (hidden - 1) * (width + 1) * width + (width + 1) * n_out


def widest(n_in: int, n_out: int, hidden: int, budget: int) -> Shape | None:
    """The widest network of H hidden layers within a budget, or None where not even width 1 fits."""
    # (H - 1) n^2 + (n_in + H + n_out) n + n_out <= budget
    a, b, c = hidden - 1, n_in + hidden + n_out, n_out - budget
    if a + b + c > 0:
        return None
    width = -c // b if a == 0 else (math.isqrt(b * b - 4 * a * c) - b) // (2 * a)
    return Shape(hidden, width, count(n_in, n_out, hidden, width))


def shapes(n_in: int, n_out: int, budget: int) -> Iterator[Shape]:
    """The widest network of each depth, from one hidden layer to the deepest that fits."""
    hidden = 1
    while (shape := widest(n_in, n_out, hidden, budget)) is not None:
        yield shape
        hidden += 1


def best_shape(n_in: int, n_out: int, budget: int, optimum: float) -> Shape:
    """The shape whose L/n is closest to the optimum in ratio; the shallower of two equals.

    L/n grows with depth within a budget, so that the search ends once it is above the optimum.

    Raises
    ------
    ValueError
        Not one hidden neuron fits.
    """
    best: Shape | None = None
    for shape in shapes(n_in, n_out, budget):
        if best is None or shape.off(optimum) < best.off(optimum):
            best = shape
        if shape.ratio >= optimum:
            break
    if best is None:
        least = count(n_in, n_out, 1, 1)
        raise ValueError(
            f"parameters must be {least} or more for {n_in} inputs and {n_out} outputs, one hidden neuron, got {budget}"
        )
    return best


def neighbours(n_in: int, n_out: int, budget: int, best: Shape, how_many: int = 9) -> list[Shape]:
    """Shapes about the best one, about evenly in the logarithm of depth from a quarter to four times."""
    wanted = {best.hidden}
    for step in range(-(how_many // 2), how_many // 2 + 1):
        wanted.add(max(1, round(best.hidden * 4.0 ** (step / (how_many // 2)))))
    found = (widest(n_in, n_out, hidden, budget) for hidden in sorted(wanted))
    return [shape for shape in found if shape is not None]
