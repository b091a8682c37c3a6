"""Which order of 1/n to trust for this network: from the series of the input that fluctuates most."""

from __future__ import annotations

import math

from repflow.comparison.order import Statistic, WhichOrder, which_order
from repflow.network import Network
from repflow.reporting.fluctuations import FloatArray
from repflow.reporting.words import number, percent

#: The highest order judged, and the relative error that is enough.
HIGHEST, ENOUGH = 2, 0.1
_NAMES: dict[Statistic, str] = {"mean": "mean kernel", "variance": "variance of the kernel"}


def assess_orders(network: Network, x: FloatArray) -> WhichOrder | None:
    """The errors of orders 0, 1 and 2 at the output for one input, shape (n_0,).

    None for a single layer, which has no corrections, and where signals overflow so that there is no series.
    """
    if network.depth == 1:
        return None
    try:
        return which_order(network, x[None], order=HIGHEST, accuracy=ENOUGH)
    except ValueError:
        return None


def order_sentence(orders: WhichOrder) -> str:
    """Which order is enough, in words."""
    parts = []
    said: tuple[tuple[Statistic, str], ...] = (("mean", "the mean kernel"), ("variance", "its variance"))
    for statistic, name in said:
        enough = orders.enough(statistic)
        if enough is not None:
            parts.append(f"order {enough} is enough for {name}")
            continue
        last = orders.of(statistic, max(entry.order for entry in orders.errors))
        parts.append(
            f"no order up to {last.order} is enough for {name} (order {last.order} errs by {_error(last.error)})"
        )
    return f"To {100 * orders.accuracy:.3g}%: {', '.join(parts)}."


def order_rows(orders: WhichOrder | None) -> list[tuple[str, int, str, str]]:
    """The table: statistic, order, error here, and the L/n up to which the order is enough, ~ where it is rough."""
    return [
        (
            _NAMES[entry.statistic],
            entry.order,
            _error(entry.error),
            ("" if entry.settled else "~") + number(entry.limit),
        )
        for entry in (() if orders is None else orders.errors)
        if entry.statistic == "mean" or entry.order > 0  # order 0 has no variance
    ]


def _error(value: float) -> str:
    if value < 1e-12:
        return "0"
    return "above 100%" if not math.isfinite(value) or value > 1 else percent(value)
