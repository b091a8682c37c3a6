"""The output of real networks on the digits becomes Gaussian as 1/n."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.fits import RateFit, fit_rate
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import interval_verdict

FloatArray = NDArray[np.float64]

CLAIM = (
    "The output distribution of a randomly initialised network becomes Gaussian as 1/n: its excess kurtosis falls as "
    "the inverse of the width."
)
ACTIVATION, DEPTH = "tanh", 4
#: The slope of log kurtosis in log width that counts as -1, the confidence of its interval, and the fit's smallest
#: p-value.
SLOPES, CONFIDENCE, LEAST_P = (-1.05, -0.95), 0.95, 1e-3
_SIZES: dict[Size, tuple[tuple[int, ...], int]] = {
    "small": ((8, 16, 32, 64, 128), 4_000),
    "default": ((8, 12, 16, 24, 32, 48, 64, 96, 128), 40_000),
    "large": ((8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256), 200_000),
}


@experiment("gaussian-limit", CLAIM)
def gaussian_limit(size: Size, seed: int, tell: Tell) -> Outcome:
    """Draw real networks (tanh, L = 4, critical couplings) on one image of the digits at several widths.

    At each width the excess kurtosis of an output over initialisations is 3 Var G / (E G)^2, exactly, since the output
    is Gaussian given the last hidden layer; G is its variance in each network drawn. a n^s (1 + b/n) is fitted to it by
    weighted least squares.

    Rule: "agrees" where the 95% interval of s lies within [-1.05, -0.95], "disagrees" where it lies outside,
    "inconclusive" where it straddles an end, or where the fit's p-value is below 1e-3, so that the interval means
    nothing.
    """
    from repflow.build import mlp
    from repflow.data import load_data
    from repflow.ensemble import sample
    from repflow.recursion import flow

    widths, networks = _SIZES[size]
    x = load_data("digits", inputs=1).x
    rows: list[dict[str, float]] = []
    for k, n in enumerate(widths):
        tell(f"width {n}", k / len(widths))
        network = mlp([x.shape[1], *[n] * (DEPTH - 1), 10], activation=ACTIVATION, init="critical", x=x)
        # Another stream of random numbers at every width, so that the points are independent.
        ensemble = sample(network, x, networks=networks, seed=seed + 1_000_003 * k, method="weights", progress=False)
        output = ensemble[-1]
        square = float(output.mean_kernel()[0, 0]) ** 2
        rows.append(
            {
                "width": n,
                "kurtosis": 3.0 * float(output.kernel_covariance()[0, 0, 0, 0]) / square,
                "stderr": 3.0 * float(output.stderr("kernel_covariance")[0, 0, 0, 0]) / square,
                "kurtosis_of_z": float(output.excess_kurtosis()[0]),
                "stderr_of_z": float(output.stderr("excess_kurtosis")[0]),
                "theory": float(flow(network, x, order=1)[-1].excess_kurtosis()[0]),
            }
        )
    tell("fit", 1.0)
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    fit = fit_rate(table["width"].astype(np.float64), table["kurtosis"], table["stderr"])
    low, high = (fit.slope + sign * 1.959964 * fit.slope_error for sign in (-1.0, 1.0))
    verdict = interval_verdict(low, high, SLOPES) if fit.p_value >= LEAST_P else "inconclusive"
    coefficient = table["theory"][-1] * table["width"][-1]
    numbers: dict[str, Any] = {
        "slope": fit.slope,
        "slope_error": fit.slope_error,
        "slope_interval": [low, high],
        "accepted": list(SLOPES),
        "p_value": fit.p_value,
        "amplitude": fit.amplitude,
        "theory_coefficient": float(coefficient),
        "next_order": fit.next_order,
    }
    return Outcome(
        verdict=verdict,
        numbers=numbers,
        table={"width": [int(n) for n in widths], **{k: v.tolist() for k, v in table.items() if k != "width"}},
        figure=_figure(table, fit),
        configuration={
            "activation": ACTIVATION,
            "depth": DEPTH,
            "networks": networks,
            "widths": list(widths),
            "inputs": 1,
        },
    )


def _figure(table: dict[str, FloatArray], fit: RateFit) -> Any:
    from repflow.figures import lines

    n = table["width"].astype(np.float64)
    return lines(
        n,
        {f"fit: slope {fit.slope:.3f} ± {fit.slope_error:.3f}": fit.at(n), "theory at order 1/n": table["theory"]},
        {
            "3 Var G/(E G)²": (table["kurtosis"], table["stderr"]),
            "fourth moment of z": (table["kurtosis_of_z"], table["stderr_of_z"]),
        },
        x_title="hidden width n",
        y_title="excess kurtosis of an output",
        log_x=True,
        log_y=True,
        height=480,
    )
