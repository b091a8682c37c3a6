"""Depth and width collapse onto one number, L/n: the expansion parameter that emerges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.gram_chain import relu_products, simulate
from repflow.experiments.intervals import Z95
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict

FloatArray = NDArray[np.float64]

CLAIM = (
    "At criticality the fluctuations of a network depend on depth and width through L/n alone: networks of one L/n "
    "have the same Var G/K^2. Off criticality they do not, and a correlation length takes the place of L."
)
#: How far apart variances of one L/n may lie; the same for the rate off criticality.
APART, RATE_APART = 0.05, 0.1
#: The sets of one L/n: (hidden width, hidden layers).
DEEP, SHALLOW = ((130, 39), (260, 78), (510, 153)), ((400, 40), (800, 80))
#: tanh off criticality: C_W, and hidden widths.
OFF_C_W, OFF_WIDTHS, OFF_RATIO = 1.2, (64, 128, 256), 0.25
K1 = 1.0


@dataclass(frozen=True)
class Plan:
    """Networks of tanh at n = 400 (as 1/n elsewhere), of relu, off criticality; (n, L - 1) of rule and figure."""

    tanh: int
    relu: int
    off: int
    sets: tuple[tuple[tuple[int, int], ...], ...]
    more: tuple[tuple[int, int], ...]


_SIZES: dict[Size, Plan] = {
    "small": Plan(2_000, 150_000, 4_000, (DEEP[:2], ((100, 10), (200, 20))), ((32, 32),)),
    "default": Plan(13_000, 500_000, 12_000, (DEEP, SHALLOW), ((32, 32), (64, 64))),
    "large": Plan(200_000, 2_000_000, 200_000, (DEEP, SHALLOW), ((32, 64), (64, 128), (128, 128), (256, 256))),
}


@dataclass(frozen=True)
class Point:
    """Var G/K^2 of one activation, width and number of hidden layers, with standard error and leading order.

    ``closed`` is the exact value where there is one, else None; ``limit`` is that of deep and wide networks at this
    L/n.
    """

    activation: str
    width: int
    hidden: int
    value: float
    stderr: float
    leading: float
    closed: float | None
    limit: float | None
    networks: int

    @property
    def ratio(self) -> float:
        """L/n, L counted from the first layer that fluctuates."""
        return self.hidden / self.width


@experiment("emergent-scale", CLAIM)
def emergent_scale(size: Size, seed: int, tell: Tell) -> Outcome:
    """Measure Var G/K^2 of one input in relu and tanh networks at criticality, at several (L, n) of one L/n.

    G is the Gram entry of the layer above the last hidden one, K its value at infinite width, both from K^(1) = 1; n
    is the width of L - 1 hidden layers. L - 1 = 39, 78, 153 at n = 130, 260, 510, and 40, 80 at n = 400, 800. relu
    networks are drawn through the exact law of their layers' factors, in proportion to G (their variance is carried by
    rare networks); tanh networks are simulated neuron by neuron. Off criticality: tanh at C_W = 1.2, C_b = 0, started
    at its fixed point K*, n = 64, 128, 256.

    Rule, with 95% intervals. (1) Collapse, for each activation: the ratio of Var G/K^2 of every pair of one L/n; agrees
    where its interval lies within 5% of 1, disagrees where outside. (2) relu: the ratio of each to its exact value
    (1 + 5/n)^(L-1) - 1, within 5% of 1. (3) Off criticality: the ratio of n = 64 to n = 256 at L/n = 1/4 must lie
    outside 5% of 1, and Var G/K^2 must approach its plateau as exp(-2 L/xi), the fitted rate within 10% of 2/xi, xi the
    correlation length 1/|log chi_parallel|. "agrees" where all agree, "disagrees" where one disagrees, else
    "inconclusive".
    """
    plan = _SIZES[size]
    critical, plain = _critical(plan, seed, tell)
    tell("off criticality", 0.85)
    off, chi = _off_critical(plan, seed)
    verdicts, numbers = _collapse(critical, plan.sets)
    off_verdicts, off_numbers = off_criticality(off, chi)
    numbers |= {"relu_plain": plain, "off_criticality": off_numbers}
    verdicts |= off_verdicts
    numbers["verdicts"] = dict(verdicts)
    tell("verdict", 1.0)
    return Outcome(
        verdict=combined_verdict(list(verdicts.values())),
        numbers=numbers,
        table=_table([*critical, *off]),
        figure=_figure(critical, off),
        configuration={
            "K1": K1,
            "sets": [[list(case) for case in one] for one in plan.sets],
            "relu_networks": plan.relu,
            "tanh_networks": {str(p.width): p.networks for p in critical if p.activation == "tanh"},
            "off_C_W": OFF_C_W,
            "off_widths": list(OFF_WIDTHS),
            "off_networks": plan.off,
        },
    )


def _grid(width: int, hidden: int) -> list[int]:
    """Numbers of hidden layers to keep: the last, and eight earlier ones for the figure."""
    return sorted({hidden, *(max(1, round(hidden * share)) for share in np.geomspace(0.1, 1.0, 9)[:-1])})


def _critical(plan: Plan, seed: int, tell: Tell) -> tuple[list[Point], list[dict[str, Any]]]:
    from repflow.criticality import double_scaling, layer_factor, typical_behaviour
    from repflow.criticality.homogeneous import ProductLaw

    cases = list(dict.fromkeys([*itertools.chain(*plan.sets), *plan.more]))
    work = np.cumsum([0.0, *(n * hidden * (400 / n) for n, hidden in cases)])
    found: list[Point] = []
    plain: list[dict[str, Any]] = []
    for number, (n, hidden) in enumerate(cases):
        tell(f"{hidden} layers of {n}", 0.8 * float(work[number] / work[-1]))
        kept = _grid(n, hidden)
        layers = [count + 1 for count in kept]
        factor = layer_factor("relu", 2.0, n)
        in_rule = any((n, hidden) in one for one in plan.sets)
        count_relu = plan.relu if in_rule else max(1000, plan.relu // 10)
        drawn = relu_products(n, layers, count_relu, (seed, 11, number), by_size=True)
        for count, gram in zip(kept, drawn, strict=True):
            error = float(gram.std(ddof=1)) / math.sqrt(count_relu)
            exact = ProductLaw(factor, count).variance
            limit = math.expm1(5.0 * count / n)
            value = float(gram.mean()) - 1.0
            found.append(Point("relu", n, count, value, error, 5.0 * count / n, exact, limit, count_relu))
        if (n, hidden) in plan.sets[0]:
            last = relu_products(n, [hidden + 1], plan.relu // 3, (seed, 12, number))[0]
            square = (last - last.mean()) ** 2
            error = float(square.std(ddof=1)) / math.sqrt(len(last))
            plain.append({"width": n, "hidden": hidden, "ratio": float(square.mean()), "stderr": error})
        path = typical_behaviour("tanh", 1.0, 0.0, K1, hidden + 1)
        slope = path.chi_parallel * path.kernel
        networks = max(1000, round(plan.tanh * 400 / n))
        chains = simulate("tanh", 1.0, 0.0, K1, n, layers, networks, (seed, 13, number), slope[:-1] / path.kernel[1:])
        laws = double_scaling([max(0.01, count / n) for count in kept])
        for index, (count, law) in enumerate(zip(kept, laws, strict=True)):
            K, V = path.kernel[count], path.vertex[count]
            value, error = chains.relative_variance(index, float(K))
            found.append(Point("tanh", n, count, value, error, V / (n * K**2), None, law.variance, networks))
    return found, plain


def _off_critical(plan: Plan, seed: int) -> tuple[list[Point], float]:
    from repflow.criticality import chi_parallel, fixed_points, typical_behaviour

    K_star = max(point.K for point in fixed_points("tanh", OFF_C_W, 0.0))
    chi = float(chi_parallel("tanh", K_star, OFF_C_W))
    found = []
    for number, n in enumerate(OFF_WIDTHS):
        last = round(OFF_RATIO * n)
        kept = sorted({*range(1, min(last, 16) + 1), *range(16, last + 1, 4), last})
        path = typical_behaviour("tanh", OFF_C_W, 0.0, K_star, last + 1)
        response = np.full(last, chi)
        layers = [count + 1 for count in kept]
        chains = simulate("tanh", OFF_C_W, 0.0, K_star, n, layers, plan.off, (seed, 14, number), response)
        for index, count in enumerate(kept):
            K = float(path.kernel[count])
            value, error = chains.relative_variance(index, K)
            leading = float(path.vertex[count]) / (n * K**2)
            found.append(Point("tanh off criticality", n, count, value, error, leading, None, None, plan.off))
    return found, chi


def ratio_interval(one: Point, other: Point) -> tuple[float, float, float]:
    """The ratio of two independent variances with its 95% interval, by the errors of their logarithms."""
    ratio = one.value / other.value
    spread = Z95 * math.hypot(one.stderr / one.value, other.stderr / other.value)
    return ratio, ratio * math.exp(-spread), ratio * math.exp(spread)


def _collapse(
    points: Sequence[Point], sets: Sequence[Sequence[tuple[int, int]]]
) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """Parts (1) and (2) of the rule."""
    verdicts: dict[str, Verdict] = {}
    numbers: dict[str, Any] = {"accepted_ratios": [1.0 / (1.0 + APART), 1.0 + APART], "collapse": []}
    exact_verdicts: list[Verdict] = []
    for activation in ("relu", "tanh"):
        pair_verdicts: list[Verdict] = []
        for cases in sets:
            chosen = [p for n, h in cases for p in points if (p.activation, p.width, p.hidden) == (activation, n, h)]
            pairs = []
            for one, other in itertools.combinations(chosen, 2):
                ratio, low, high = ratio_interval(other, one)
                verdict = interval_verdict(low, high, (1.0 / (1.0 + APART), 1.0 + APART))
                pair_verdicts.append(verdict)
                pairs.append(
                    {"widths": [one.width, other.width], "ratio": ratio, "interval": [low, high], "verdict": verdict}
                )
            extrapolated, error = extrapolate(chosen)
            entry: dict[str, Any] = {
                "activation": activation,
                "L/n": chosen[0].ratio,
                "widths": [p.width for p in chosen],
                "hidden_layers": [p.hidden for p in chosen],
                "measured": [p.value for p in chosen],
                "stderr": [p.stderr for p in chosen],
                "leading_order": [p.leading for p in chosen],
                "exact": [p.closed for p in chosen],
                "pairs": pairs,
                "extrapolated_in_1/n": extrapolated,
                "extrapolated_stderr": error,
                "limit_predicted": chosen[-1].limit,
            }
            numbers["collapse"].append(entry)
            for p in chosen:
                if p.closed is not None:
                    spread = Z95 * p.stderr / p.closed
                    middle = p.value / p.closed
                    exact_verdicts.append(
                        interval_verdict(middle - spread, middle + spread, (1.0 / (1.0 + APART), 1.0 + APART))
                    )
        verdicts[f"{activation} collapses"] = combined_verdict(pair_verdicts)
    verdicts["relu is exact"] = combined_verdict(exact_verdicts)
    return verdicts, numbers


def extrapolate(points: Sequence[Point]) -> tuple[float, float]:
    """Weighted least squares a + b/n through the values: a and its standard error."""
    n = np.array([p.width for p in points], dtype=np.float64)
    value, error = (np.array([getattr(p, name) for p in points]) for name in ("value", "stderr"))
    design = np.column_stack([np.ones_like(n), 1.0 / n]) / error[:, None]
    inverse = np.linalg.inv(design.T @ design)
    return float((inverse @ (design.T @ (value / error)))[0]), math.sqrt(float(inverse[0, 0]))


def off_criticality(points: Sequence[Point], chi: float) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """Part (3) of the rule: no collapse, and the rate at which the widest network nears its plateau."""
    narrow, wide = min(p.width for p in points), max(p.width for p in points)
    last = {n: max((p for p in points if p.width == n), key=lambda p: p.hidden) for n in (narrow, wide)}
    ratio, low, high = ratio_interval(last[narrow], last[wide])
    apart: dict[Verdict, Verdict] = {"agrees": "disagrees", "disagrees": "agrees", "inconclusive": "inconclusive"}
    rate, error = plateau_rate([p for p in points if p.width == wide])
    predicted = -2.0 * math.log(chi)
    interval = [(rate - Z95 * error) / predicted, (rate + Z95 * error) / predicted]
    verdicts: dict[str, Verdict] = {
        "off criticality nothing collapses": apart[interval_verdict(low, high, (1.0 / (1.0 + APART), 1.0 + APART))],
        "off criticality it is exponential": interval_verdict(
            interval[0], interval[1], (1.0 - RATE_APART, 1.0 + RATE_APART)
        ),
    }
    return verdicts, {
        "chi_parallel": chi,
        "xi_parallel": -1.0 / math.log(chi),
        "L/n": last[wide].ratio,
        "ratio_of_widths": ratio,
        "ratio_interval": [low, high],
        "rate": rate,
        "rate_stderr": error,
        "rate_predicted": predicted,
        "rate_over_predicted": interval,
    }


def plateau_rate(points: Sequence[Point]) -> tuple[float, float]:
    """Rate s of value = a (1 - exp(-s hidden)), and its standard error.

    Layers of one ensemble are correlated, so that errors from the curvature of chi-square alone would be too small:
    they are scaled as if neighbouring layers within the memory 1/s were one measurement.
    """
    from scipy.optimize import curve_fit

    hidden = np.array([p.hidden for p in points], dtype=np.float64)
    value, error = (np.array([getattr(p, name) for p in points]) for name in ("value", "stderr"))
    start = (float(value[-1]), 0.5)
    best, covariance = curve_fit(
        lambda h, a, s: a * -np.expm1(-s * h), hidden, value, p0=start, sigma=error, absolute_sigma=True
    )
    repeated = max(1.0, 2.0 / float(best[1]))
    return float(best[1]), math.sqrt(float(covariance[1, 1]) * repeated)


def _table(points: Sequence[Point]) -> dict[str, list[Any]]:
    return {
        "activation": [p.activation for p in points],
        "width": [p.width for p in points],
        "hidden_layers": [p.hidden for p in points],
        "L/n": [p.ratio for p in points],
        "var_over_K2": [p.value for p in points],
        "stderr": [p.stderr for p in points],
        "leading_order": [float(p.leading) for p in points],
        "exact": [p.closed for p in points],
        "limit": [p.limit for p in points],
        "networks": [p.networks for p in points],
    }


def _figure(critical: Sequence[Point], off: Sequence[Point]) -> Any:
    """Critical points on one curve each, and off criticality one curve for each width."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from repflow.criticality import double_scaling
    from repflow.figures import PALETTE, template
    from repflow.figures.theme import SYMBOLS

    titles = ["at criticality", f"off criticality: tanh, C<sub>W</sub> = {OFF_C_W}"]
    figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.12)
    widths = sorted({p.width for p in critical})
    largest = max(p.ratio for p in critical)
    tau = np.geomspace(0.01, largest, 60)
    limits = {"relu": np.expm1(5.0 * tau), "tanh": np.array([law.variance for law in double_scaling(tau)])}
    for index, activation in enumerate(("relu", "tanh")):
        colour = PALETTE[index]
        figure.add_scatter(
            x=tau,
            y=limits[activation],
            mode="lines",
            line={"color": colour, "width": 1.5},
            name=f"{activation}: n → ∞ at fixed L/n",
            row=1,
            col=1,
        )
        for place, n in enumerate(widths):
            chosen = [p for p in critical if p.activation == activation and p.width == n]
            figure.add_trace(
                _dots(go, chosen, f"n = {n}", colour, SYMBOLS[place % len(SYMBOLS)], place > 5, index == 0), 1, 1
            )
    for place, n in enumerate(sorted({p.width for p in off})):
        chosen = [p for p in off if p.width == n]
        colour = PALETTE[2 + place]
        figure.add_trace(_dots(go, chosen, f"off criticality: n = {n}", colour, SYMBOLS[place], False, True), 1, 2)
        figure.add_scatter(
            x=[p.ratio for p in chosen],
            y=[p.leading for p in chosen],
            mode="lines",
            line={"color": colour, "width": 1.5},
            showlegend=False,
            row=1,
            col=2,
        )
    some = tau[tau <= 1.1 * max(p.ratio for p in off)]
    dash = {"color": PALETTE[1], "width": 1.5, "dash": "dot"}
    figure.add_scatter(
        x=some, y=limits["tanh"][: len(some)], mode="lines", line=dash, name="tanh at criticality", row=1, col=2
    )
    figure.update_layout(template=template(), height=560, autosize=True, margin_t=40)
    figure.update_xaxes(title_text="L/n", type="log")
    figure.update_yaxes(type="log")
    return figure.update_yaxes(title_text="Var G / K²", row=1, col=1)


def _dots(go: Any, points: Sequence[Point], name: str, colour: str, symbol: str, hollow: bool, show: bool) -> Any:
    bars = {"type": "data", "array": [Z95 * p.stderr for p in points], "thickness": 1}
    return go.Scatter(
        x=[p.ratio for p in points],
        y=[p.value for p in points],
        mode="markers",
        name=name,
        showlegend=show,
        error_y=bars,
        marker={"color": colour, "size": 7, "symbol": symbol + ("-open" if hollow else "")},
    )
