"""At finite width, couplings with their 1/n correction keep the mean kernel critical; the uncorrected ones drift."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, interval_verdict

FloatArray = NDArray[np.float64]

CLAIM = (
    "At finite width the critical couplings of order 1 keep the mean kernel of tanh networks on the critical power "
    "law, and the couplings of infinite width let it drift away."
)
ACTIVATION = "tanh"
#: Relative to the critical power law a kernel stays where its logarithm changes by less than this over the last three
#: quarters.
STAYS = 0.1
_SIZES: dict[Size, tuple[int, int, int]] = {  # hidden width, depth, chains
    "small": (16, 24, 8_000),
    "default": (32, 60, 100_000),
    "large": (32, 60, 1_000_000),
}


@experiment("criticality", CLAIM)
def criticality(size: Size, seed: int, tell: Tell) -> Outcome:
    """Simulate Gram chains of tanh networks (n = 32, L = 60, 100,000 chains) with both couplings, on one digit.

    R(l) is the mean kernel of layer l relative to the infinite-width kernel at critical couplings, which falls as a
    power law. The drift is D = log R(L) - log R(L/4), with a standard error that takes the two layers as independent
    (their correlation makes it smaller).

    Rule: a kernel stays where the 95% interval of D lies within [-0.1, 0.1], and drifts where it lies outside. "agrees"
    where the corrected kernel stays and the uncorrected one drifts, "disagrees" where the corrected one drifts or the
    uncorrected one stays, else "inconclusive".
    """
    from repflow.build import mlp
    from repflow.criticality import critical
    from repflow.data import load_data
    from repflow.ensemble import sample
    from repflow.recursion import flow

    width, depth, chains = _SIZES[size]
    x = load_data("digits", inputs=1).x
    sizes = [x.shape[1], *[width] * (depth - 1), 1]
    plain = mlp(sizes, activation=ACTIVATION, init="critical", x=x)
    corrected = critical(ACTIVATION, order=1, width=width, depth=depth)
    first = plain.layers[0]
    C_W, C_b = (
        np.broadcast_to(np.asarray(value, dtype=np.float64), (depth,)) for value in (corrected.C_W, corrected.C_b)
    )
    # Nothing has fluctuated before layer 2, so that layer 1 needs no correction.
    shifted = mlp(sizes, activation=ACTIVATION, C_W=[first.C_W, *C_W[1:].tolist()], C_b=[first.C_b, *C_b[1:].tolist()])
    reference = np.array([float(layer.kernel[0, 0]) for layer in flow(plain, x, order=0)])
    table: dict[str, Any] = {"layer": list(range(1, depth + 1)), "kernel": reference.tolist()}
    numbers: dict[str, Any] = {"C_W": first_of(C_W), "C_W_uncorrected": plain.layers[1].C_W}
    drifts: dict[str, tuple[float, float]] = {}
    for step, (name, network) in enumerate((("corrected", shifted), ("uncorrected", plain))):
        tell(f"{name} couplings", 0.5 * step)
        # Two streams of random numbers, so that the two kernels are independent.
        ensemble = sample(network, x, networks=chains, seed=seed + 1_000_003 * step, method="gram", progress=False)
        ratio = np.array([float(layer.mean_kernel()[0, 0]) for layer in ensemble]) / reference
        error = np.array([float(layer.stderr("mean_kernel")[0, 0]) for layer in ensemble]) / reference
        order1 = np.array([float(layer.mean_kernel()[0, 0]) for layer in flow(network, x, order=1)]) / reference
        table |= {f"{name}": ratio.tolist(), f"{name}_stderr": error.tolist(), f"{name}_order1": order1.tolist()}
        low, high = drift_interval(ratio, error)
        drifts[name] = (low, high)
        numbers |= {
            f"drift_{name}": 0.5 * (low + high),
            f"drift_{name}_interval": [low, high],
            f"ratio_{name}": float(ratio[-1]),
            f"ratio_{name}_stderr": float(error[-1]),
        }
    tell("verdict", 1.0)
    return Outcome(
        verdict=verdict_of(drifts["corrected"], drifts["uncorrected"]),
        numbers=numbers,
        table=table,
        figure=_figure(table),
        configuration={"activation": ACTIVATION, "width": width, "depth": depth, "chains": chains, "inputs": 1},
    )


def first_of(couplings: FloatArray) -> float | list[float]:
    """One number where all layers after the first share it, else all of them."""
    later = couplings[1:]
    return float(later[0]) if np.ptp(later) == 0.0 else [float(value) for value in couplings]


def drift_interval(ratio: FloatArray, error: FloatArray) -> tuple[float, float]:
    """95% interval of D = log R(L) - log R(L/4); both arrays of shape (L,)."""
    early = max(1, len(ratio) // 4) - 1
    drift = math.log(ratio[-1] / ratio[early])
    spread = 1.959964 * math.hypot(error[-1] / ratio[-1], error[early] / ratio[early])
    return drift - spread, drift + spread


def verdict_of(corrected: tuple[float, float], uncorrected: tuple[float, float]) -> Verdict:
    """The rule of :func:`criticality`, from the two intervals."""
    stays = {"agrees": True, "disagrees": False, "inconclusive": None}
    held, left = (stays[interval_verdict(*interval, (-STAYS, STAYS))] for interval in (corrected, uncorrected))
    if held is False or left is True:
        return "disagrees"
    return "agrees" if held is True and left is False else "inconclusive"


def _figure(table: dict[str, Any]) -> Any:
    from repflow.figures import lines
    from repflow.figures.theme import BLUE, VERMILLION

    figure = lines(
        table["layer"],
        {
            "corrected, theory at order 1": table["corrected_order1"],
            "uncorrected, theory at order 1": table["uncorrected_order1"],
        },
        {
            "corrected, ensemble": (table["corrected"], table["corrected_stderr"]),
            "uncorrected, ensemble": (table["uncorrected"], table["uncorrected_stderr"]),
        },
        x_title="layer",
        y_title="mean kernel / critical kernel",
        references={"critical": 1.0},
        height=480,
    )
    for name, colour in (("corrected", BLUE), ("uncorrected", VERMILLION)):
        figure.update_traces(selector={"name": f"{name}, theory at order 1"}, line_color=colour, line_dash="dash")
        figure.update_traces(selector={"name": f"{name}, ensemble"}, marker_color=colour, error_y_color=colour)
    return figure
