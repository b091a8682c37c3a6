"""Where an elementwise function stops being smooth: jumps and kinks, found from its values alone.

A function with a jump in its k-th derivative at c has (k+1)-th differences of size J h^k there, against h^(k+1) where
it is smooth. Refining the step around the candidates separates the two.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# Binomial weights of the first, second and third difference.
_WEIGHTS = (
    np.array([-1.0, 1.0]),
    np.array([1.0, -2.0, 1.0]),
    np.array([-1.0, 3.0, -3.0, 1.0]),
)
# The finest step per order of the derivative that jumps: below it rounding in the difference quotient takes over.
_FINEST = (1e-13, 1e-8, 2e-5)
_REACH = 40.0
_STEP = 1.0 / 16.0
_REFINE = 8


def _quotient(values: Values, left: NDArray[np.float64], h: float, order: int) -> NDArray[np.float64]:
    """|D_{order+1} f| / h^order on stencils that start at ``left``."""
    weights = _WEIGHTS[order]
    points = left[:, None] + h * np.arange(weights.size)
    return np.abs(values(points.ravel()).reshape(points.shape) @ weights) / h**order


def _search(values: Values, order: int, threshold: float) -> list[float]:
    h = _STEP
    # An irrational offset keeps a kink from sitting exactly on a stencil's end, where a difference would miss it.
    left = np.arange(-_REACH, _REACH, h) - h * 0.3819660112501051
    scale = np.abs(values(left)) + 1.0
    left = left[_quotient(values, left, h, order) > threshold * scale * min(1.0, h * 4)]
    while left.size and h > _FINEST[order]:
        width = _WEIGHTS[order].size - 1
        finer = max(h / _REFINE, _FINEST[order])
        offsets = np.arange(-finer, width * h + finer, finer)
        left = np.unique((left[:, None] + offsets).ravel())
        quotient = _quotient(values, left, finer, order)
        # A true jump keeps its quotient while the step shrinks; a smooth function's falls in proportion to the step.
        left = left[quotient > threshold * (np.abs(values(left)) + 1.0)]
        if left.size:
            keep = np.zeros(left.size, dtype=bool)
            quotient = _quotient(values, left, finer, order)
            groups = np.split(np.arange(left.size), np.nonzero(np.diff(left) > 4 * width * finer)[0] + 1)
            for group in groups:
                keep[group[np.argmax(quotient[group])]] = True
            left = left[keep]
        if left.size > 4096:  # nowhere smooth at this scale: no list of points describes it
            return []
        if finer == h:
            break
        h = finer
    width = _WEIGHTS[order].size - 1
    return [float(x + 0.5 * h * width) for x in left if _persists(values, x, h, order)]


def _persists(values: Values, left: float, h: float, order: int) -> bool:
    """Whether the quotient at step h is still what it is at 8 h: at a jump it is, where f is merely steep it has
    fallen eightfold.
    """
    wide = np.asarray(left + h * np.arange(-8 * (_WEIGHTS[order].size - 1), 1), dtype=np.float64)
    return float(_quotient(values, np.array([left]), h, order)[0]) > 0.35 * float(
        _quotient(values, wide, 8 * h, order).max()
    )


def _snap(point: float, order: int) -> float:
    """Round to a short decimal when one lies within the resolution: kinks are written by people."""
    for digits in range(0, 9):
        rounded = round(point, digits)
        if abs(rounded - point) <= 4 * _FINEST[order] + 1e-15 * abs(point):
            return rounded + 0.0
    return point


def find_breakpoints(values: Values, threshold: float = 2e-3) -> tuple[tuple[float, int], ...]:
    """Points of [-40, 40] where a function or one of its first two derivatives jumps.

    Parameters
    ----------
    values
        The function, from a one-dimensional float64 array to its values.
    threshold
        Smallest jump that counts, relative to 1 + |f|.

    Returns
    -------
    tuple of (point, order)
        In ascending order; ``order`` is the lowest derivative that jumps there: 0 the function itself, 1 its slope, 2
        its curvature.
    """
    found: list[tuple[float, int]] = []
    for order in range(3):
        for point in _search(values, order, threshold):
            snapped = _snap(point, order)
            if all(abs(snapped - other) > 20 * _FINEST[2] for other, _ in found):
                found.append((snapped, order))
    return tuple(sorted(found))
