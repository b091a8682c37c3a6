"""Where each order of 1/n stops being enough, measured: against the exact law of G for one input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from repflow.comparison.order import STATISTICS, Statistic, which_order
from repflow.exact import gram_density
from repflow.network import Network
from repflow.recursion.expansion import expansion


@dataclass(frozen=True)
class MeasuredLimit:
    """One statistic at one order.

    Attributes
    ----------
    statistic, order
        As in :class:`repflow.comparison.order.OrderError`.
    predicted
        L/n at which its error reaches the accuracy, from the series.
    measured
        The same from the exact law, interpolated in log error against log L/n between two widths; ``None`` where the
        error stayed on one side of the accuracy, for instance down to the least width.
    widths, errors
        Those two widths, or the last one on that side, and the exact relative errors there.
    """

    statistic: Statistic
    order: int
    predicted: float
    measured: float | None
    widths: tuple[int, ...]
    errors: tuple[float, ...]


def measured_limits(
    network: Network, x: Any, *, order: int = 2, accuracy: float = 0.1, least_width: int = 2, most_width: int = 1024
) -> tuple[MeasuredLimit, ...]:
    """The L/n at which the mean and the variance of the output's G at each order are off by a share, beside theory.

    The hidden layers all get one width, which is varied; couplings and depth stay. At each width the error is that of
    the series, cut, against :func:`repflow.exact.gram_density`, which expands nothing.

    Parameters
    ----------
    network
        Its depth, activations and couplings are used; its hidden widths are not.
    x
        One input, shape (n_0,) or (1, n_0).
    order
        The highest order.
    accuracy
        Relative error that is enough, between 0 and 1.
    least_width, most_width
        Widths are taken from this range, 1 or more.

    Returns
    -------
    tuple of MeasuredLimit
        The mean at order 0, 1, ..., and the variance from order 1 on, which at order 0 has none. Orders that the series
        says are exact are left out, and those whose limit lies beyond the most width.

    Raises
    ------
    TypeError, ValueError
        As :func:`which_order` and :func:`repflow.exact.gram_density`, or a width is not in order.
    """
    if not 1 <= least_width < most_width:
        raise ValueError(f"least_width must be from 1 to below most_width, got {least_width!r} and {most_width!r}")
    hidden = network.depth - 1
    if hidden < 1:
        raise ValueError("network must have a hidden layer: without one G is fixed")
    first = which_order(with_hidden_width(network, most_width), _row(x), order=order, accuracy=accuracy)
    known: dict[int, dict[tuple[Statistic, int], float]] = {}
    found = []
    for entry in first.errors:
        if not 0.0 < entry.limit < math.inf or entry.limit < hidden / most_width:
            continue

        def error(width: int, key: tuple[Statistic, int] = (entry.statistic, entry.order)) -> float:
            if width not in known:
                known[width] = _errors(with_hidden_width(network, width), x, order)
            return known[width][key]

        power = entry.order + (1 if entry.statistic == "mean" else 0)
        widths, errors = _bracket(error, hidden / entry.limit, power, accuracy, least_width, most_width)
        measured = None if len(widths) == 1 else hidden / _interpolated(widths, errors, accuracy)
        found.append(MeasuredLimit(entry.statistic, entry.order, entry.limit, measured, widths, errors))
    return tuple(found)


def with_hidden_width(network: Network, width: int) -> Network:
    """The same network with one width in all hidden layers; the variances of weights scale with the fan-in."""
    last = network.depth - 1
    return Network(
        tuple(
            replace(layer, n_in=layer.n_in if l == 0 else width, n_out=layer.n_out if l == last else width)
            for l, layer in enumerate(network.layers)
        )
    )


def _row(x: Any) -> Any:
    return x[None] if getattr(x, "ndim", 2) == 1 else x


def _errors(network: Network, x: Any, order: int) -> dict[tuple[Statistic, int], float]:
    """Exact relative errors of every order."""
    exact = gram_density(network, x, moments=3)[-1]
    series = expansion(network, _row(x), max(order, 1))[-1]
    truth = {"mean": exact.mean(), "variance": exact.variance()}
    return {
        (name, k): abs(float(series.cumulant(m, k).sum()) - truth[name]) / abs(truth[name])
        for m, name in enumerate(STATISTICS, start=1)
        for k in range(order + 1)
    }


def _bracket(
    error: Callable[[int], float], start: float, power: int, accuracy: float, least: int, most: int
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Two widths near the one at which the error is the accuracy, one on either side where there is one.

    The error falls as width^-power to leading order, so that each width says where to look next.
    """
    width = min(max(round(start), least), most)
    seen = {width: error(width)}
    for _ in range(4):
        goal = min(max(round(width * (seen[width] / accuracy) ** (1.0 / power)), least), most)
        if goal in seen:
            goal = min(max(width + (1 if seen[width] > accuracy else -1), least), most)
        if goal in seen:
            break
        width = goal
        seen[width] = error(width)
        if min(seen.values()) <= accuracy < max(seen.values()):
            break
    wide = [n for n, value in seen.items() if value <= accuracy]
    narrow = [n for n, value in seen.items() if value > accuracy]
    if not narrow or not wide:
        only = min(wide) if wide else max(narrow)
        return (only,), (seen[only],)
    pair = max(narrow), min(wide)
    return pair, (seen[pair[0]], seen[pair[1]])


def _interpolated(widths: tuple[int, ...], errors: tuple[float, ...], accuracy: float) -> float:
    """The width at which a power law through both errors is the accuracy."""
    (a, b), (high, low) = widths, errors
    share = math.log(high / accuracy) / math.log(high / low)
    return a * (b / a) ** share
