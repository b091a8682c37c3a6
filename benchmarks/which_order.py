"""Where each order of 1/n stops being enough: predicted from the series, measured against the exact law of one input.

    python benchmarks/which_order.py [--depth 9] [--accuracy 0.1] [--activations tanh sin relu gelu linear]

One input, critical couplings, equal hidden widths. Prints the table of docs/which-order.md, activation by activation:
about a minute of processor time for tanh, relu and sin each, a second for linear, ten minutes for gelu.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import repflow as rf
from repflow.comparison.order_measured import MeasuredLimit, measured_limits


def row(activation: str, entry: MeasuredLimit) -> str:
    """One line of the table."""
    if entry.measured is None:
        measured, off = "none found", ""
    else:
        measured, off = f"{entry.measured:.3g}", f"{100 * (entry.predicted / entry.measured - 1):+.1f}%"
    widths = ", ".join(map(str, entry.widths))
    return (
        f"| {activation} | {entry.statistic} | {entry.order} | {entry.predicted:.3g} | {measured} | {off} | {widths} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--depth", type=int, default=9)
    parser.add_argument("--accuracy", type=float, default=0.1)
    parser.add_argument("--activations", nargs="+", default=["tanh", "sin", "relu", "gelu", "linear"])
    options = parser.parse_args()
    x = np.ones((1, 8))
    print("| activation | statistic | order | L/n predicted | L/n measured | off by | at widths |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for activation in options.activations:
        network = rf.mlp([8, *[64] * (options.depth - 1), 1], activation=activation, init="critical", x=x)
        start = time.process_time()
        for entry in measured_limits(network, x, accuracy=options.accuracy):
            print(row(activation, entry), flush=True)
        print(f"<!-- {activation}: {time.process_time() - start:.0f} s -->", flush=True)


if __name__ == "__main__":
    main()
