"""The figures of a report, from its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repflow.distribution import couplings_count
from repflow.figures import add_references, histogram, lines, phase_diagram, z_scores
from repflow.figures.theme import VERMILLION
from repflow.reporting.evidence import HIGHEST_ORDER, Evidence
from repflow.reporting.fluctuations import CHAOTIC, FROZEN, TRUSTED

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FloatArray = NDArray[np.float64]

# Correlation lengths are shown from a tenth of a layer up to this many: beyond, every network is shallow.
_SHORTEST, _LONGEST = 0.1, 1000.0
# A grey that shows on both grounds.
GREY = "#808890"
# Bars of two standard errors: nineteen of twenty hold what they measure.
_BARS = 2.0
# Scores beyond this are drawn here.
_FURTHEST = 20.0


@dataclass(frozen=True)
class Chart:
    """A figure with what it shows.

    Attributes
    ----------
    key
        Its name in the page and in the file that the SVG button saves.
    title, caption
        What is plotted, and how to read it.
    figure
        A Plotly figure.
    wide
        Whether it takes the full width of the page.
    """

    key: str
    title: str
    caption: str
    figure: Figure
    wide: bool = False


def _layers(count: int) -> FloatArray:
    return np.arange(1.0, count + 1.0)


def _log_axis(values: FloatArray) -> bool:
    """Whether values span so much that a linear axis would hide most of them."""
    positive = values[np.isfinite(values) & (values > 0)]
    return len(positive) > 1 and bool(positive.max() > 20 * positive.min())


def _ensemble(evidence: Evidence, name: str, *index: int) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Points with error bars of one entry of a quantity in every layer; empty without an ensemble."""
    values = evidence.get(f"{name}/ensemble")
    if values is None:
        return {}
    entry: tuple[Any, ...] = (slice(None), *index)
    return {"ensemble, ±2 s.e.": (values[entry], _BARS * evidence.arrays[f"{name}/ensemble_error"][entry])}


def _styled(figure: Figure, count: int) -> Figure:
    """Ticks at whole layers, and the same colours everywhere: theory blue, infinite width grey, ensemble vermillion."""
    figure.update_traces(selector={"name": "order 0: K"}, line_color=GREY)
    ensemble = {"marker_color": VERMILLION, "error_y_color": VERMILLION}
    figure.for_each_trace(lambda trace: trace.update(ensemble) if trace.mode == "markers" else None)
    return figure.update_xaxes(dtick=max(1, round(count / 12)), range=[0.6, count + 0.4])


def kernel_charts(evidence: Evidence) -> list[Chart]:
    """The mean kernel against depth at order 0, order 1 and in the ensemble: one input, and one pair."""
    depth, inputs = evidence.arrays["kernel/order0"].shape[:2]
    charts = []
    for a, b in [(0, 0)] + ([(0, 1)] if inputs > 1 else []):
        subscript = f"{a + 1}{b + 1}"
        order0, order1 = (evidence.arrays[name][:, a, b] for name in ("kernel/order0", "kernel/order1"))
        points = _ensemble(evidence, "kernel", a, b)
        drawn = np.concatenate([order0, order1, *(values for values, _ in points.values())])
        figure = lines(
            _layers(depth),
            {"order 1: K + G₁/n": order1, "order 0: K": order0},
            points,
            x_title="layer",
            y_title=f"E G<sub>{subscript}</sub>",
            log_y=a == b and _log_axis(drawn),
        )
        if figure.layout.yaxis.type == "log":
            figure.update_yaxes(dtick="D2" if drawn.max() < 100 * drawn[drawn > 0].min() else 1)
        what = f"of input {a + 1}: its squared size" if a == b else f"of inputs {a + 1} and {b + 1}: their overlap"
        charts.append(
            Chart(
                f"kernel-{subscript}",
                f"Kernel {what}",
                "Mean over initialisations of G: a neuron's preactivation squared, or times that of another input. "
                "Flat or slowly falling is healthy; exponential means a signal that dies or explodes.",
                _styled(figure, depth),
            )
        )
    return charts


def fluctuation_chart(evidence: Evidence) -> Chart:
    """Relative variance of the kernel between initialisations against depth, with the ranges of r_L."""
    theory = evidence.arrays["fluctuation/theory"]
    a = int(np.argmax(theory[-1]))
    points = _ensemble(evidence, "fluctuation", a)
    figure = lines(
        _layers(len(theory)), {"order 1: V/(n K²)": theory[:, a]}, points, x_title="layer", y_title="Var G/K²"
    )
    drawn = np.concatenate([theory[:, a], *(values for values, _ in points.values())])
    highest = float(np.max(drawn[np.isfinite(drawn)], initial=0.0))
    edges = {
        f"{FROZEN:g}: frozen below": FROZEN,
        f"{TRUSTED:g}: trusted below": TRUSTED,
        f"{CHAOTIC:g}: chaotic above": CHAOTIC,
    }
    # A threshold is drawn where it does not squeeze the data, and never so near another that their names collide.
    near = {name: edge for name, edge in edges.items() if 0.06 * highest < edge < 1.6 * highest}
    add_references(figure, near)
    return Chart(
        "fluctuation",
        "Differences between initialisations",
        f"Variance of the kernel over initialisations relative to its square, for input {a + 1}. At the output it is "
        f"r_L: below {FROZEN:g} features are nearly frozen, above {TRUSTED:g} order 1 is not to be trusted.",
        _styled(figure, len(theory)),
    )


def kurtosis_chart(evidence: Evidence) -> Chart:
    """Excess kurtosis of a preactivation against depth."""
    theory = evidence.arrays["kurtosis/theory"]
    a = int(np.argmax(theory[-1]))
    figure = lines(
        _layers(len(theory)),
        {"order 1: 3V/(n K²)": theory[:, a]},
        _ensemble(evidence, "kurtosis", a),
        x_title="layer",
        y_title="excess kurtosis",
    )
    return Chart(
        "kurtosis",
        "Distance from a Gaussian",
        f"Excess kurtosis of a preactivation over initialisations, for input {a + 1}: 0 for a Gaussian, which it is in "
        "the first layer and at infinite width. It falls as 1/n and grows with depth.",
        _styled(figure, len(theory)),
    )


def susceptibility_chart(evidence: Evidence) -> Chart | None:
    """Both susceptibilities along the layers."""
    parallel, perpendicular = (evidence.arrays[f"susceptibility/{name}"] for name in ("parallel", "perpendicular"))
    if not len(parallel):
        return None
    curves = {"χ∥ (norm)": parallel[:, 0], "χ⊥ (direction)": perpendicular[:, 0]}
    curves = {name: np.where(np.isfinite(values), values, np.nan) for name, values in curves.items()}
    figure = lines(
        _layers(len(parallel)), curves, x_title="layer", y_title="susceptibility χ", references={"critical": 1.0}
    )
    drawn = np.concatenate(list(curves.values()))
    drawn = drawn[np.isfinite(drawn)]
    low, high = float(np.min(drawn, initial=1.0)), float(np.max(drawn, initial=1.0))
    margin = max(0.05, 0.1 * (high - low))
    figure.update_yaxes(range=[low - margin, high + margin])
    return Chart(
        "susceptibility",
        "Susceptibilities",
        "What the map from a layer to the next does to a small difference between inputs: at 1 it is kept, below it "
        "fades, above it grows. At the kernel of input 1.",
        _styled(figure, len(parallel)),
    )


def phase_chart(evidence: Evidence, activation: str) -> Chart | None:
    """The (C_b, C_W) phase diagram with this network on it."""
    import plotly.graph_objects as go

    reach = evidence.get("phase/reach")
    if reach is None:
        return None
    arrays = evidence.arrays
    C_b, C_W = arrays["phase/C_b"], arrays["phase/C_W"]
    layers = np.where(np.isnan(reach), np.nan, np.clip(reach, _SHORTEST, _LONGEST))
    here, best = (tuple(arrays[name].tolist()) for name in ("phase/network", "phase/critical"))
    figure = phase_diagram(
        C_b,
        C_W,
        np.log10(layers),
        x_title="C<sub>b</sub>",
        y_title="C<sub>W</sub>",
        value_title="layers reached",
        limits=(float(np.log10(_SHORTEST)), float(np.log10(_LONGEST))),
        marked={"critical": best, "this network": here},
    )
    ticks = (0.1, 1.0, 10.0, 100.0, 1000.0)
    figure.update_traces(
        selector={"type": "heatmap"},
        customdata=layers,
        hovertemplate="C_b %{x:.3g}<br>C_W %{y:.3g}<br>%{customdata:.3g} layers<extra></extra>",
        colorbar_tickvals=[float(np.log10(tick)) for tick in ticks],
        colorbar_ticktext=[*(f"{tick:g}" for tick in ticks[:-1]), "1000+"],
    )
    figure.update_traces(
        selector={"name": "critical"}, marker_size=17, marker_color="#FFFFFF", marker_line_color="#14171C"
    )
    figure.update_traces(
        selector={"name": "this network"}, marker_symbol="circle", marker_color=VERMILLION, marker_size=10
    )
    if np.isfinite(arrays["phase/line_C_W"]).any():
        figure.add_trace(
            go.Scatter(
                x=arrays["phase/line_C_b"],
                y=arrays["phase/line_C_W"],
                name="χ⊥ = 1",
                mode="lines",
                line={"color": GREY, "width": 2, "dash": "dot"},
                hoverinfo="skip",
            )
        )
    figure.update_xaxes(range=[float(C_b[0]), float(C_b[-1])], showgrid=False)
    figure.update_yaxes(range=[float(C_W[0]), float(C_W[-1])], showgrid=False)
    return Chart(
        "phase",
        f"Phase diagram of {activation}",
        "How many layers a difference between inputs survives, min(ξ∥, ξ⊥), at each pair of couplings, starting from "
        "this network's first kernel. Below the line χ⊥ = 1 inputs grow alike (ordered); above it neighbours grow "
        "apart, or the kernel runs away (chaotic).",
        figure,
    )


def histogram_chart(evidence: Evidence, a: int) -> Chart | None:
    """The output's distribution over initialisations against the Gaussian and the nearly Gaussian density."""
    arrays = evidence.arrays
    if "histogram/counts" not in arrays:
        return None
    z = arrays["histogram/z"]
    densities = {"Gaussian, n = ∞": (z, arrays["histogram/gaussian"])}
    if "histogram/nearly_gaussian" in arrays:
        densities = {"nearly Gaussian, order 1": (z, arrays["histogram/nearly_gaussian"]), **densities}
    figure = histogram(
        arrays["histogram/edges"],
        arrays["histogram/counts"],
        densities,
        total=float(arrays["histogram/total"]),
        x_title=f"output preactivation of input {a + 1}",
    )
    figure.update_traces(selector={"name": "Gaussian, n = ∞"}, line_color=GREY)
    figure.update_traces(selector={"type": "bar"}, marker_color=VERMILLION, marker_opacity=0.4)
    return Chart(
        "histogram",
        "Distribution of an output",
        "Over initialisations: drawn, Gaussian with variance K, and with the first correction in 1/n, which may dip "
        "below 0 where r_L is of order 1.",
        figure,
    )


def couplings_chart(counts: dict[str, int]) -> Chart:
    """Couplings of the output distribution on N_D inputs order by order, against the network's parameters."""
    import plotly.graph_objects as go

    inputs, parameters = counts["inputs"], counts["parameters"]
    number = np.unique(np.round(np.geomspace(1, max(64, 2 * inputs), 80)))
    totals = np.array([np.cumsum(couplings_count(int(n), HIGHEST_ORDER).by_order, dtype=np.float64) for n in number])
    ceiling = max(1e3, 1e2 * parameters, 10.0 * float(inputs) ** 4)
    curves = {f"to order {k}": totals[:, k] for k in range(HIGHEST_ORDER, -1, -1)}
    curves["general: 2ᴺ"] = np.exp2(np.minimum(number, 1000))
    curves = {name: np.where(values <= ceiling, values, np.nan) for name, values in curves.items()}
    figure = lines(number, curves, x_title="number of inputs N", y_title="numbers needed", log_x=True, log_y=True)
    grey = {"mode": "lines", "line": {"width": 1.5, "dash": "longdash", "color": GREY}}
    figure.add_trace(
        go.Scatter(x=[number[0], number[-1]], y=[parameters, parameters], name=f"{parameters:,} parameters", **grey)
    )
    here = {**grey, "line": {"width": 1.5, "dash": "dot", "color": GREY}}
    figure.add_trace(go.Scatter(x=[inputs, inputs], y=[1, ceiling], name=f"N = {inputs}", **here))
    # Six names take more rows than three: the plot keeps its height.
    figure.update_layout(height=430, legend_y=-0.24)
    figure.update_xaxes(dtick="D2")
    figure.update_yaxes(dtick=2)
    return Chart(
        "couplings",
        "Couplings against parameters",
        "How many numbers describe the output distribution on N inputs: the kernel at order 0, N²/2; with the "
        "four-point vertex at order 1, N⁴/8; with the six-point vertex at order 2, N⁶/48; 2ᴺ in general. The "
        "parameters of the network do not enter.",
        figure,
    )


def agreement_charts(evidence: Evidence) -> list[Chart]:
    """Deviations of the ensemble from theory, component by component, in standard errors."""
    charts = []
    for quantity, title in (("mean_kernel", "mean kernel"), ("kernel_covariance", "kernel covariance")):
        layers = evidence.get(f"agreement/{quantity}/layer")
        if layers is None:
            continue
        scores = {
            "measured - theory": evidence.arrays[f"agreement/{quantity}/z"],
            "beyond the next order's tolerance": evidence.arrays[f"agreement/{quantity}/z_beyond"],
        }
        clipped = {name: np.clip(values, -_FURTHEST, _FURTHEST) for name, values in scores.items()}
        figure = z_scores(layers, clipped, x_title="layer", y_title="standard errors")
        charts.append(
            Chart(
                f"agreement-{quantity}",
                f"Theory against ensemble: {title}",
                f"Deviation of every independent component in its standard errors; five either way are accepted. "
                f"What exceeds {_FURTHEST:g} is drawn there.",
                figure.update_xaxes(dtick=max(1, round(layers.max() / 12))),
            )
        )
    return charts


def all_charts(evidence: Evidence, counts: dict[str, int], activation: str | None, a: int) -> list[Chart]:
    """Every figure of a report, in the order of the page."""
    found = [
        *kernel_charts(evidence),
        fluctuation_chart(evidence),
        kurtosis_chart(evidence),
        susceptibility_chart(evidence),
        phase_chart(evidence, activation) if activation else None,
        histogram_chart(evidence, a),
        *agreement_charts(evidence),
        couplings_chart(counts),
    ]
    return [chart for chart in found if chart is not None]
