"""From one initialisation to the next: the spread in L/n, and the typical network that leaves the mean behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.gram_chain import relu_products
from repflow.experiments.intervals import Z95
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict

FloatArray = NDArray[np.float64]

CLAIM = (
    "Networks of one design differ from one initialisation to the next by Var G/K^2, a function of L/n; in deep "
    "networks few carry the mean, which stays, while the typical network vanishes exponentially in L/n, at the rate "
    "predicted."
)
#: Hidden width; L/n of the first and the last layer of the rule; how far measured and predicted may lie apart.
WIDTH, EARLY, LATE, APART = 64, 0.25, 1.0, 0.1
GROUPS = 25
#: n times the shift of C_W that keeps the mean of tanh networks (PDLT section 5.4).
TANH_SHIFT = 2.0 / 3.0
_SIZES: dict[Size, tuple[int, int]] = {  # networks drawn neuron by neuron, and through the law of relu's layers
    "small": (6_000, 300_000),
    "default": (40_000, 1_000_000),
    "large": (400_000, 10_000_000),
}


@dataclass(frozen=True)
class Row:
    """One statistic of one activation at one depth."""

    activation: str
    hidden: int
    statistic: str
    measured: float
    stderr: float
    predicted: float
    order1: float | None = None


def spread(gram: FloatArray) -> float:
    """Var G, for G in units of K."""
    return float(np.var(gram))


def mean_log(gram: FloatArray) -> float:
    """E[log G] of the networks that are not dead."""
    return float(np.log(gram[gram > 0]).mean())


def half_of_mean(gram: FloatArray) -> float:
    """Share of networks, those with the largest G, that carries half of the sum of G."""
    carried = np.cumsum(np.sort(gram, kind="stable")[::-1])
    place = int(np.searchsorted(carried, 0.5 * carried[-1]))
    before = carried[place - 1] if place else 0.0
    return float((place + (0.5 * carried[-1] - before) / (carried[place] - before)) / len(gram))


STATISTICS: dict[str, Callable[[FloatArray], float]] = {
    "mean": lambda gram: float(gram.mean()),
    "variance": spread,
    "mean log": mean_log,
    "median": lambda gram: float(np.median(gram)),
    "half of the mean": half_of_mean,
}


def jackknife(gram: FloatArray, statistic: Callable[[FloatArray], float]) -> tuple[float, float]:
    """A statistic of the networks, bias of order 1/networks removed, and its standard error, by leaving groups out."""
    order = np.argsort(gram)  # sorted once: what sorts again is then cheap, and groups stay random
    gram, groups = gram[order], order % GROUPS
    without = np.array([statistic(gram[groups != k]) for k in range(GROUPS)])
    whole = statistic(gram)
    value = GROUPS * whole - (GROUPS - 1) * float(without.mean())
    return value, math.sqrt((GROUPS - 1) / GROUPS * float(((without - without.mean()) ** 2).sum()))


@experiment("fluctuations", CLAIM)
def fluctuations(size: Size, seed: int, tell: Tell) -> Outcome:
    """Draw relu and tanh networks on one digit at criticality, n = 64, to L - 1 = 64 hidden layers: L/n = 1.

    tanh has C_W = 1 + (2/3)/n, the critical coupling of order 1, which keeps the mean. E[log G] and the median are
    those of networks drawn neuron by neuron. So are, for tanh, the mean, the variance and the share of networks that
    carries half of the mean; for relu these come from 10^6 networks drawn through the exact law of their layers'
    factors, since rare networks carry them, and the variance from networks drawn in proportion to G. Predictions: exact
    ones for relu; for tanh the limit of deep and wide networks at fixed L/n.

    Rule, for each activation, with 95% intervals: (1) the mean stays: E[G]/K at L/n = 1 within 10% of 1; (2) the
    typical network vanishes: the change of E[log G/K] from L/n = 1/4 to 1 is negative and within 10% of the predicted
    one, and median/K at L/n = 1 within 10% of the predicted; (3) the spread: Var G/K^2 at L/n = 1/4 and 1 within 10% of
    the predicted; (4) the share of networks that carries half of the mean at L/n = 1 within 10% of the predicted. A
    part agrees where its interval lies inside, disagrees where outside. "agrees" where all agree, "disagrees" where one
    disagrees, else "inconclusive".
    """
    networks, through_law = _SIZES[size]
    kept = sorted({*(max(1, round(WIDTH * share)) for share in np.geomspace(1 / 16, LATE, 9)), round(EARLY * WIDTH)})
    rows: list[Row] = []
    verdicts: dict[str, Verdict] = {}
    numbers: dict[str, Any] = {}
    for number, activation in enumerate(("relu", "tanh")):
        tell(f"{activation} networks", 0.5 * number)
        gram, predicted, order1 = _draw(activation, kept, networks, seed + 1_000_003 * number)
        measured = {name: [jackknife(one, function) for one in gram] for name, function in STATISTICS.items()}
        if activation == "relu":
            tell("relu through the law of its layers", 0.3)
            measured |= _relu_rare(kept, through_law, seed)
        for index, hidden in enumerate(kept):
            for name in STATISTICS:
                value, error = measured[name][index]
                first = order1[name][index] if order1 else None
                rows.append(Row(activation, hidden, name, value, error, predicted[name][index], first))
        change, error = _change(gram, kept)
        found, entry = judge([row for row in rows if row.activation == activation], change, error)
        verdicts |= {f"{activation}: {part}": verdict for part, verdict in found.items()}
        numbers[activation] = entry
    numbers["relu"] |= _typical_coupling()
    numbers |= {"accepted": [1.0 - APART, 1.0 + APART], "verdicts": dict(verdicts)}
    tell("verdict", 1.0)
    return Outcome(
        verdict=combined_verdict(list(verdicts.values())),
        numbers=numbers,
        table=_table(rows),
        figure=_figure(rows),
        configuration={
            "width": WIDTH,
            "hidden_layers": kept,
            "networks": networks,
            "relu_networks_through_law": through_law,
            "tanh_C_W": 1.0 + TANH_SHIFT / WIDTH,
            "inputs": 1,
        },
    )


Values = dict[str, list[float]]


def _draw(activation: str, kept: Sequence[int], networks: int, seed: int) -> tuple[FloatArray, Values, Values | None]:
    """G/K in the layers kept, shape (layers, networks), what is predicted for each statistic, and that of order 1/n."""
    from repflow.build import mlp
    from repflow.criticality import critical, double_scaling, typical_network
    from repflow.data import load_data
    from repflow.ensemble import gram_draws

    x = load_data("digits", inputs=1).x
    depth = max(kept) + 1
    sizes = [x.shape[1], *[WIDTH] * (depth - 1), 1]
    plain = mlp(sizes, activation=activation, init="critical", x=x)
    C_W = float(np.asarray(critical(activation).C_W))
    shift = TANH_SHIFT if activation == "tanh" else 0.0
    later = C_W + shift / WIDTH
    network = mlp(sizes, activation=activation, C_W=[plain.layers[0].C_W, *[later] * (depth - 1)], C_b=0.0)
    K1 = float(plain.layers[0].C_W * (x**2).mean())
    theory = typical_network(activation, C_W, 0.0, K1, depth, WIDTH, shift_W=shift)
    drawn = gram_draws(network, x, networks, seed=seed, layers=[hidden + 1 for hidden in kept], progress=False)
    at = np.asarray(kept)
    gram = drawn[:, :, 0, 0] / theory.kernel[at][:, None]
    found: Values = {
        "mean": (theory.mean / theory.kernel)[at].tolist(),
        "variance": theory.ratio[at].tolist(),
        "mean log": (theory.mean_log - np.log(theory.kernel))[at].tolist(),
        "median": (theory.median / theory.kernel)[at].tolist(),
        "half of the mean": theory.half_of_mean[at].tolist(),
    }
    if theory.exact:
        return gram, found, None
    laws = double_scaling(at / WIDTH, shift)
    limit: Values = {
        "mean": [law.mean for law in laws],
        "variance": [law.variance for law in laws],
        "mean log": [law.mean_log for law in laws],
        "median": [law.median for law in laws],
        "half of the mean": [law.half_of_mean for law in laws],
    }
    return gram, limit, found


def _relu_rare(kept: Sequence[int], networks: int, seed: int) -> dict[str, list[tuple[float, float]]]:
    """What rare networks carry: mean and share from the law of the layers, the variance from draws by size."""
    layers = [hidden + 1 for hidden in kept]
    gram = relu_products(WIDTH, layers, networks, (seed, 21))
    by_size = relu_products(WIDTH, layers, networks, (seed, 22), by_size=True)
    return {
        "mean": [(float(one.mean()), float(one.std(ddof=1)) / math.sqrt(networks)) for one in gram],
        "variance": [(float(one.mean()) - 1.0, float(one.std(ddof=1)) / math.sqrt(networks)) for one in by_size],
        "half of the mean": [jackknife(one, half_of_mean) for one in gram],
    }


def _change(gram: FloatArray, kept: Sequence[int]) -> tuple[float, float]:
    """Change of E[log G] from L/n = EARLY to LATE in the same networks, with its standard error."""
    early, late = gram[list(kept).index(round(EARLY * WIDTH))], gram[list(kept).index(round(LATE * WIDTH))]
    alive = late > 0
    change = np.log(late[alive]) - np.log(early[alive])
    return float(change.mean()), float(change.std(ddof=1)) / math.sqrt(len(change))


def judge(rows: Sequence[Row], change: float, error: float) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """The rule of :func:`fluctuations` for one activation."""
    early, late = round(EARLY * WIDTH), round(LATE * WIDTH)
    at = {(row.statistic, row.hidden): row for row in rows}

    def relative(value: float, stderr: float, predicted: float) -> tuple[Verdict, list[float]]:
        ends = sorted((value + sign * Z95 * stderr) / predicted for sign in (-1.0, 1.0))
        return interval_verdict(ends[0], ends[1], (1.0 - APART, 1.0 + APART)), ends

    def row_relative(statistic: str, hidden: int) -> tuple[Verdict, list[float]]:
        row = at[statistic, hidden]
        return relative(row.measured, row.stderr, row.predicted)

    mean = at["mean", late]
    predicted_change = at["mean log", late].predicted - at["mean log", early].predicted
    parts = {
        "mean stays": relative(mean.measured, mean.stderr, 1.0),
        "typical network vanishes": relative(change, error, predicted_change),
        "median": row_relative("median", late),
        "spread, early": row_relative("variance", early),
        "spread, late": row_relative("variance", late),
        "share that carries half": row_relative("half of the mean", late),
    }
    verdicts = {name: verdict for name, (verdict, _) in parts.items()}
    if predicted_change >= 0:
        verdicts["typical network vanishes"] = "disagrees"
    tau = LATE - EARLY
    return verdicts, {
        "relative_to_predicted": {name: ends for name, (_, ends) in parts.items()},
        "rate_of_mean_log_per_L/n": change / tau,
        "rate_stderr": error / tau,
        "rate_predicted": predicted_change / tau,
        **{
            f"{name} at L/n = {hidden / WIDTH:g}": {
                "measured": at[name, hidden].measured,
                "stderr": at[name, hidden].stderr,
                "predicted": at[name, hidden].predicted,
            }
            for name in STATISTICS
            for hidden in (early, late)
        },
    }


def _typical_coupling() -> dict[str, float]:
    """The C_W of relu networks that keeps the typical network, and the mean's growth per L/n there."""
    from repflow.criticality import layer_factor

    mean_log, _ = layer_factor("relu", 2.0, WIDTH).log_moments
    return {
        "C_W_that_keeps_the_typical_network": 2.0 * math.exp(-mean_log),
        "rate_of_the_mean_there_per_L/n": -mean_log * WIDTH,
    }


def _table(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {
        "activation": [row.activation for row in rows],
        "hidden_layers": [row.hidden for row in rows],
        "L/n": [row.hidden / WIDTH for row in rows],
        "statistic": [row.statistic for row in rows],
        "measured": [row.measured for row in rows],
        "stderr": [row.stderr for row in rows],
        "predicted": [row.predicted for row in rows],
        "order_1": [row.order1 for row in rows],
    }


def _figure(rows: Sequence[Row]) -> Any:
    """Mean, median and exp E[log G] of both activations, their spread, and who carries the mean."""
    from plotly.subplots import make_subplots

    from repflow.figures import PALETTE, template
    from repflow.figures.theme import SYMBOLS

    titles = [f"relu, n = {WIDTH}", f"tanh, n = {WIDTH}", "spread: Var G/K²", "share that carries half of the mean"]
    figure = make_subplots(2, 2, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=0.14)
    panels = [
        ("mean", 1, None, 0, "mean of G/K"),
        ("median", 1, None, 1, "median of G/K"),
        ("mean log", 1, None, 2, "exp E[log G/K]"),
        ("variance", 2, 1, 3, "Var G/K²"),
        ("half of the mean", 2, 2, 4, "share"),
    ]
    for number, activation in enumerate(("relu", "tanh")):
        for statistic, line, column, colour, name in panels:
            chosen = [row for row in rows if row.activation == activation and row.statistic == statistic]
            tau = [row.hidden / WIDTH for row in chosen]
            value, error, theory = (
                np.array([getattr(row, key) for row in chosen]) for key in ("measured", "stderr", "predicted")
            )
            first = np.array([math.nan if row.order1 is None else row.order1 for row in chosen])
            if statistic == "mean log":
                value, theory, first = np.exp(value), np.exp(theory), np.exp(first)
                error = error * value
            own = PALETTE[colour] if line == 1 else PALETTE[number]
            label = name if line == 1 else activation
            place = {"row": line, "col": column or number + 1}
            shown = number == 0 if line == 1 else column == 1
            figure.add_scatter(
                x=tau, y=theory, mode="lines", line={"color": own, "width": 1.5}, showlegend=False, **place
            )
            if line == 1 and activation == "tanh":
                dotted = {"color": own, "width": 1.5, "dash": "dot"}
                name_first = {"name": "order 1/n", "showlegend": colour == 0}
                figure.add_scatter(x=tau, y=first, mode="lines", line=dotted, **name_first, **place)
            figure.add_scatter(
                x=tau,
                y=value,
                mode="markers",
                name=label,
                error_y={"type": "data", "array": Z95 * error, "thickness": 1},
                marker={"color": own, "size": 7, "symbol": SYMBOLS[colour if line == 1 else number]},
                showlegend=shown,
                **place,
            )
    figure.update_layout(template=template(), height=720, autosize=True, margin_t=40, legend_y=-0.1)
    figure.update_yaxes(type="log")
    figure.update_yaxes(type="linear", rangemode="tozero", row=2, col=2)
    figure.update_xaxes(type="log", row=2, col=1)
    return figure.update_xaxes(title_text="L/n", row=2)
