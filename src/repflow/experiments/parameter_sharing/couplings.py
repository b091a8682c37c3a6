"""How many numbers a theory takes: spins, output distributions, and weights of networks, on one chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from repflow.blocks import generator
from repflow.distribution import couplings_count, distinct_entries
from repflow.theories.counting import WIRINGS, Curve, Wiring, layer_count, spin_curves

#: Inputs at which the arrays of the flow are counted; most degrees of freedom of the chart.
INPUTS, LARGEST = (2, 3, 4), 1000


def count_couplings(seed: int) -> list[dict[str, Any]]:
    """Different numbers in the kernel and the vertex of ``rf.flow`` for random inputs, and the prediction."""
    from repflow.build import mlp
    from repflow.recursion import flow

    network = mlp([8, 30, 40, 50, 3], activation="tanh", C_W=1.3, C_b=0.2)
    rows = []
    for N in INPUTS:
        last = flow(network, generator(seed, 0, N).standard_normal((N, 8)), order=1, progress=False)[-1]
        for order, name, array in ((0, "kernel", last.kernel), (1, "vertex", last.vertex)):
            predicted = couplings_count(N, order).by_order[order]
            entries = int(array.numel())
            rows.append(
                {
                    "what": name,
                    "inputs": N,
                    "entries": entries,
                    "counted": distinct_entries(array),
                    "predicted": predicted,
                }
            )
    return rows


def output_curves(sizes: Sequence[int], orders: Sequence[int] = (0, 1, 2)) -> list[Curve]:
    """Output distributions on N inputs, to each order in 1/n."""
    names = {0: "infinite width", 1: "order 1/n", 2: "order 1/n²"}
    found = []
    for order in orders:
        counts = [couplings_count(N, order) for N in sizes]
        name = names.get(order, f"order 1/n^{order}")
        total = tuple(count.total for count in counts)
        found.append(Curve(name, "outputs", tuple(sizes), total, counts[-1].scaling[-1]))
    return found


def chart_curves(channels: int, outputs: int) -> list[Curve]:
    """Spins, output distributions, and weights of the networks on canvases of any size."""
    sizes = sorted({*range(2, 40), *(n * n for n in range(2, 32)), 50, 70, 100, 140, 200, 280, 400, 560, 800, LARGEST})
    found = [*spin_curves(sizes), *output_curves(sizes)]
    canvases = [side * side for side in range(6, 32, 2)]
    for wiring, growth in zip(WIRINGS, ("N^2", "N", "1")):
        counts = []
        for pixels in canvases:
            sites = pixels // 4
            hidden = layer_count(wiring, pixels, 1, sites, channels, 25)
            hidden += layer_count(wiring, sites, channels, sites, channels, 9)
            head: Wiring = "convolutional" if wiring == "convolutional" else "fully connected"
            counts.append(hidden + layer_count(head, sites, channels, 1, outputs, 1))
        found.append(Curve(wiring, "weights", tuple(canvases), tuple(counts), growth))
    return found
