"""Features move in training at order 1/n: as predicted, more in deeper networks, and not at all at infinite width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.fits import fit_rate
from repflow.experiments.intervals import Z95
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict

FloatArray = NDArray[np.float64]

CLAIM = (
    "In training the hidden kernels and the NTK of tanh and gelu networks change as the dNTK and ddNTK predict; the "
    "change grows with depth and falls with the width n as 1/n, so that features are frozen at infinite width."
)
#: Accepted slopes of log change against log n; rate in units of the edge; inputs; steps of whole training.
SLOPES, EDGE_SHARE, INPUTS, STEPS = (-1.1, -0.9), 0.5, 3, 20
ACTIVATION, DEPTH = "tanh", 3
#: Range of the agreement rule: r_L and the relative change at the smaller width.
RATIO, CHANGE = 0.5, 0.1


@dataclass(frozen=True)
class Plan:
    """What is run: widths of the fit and networks at each, depths at one width, and the pairs of the agreement rule."""

    widths: tuple[int, ...]
    networks: int
    depths: tuple[int, ...]
    depth_width: int
    depth_networks: int
    rule_widths: tuple[int, int]
    rule_networks: int
    rule_activations: tuple[str, ...]
    rule_depths: tuple[int, ...]


_SIZES: dict[Size, Plan] = {
    "small": Plan((24, 32, 48, 96), 4096, (2, 3, 4), 32, 1024, (64, 128), 2048, ("tanh", "gelu"), (2,)),
    "default": Plan(
        (24, 32, 48, 64, 96, 128), 8192, (2, 3, 4, 5, 6), 64, 2048, (64, 128), 4096, ("tanh", "gelu"), (2, 3)
    ),
    "large": Plan(
        (24, 32, 48, 64, 96, 128, 192),
        32_768,
        (2, 3, 4, 5, 6, 8),
        64,
        16_384,
        (64, 128),
        32_768,
        ("tanh", "gelu", "silu", "sin"),
        (2, 3, 4),
    ),
}


@dataclass(frozen=True)
class Found:
    """One network: predicted and measured changes, hidden layers first and the NTK last."""

    width: int
    depth: int
    predicted: FloatArray  # (L, N, N)
    measured: FloatArray
    stderr: FloatArray
    relative: FloatArray  # (L,) norms over those of K and Theta: predicted
    measured_relative: FloatArray
    relative_stderr: FloatArray
    ratio: float
    loss: tuple[float, float]


@experiment("representation-learning", CLAIM)
def representation_learning(size: Size, seed: int, tell: Tell) -> Outcome:
    """Train real networks on three images of the digits (odd against even, one output) and measure their kernels.

    Critical couplings, lambda_W = lambda_b = 1, full-batch gradient descent on (1/2N) sum |f - y|^2 at half of the
    largest stable rate, after one step and after 20. Networks come in pairs of opposite heads. The change of a kernel
    is its mean over networks, its size the Frobenius norm over that of K (of Theta for the NTK).

    Rule: three parts. (1) Width: for tanh, L = 3, a n^s (1 + b/n) is fitted by weighted least squares to the change of
    the last hidden kernel after 20 steps; the part agrees where the 95% interval of s lies within [-1.1, -0.9],
    disagrees where it lies outside, and is inconclusive otherwise or where the fit's p-value is below 1e-3. (2)
    Prediction: for each activation and depth, after one step and after 20, n times the change at two widths n1 < n2 is
    extrapolated to lead = (n2 c2 - n1 c1)/(n2 - n1) with standard error s; every component of every hidden kernel and
    of the NTK must have |theory - lead| <= 5 s + 0.35 |c2 - c1| + 0.002 max|lead|, else the part disagrees; it is
    inconclusive where n1 is out of the range of order 1: r_L above 0.5, or a relative change above 0.1. (3) Depth: at
    fixed width, the slope of log change of the last hidden kernel against log(L/n), L/n the sum of 1/n_l over hidden
    layers; agrees where its 95% interval lies above 0. "agrees" where all agree, "disagrees" where one disagrees, else
    "inconclusive".
    """
    from repflow.data import load_data

    plan = _SIZES[size]
    data = load_data("digits", inputs=INPUTS)
    assert data.y is not None
    x, y = data.x, 2.0 * (data.y[:, None] % 2) - 1.0
    work = _Work(tell, len(plan.widths) + len(plan.depths) + 4 * len(plan.rule_activations) * len(plan.rule_depths))

    def run(activation: str, depth: int, width: int, steps: int, networks: int) -> Found:
        # Another stream of random numbers for every network, so that all points are independent.
        return _one(
            activation, depth, width, steps, networks, seed + 1_000_003 * work.tick(f"{depth - 1}x{width}"), x, y
        )

    by_width = [run(ACTIVATION, DEPTH, n, STEPS, plan.networks) for n in plan.widths]
    width_verdict, numbers = _width_part(by_width)
    by_depth = [run(ACTIVATION, depth, plan.depth_width, STEPS, plan.depth_networks) for depth in plan.depths]
    depth_verdict, found = _depth_part(by_depth)
    numbers |= found
    verdicts: list[Verdict] = []
    cases = []
    for activation in plan.rule_activations:
        for depth in plan.rule_depths:
            for steps in (1, STEPS):
                pair = [run(activation, depth, n, steps, plan.rule_networks) for n in plan.rule_widths]
                verdict, case = two_widths(*pair)
                verdicts.append(verdict)
                cases.append({"activation": activation, "depth": depth, "steps": steps, "verdict": verdict, **case})
    numbers |= {
        "width_verdict": width_verdict,
        "depth_verdict": depth_verdict,
        "prediction_verdict": combined_verdict(verdicts),
        "prediction_cases": cases,
    }
    work.tell("verdict", 1.0)
    return Outcome(
        verdict=combined_verdict([width_verdict, depth_verdict, *verdicts]),
        numbers=numbers,
        table=_table(by_width, by_depth),
        figure=_figure(by_width, by_depth, numbers),
        configuration={
            "inputs": INPUTS,
            "steps": STEPS,
            "share_of_edge": EDGE_SHARE,
            "widths": list(plan.widths),
            "networks": plan.networks,
            "depths": list(plan.depths),
            "depth_width": plan.depth_width,
            "depth_networks": plan.depth_networks,
            "rule_widths": list(plan.rule_widths),
            "rule_networks": plan.rule_networks,
        },
    )


class _Work:
    """Counts what is done, and says so."""

    def __init__(self, tell: Tell, total: int) -> None:
        self.tell, self._total, self._done = tell, total, 0

    def tick(self, what: str) -> int:
        """The number of this piece of work."""
        self.tell(what, self._done / self._total)
        self._done += 1
        return self._done


def _one(
    activation: str, depth: int, width: int, steps: int, networks: int, seed: int, x: FloatArray, y: FloatArray
) -> Found:
    from repflow.build import mlp
    from repflow.training import representation_learning as predict

    network = mlp([x.shape[1], *[width] * (depth - 1), y.shape[1]], activation=activation, init="critical", x=x)
    found = predict(network, x, y, steps=steps, networks=networks, seed=seed, progress=False)
    assert found.measured is not None
    relative, error = found.measured_relative_change()
    return Found(
        width=width,
        depth=depth,
        predicted=np.concatenate([found.kernel_change, found.ntk_change[None]]),
        measured=np.concatenate([found.measured.kernels, found.measured.ntk[None]]),
        stderr=np.concatenate([found.measured.kernels_stderr, found.measured.ntk_stderr[None]]),
        relative=np.append(found.relative_kernel_change, found.relative_ntk_change),
        measured_relative=relative,
        relative_stderr=error,
        ratio=found.ratio,
        loss=found.measured.loss,
    )


def _last_hidden(found: Sequence[Found]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Measured change of the last hidden kernel, its standard error and the prediction, each (M,)."""
    rows = [(entry.measured_relative[-2], entry.relative_stderr[-2], entry.relative[-2]) for entry in found]
    measured, error, predicted = np.array(rows).T
    return measured, error, predicted


def _width_part(found: Sequence[Found]) -> tuple[Verdict, dict[str, Any]]:
    measured, error, predicted = _last_hidden(found)
    n = np.array([float(entry.width) for entry in found])
    if not ((measured > 0).all() and (error > 0).all()):
        return "inconclusive", {"slope": None}
    fit = fit_rate(n, measured, error)
    low, high = fit.slope - Z95 * fit.slope_error, fit.slope + Z95 * fit.slope_error
    verdict = interval_verdict(low, high, SLOPES) if fit.p_value >= 1e-3 else "inconclusive"
    return verdict, {
        "slope": fit.slope,
        "slope_error": fit.slope_error,
        "slope_interval": [low, high],
        "accepted": list(SLOPES),
        "p_value": fit.p_value,
        "amplitude": fit.amplitude,
        "predicted_amplitude": float(predicted[-1] * n[-1]),
        "next_order": fit.next_order,
    }


def _depth_part(found: Sequence[Found]) -> tuple[Verdict, dict[str, Any]]:
    measured, error, predicted = _last_hidden(found)
    if not ((measured > 0).all() and (error > 0).all()):
        return "inconclusive", {"depth_slope": None}
    log_ratio = np.log([(entry.depth - 1) / entry.width for entry in found])
    weight = (measured / error) ** 2
    centred = log_ratio - np.average(log_ratio, weights=weight)
    total = float((weight * centred**2).sum())
    slope, slope_error = float((weight * centred * np.log(measured)).sum()) / total, 1.0 / math.sqrt(total)
    theory = float(np.polyfit(log_ratio, np.log(predicted), 1)[0])
    interval = [slope - Z95 * slope_error, slope + Z95 * slope_error]
    return interval_verdict(interval[0], interval[1], (0.0, 1e9)), {
        "depth_slope": slope,
        "depth_slope_error": slope_error,
        "depth_slope_interval": interval,
        "depth_slope_predicted": theory,
    }


def two_widths(small: Found, large: Found) -> tuple[Verdict, dict[str, Any]]:
    """The agreement rule in its two-width form on n times the changes of every kernel."""
    n1, n2 = small.width, large.width
    c1, c2 = n1 * small.measured, n2 * large.measured
    lead = (n2 * c2 - n1 * c1) / (n2 - n1)
    error = np.sqrt((n2**2 * large.stderr) ** 2 + (n1**2 * small.stderr) ** 2) / (n2 - n1)
    scale = np.abs(lead).max(axis=(1, 2), keepdims=True)
    tolerance = 0.35 * np.abs(c2 - c1) + 0.002 * scale
    apart = np.abs(n1 * small.predicted - lead)
    within = apart <= 5 * error + tolerance
    numbers = {
        "components": int(within.size),
        "within": int(within.sum()),
        "largest": float((apart / (5 * error + tolerance)).max()),
        "r_L": small.ratio,
        "relative_change": float(small.relative.max()),
        "loss": list(large.loss),
    }
    if small.ratio > RATIO or small.relative.max() > CHANGE:
        return "inconclusive", numbers
    return "agrees" if within.all() else "disagrees", numbers


def _table(by_width: Sequence[Found], by_depth: Sequence[Found]) -> dict[str, list[Any]]:
    rows = []
    for scan, found in (("width", by_width), ("depth", by_depth)):
        for entry in found:
            for number in range(entry.depth):
                rows.append(
                    {
                        "scan": scan,
                        "width": entry.width,
                        "depth": entry.depth,
                        "what": "NTK" if number == entry.depth - 1 else f"kernel {number + 1}",
                        "predicted": float(entry.relative[number]),
                        "measured": float(entry.measured_relative[number]),
                        "stderr": float(entry.relative_stderr[number]),
                        "r_L": entry.ratio,
                        "loss_before": entry.loss[0],
                        "loss_after": entry.loss[1],
                    }
                )
    return {name: [row[name] for row in rows] for name in rows[0]}


def _figure(by_width: Sequence[Found], by_depth: Sequence[Found], numbers: dict[str, Any]) -> Any:
    """Against n, every kernel at L = 3; against L/n, the last hidden kernel and the NTK."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from repflow.figures import PALETTE, new_figure

    slope = numbers.get("slope")
    left = "against n" if slope is None else f"against n: slope {slope:.3f} ± {numbers['slope_error']:.3f}"
    figure = make_subplots(1, 2, subplot_titles=[left, f"against L/n, n = {by_depth[0].width}"], horizontal_spacing=0.1)
    panels = (
        (by_width, [float(entry.width) for entry in by_width], range(DEPTH)),
        (by_depth, [(entry.depth - 1) / entry.width for entry in by_depth], (-2, -1)),
    )
    names = {-1: "NTK", -2: "last hidden kernel", **{k: f"kernel of layer {k + 1}" for k in range(DEPTH - 1)}}
    names[DEPTH - 1] = "NTK"
    for column, (found, position, chosen) in enumerate(panels, start=1):
        for number in chosen:
            colour = PALETTE[(number % DEPTH if column == 1 else DEPTH + number) % len(PALETTE)]
            where: dict[str, Any] = {"row": 1, "col": column}
            figure.add_trace(
                go.Scatter(
                    x=position,
                    y=[float(entry.relative[number]) for entry in found],
                    mode="lines",
                    name=f"{names[number]}: predicted",
                    line={"color": colour, "width": 2},
                    showlegend=column == 1,
                ),
                **where,
            )
            bars = {"type": "data", "array": [float(entry.relative_stderr[number]) for entry in found]}
            figure.add_trace(
                go.Scatter(
                    x=position,
                    y=[float(entry.measured_relative[number]) for entry in found],
                    mode="markers",
                    name=f"{names[number]}: measured",
                    error_y=bars,
                    marker={"color": colour, "size": 7},
                    showlegend=column == 1,
                ),
                **where,
            )
    plain = new_figure("hidden width n", "relative change after 20 steps", None, True, True, 480)
    figure.update_layout(template=plain.layout.template, height=480, legend=plain.layout.legend)
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    figure.update_xaxes(title="hidden width n", col=1)
    figure.update_xaxes(title="L/n", col=2)
    return figure.update_yaxes(title=f"relative change after {STEPS} steps", col=1)
