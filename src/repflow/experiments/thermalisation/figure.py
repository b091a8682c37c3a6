"""Table and figure of the thermalisation experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from repflow.experiments.thermalisation.kicked_chain import Followed, Ramp, failing_from
from repflow.experiments.thermalisation.static_chain import TIMES, Counted, Equilibrated
from repflow.theories import quantum as qm

#: Form factors that are drawn: each other N, so that the curves stay apart.
_STRIDE = 2


def tabulate(
    static: Sequence[Equilibrated], followed: Sequence[Followed], ramps: Sequence[Ramp], counted: Sequence[Counted]
) -> dict[str, list[Any]]:
    """One row a number: part, quantity, N, time, value, standard error, and what it is compared with."""
    rows: list[tuple[Any, ...]] = []

    def add(part: str, what: str, N: int, t: float | None, value: float, error: float | None, to: float | None) -> None:
        rows.append((part, what, N, t, float(value), error, to))

    for entry in static:
        add("equilibration", "fluctuation", entry.N, None, entry.fluctuation, None, None)
        add("equilibration", "time average less thermal value", entry.N, None, entry.gap, None, entry.deviation)
        add("equilibration", "effective dimension", entry.N, None, entry.dimension, None, None)
        for t, value in zip(TIMES, entry.curve):
            add("equilibration", "z of the middle spin", entry.N, float(t), value, None, entry.thermal)
    for states in followed:
        haar = {
            "one": qm.haar_distance_one_site(states.N),
            "two": qm.haar_distance(2, states.N),
            "purity": qm.haar_purity(2, states.N),
            "apart": float(states.haar_apart.mean()),
            "most_apart": float(states.haar_most_apart.mean()),
        }
        for name, reference in haar.items():
            values = getattr(states, name)
            error = float(values.std(ddof=1) / np.sqrt(len(values)))
            add("states", _NAMES[name], states.N, None, values.mean(), error, reference)
        for t, values in enumerate(states.early.T):
            error = float(values.std(ddof=1) / np.sqrt(len(values)))
            mean, reference = float(values.mean()), haar["most_apart"]
            add("counterfactual", "largest distance over pairs", states.N, float(t), mean, error, reference)
    for spectrum in ramps:
        part = f"form factor, {spectrum.ensemble}"
        time, error = spectrum.plateau.time, spectrum.plateau.time * spectrum.plateau.log2_error * np.log(2)
        add(part, "plateau time", spectrum.N, None, time, error, float(2**spectrum.N))
        target = qm.SPACING_RATIOS[spectrum.ensemble]
        add(part, "spacing ratio", spectrum.N, None, spectrum.ratio, spectrum.ratio_error, target)
        columns = zip(spectrum.t, spectrum.curve, spectrum.curve_error, spectrum.reference)
        for t, value, error, reference in columns:
            add(part, "K/2^N", spectrum.N, float(t), value, float(error), float(reference))
    for basis in counted:
        for name, found in (("own basis", basis.own), ("rotated", basis.rotated), ("random matrix", basis.generic)):
            add("couplings", f"count, {name}", basis.N, None, found.count, None, float(found.total))
            add("couplings", f"participation, {name}", basis.N, None, found.participation, None, float(found.total))
            add("couplings", f"weight on 1 and 2 spins, {name}", basis.N, None, found.local_weight, None, None)
        add("couplings", "spectral kurtosis, chain", basis.N, None, basis.kurtosis, None, 0.0)
        add("couplings", "spectral kurtosis, random matrix", basis.N, None, basis.generic_kurtosis, None, -1.0)
    names = ("part", "quantity", "N", "t", "value", "stderr", "compared_with")
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


_NAMES = {
    "one": "distance of one site from 1/2",
    "two": "distance of two sites from 1/4",
    "purity": "purity of two sites",
    "apart": "mean distance over pairs from the counterfactual",
    "most_apart": "largest distance over pairs from the counterfactual",
}


def draw(
    static: Sequence[Equilibrated],
    followed: Sequence[Followed],
    ramps: Sequence[Ramp],
    counted: Sequence[Counted],
    numbers: Mapping[str, Any],
) -> Any:
    """Six panels, each with its legend."""
    from plotly.subplots import make_subplots

    from repflow.figures import new_figure

    def interval(name: str) -> str:
        low, high = numbers[f"{name}_interval"]
        return f"{numbers[name]:.3f} [{low:.3f}, {high:.3f}]"

    titles = [
        "static chain equilibrates",
        "couplings: the preferred basis",
        f"two sites: slope {interval('two_site_slope')}",
        "form factor: ramp and plateau",
        f"plateau: slope {interval('plateau_slope')}",
        "counterfactual: one spin flipped",
    ]
    figure = make_subplots(2, 3, subplot_titles=titles, horizontal_spacing=0.085, vertical_spacing=0.17)
    plain = new_figure("", "", None, height=760)
    figure.update_layout(template=plain.layout.template, height=760, margin={"t": 40, "b": 50})
    figure.update_annotations(font_size=13)
    panels = [_Panel(figure, number) for number in range(6)]
    _static(panels[0], static, numbers["fluctuation_slope"])
    _couplings(panels[1], counted)
    _states(panels[2], followed)
    _ramps(panels[3], panels[4], ramps, followed)
    _counterfactuals(panels[5], followed)
    return figure


class _Panel:
    """One subplot with its own legend."""

    def __init__(self, figure: Any, number: int) -> None:
        self.figure, self.row, self.col = figure, number // 3 + 1, number % 3 + 1
        self.legend = "legend" if number == 0 else f"legend{number + 1}"
        self._axis = "" if number == 0 else str(number + 1)

    def axes(self, x: str, y: str, corner: str, log_x: bool = False, log_y: bool = False, **limits: Any) -> None:
        """Titles, scales, and the corner of the legend: "tr", "tl", "br" or "bl"."""
        place: dict[str, Any] = {"row": self.row, "col": self.col}
        kinds = {True: "log", False: "linear"}
        self.figure.update_xaxes(title_text=x, type=kinds[log_x], **place)
        self.figure.update_yaxes(title_text=y, type=kinds[log_y], **limits, **place)
        for name, wide in (("xaxis", log_x), ("yaxis", log_y)):
            if wide:
                self.figure.layout[name + self._axis].update(dtick=1, exponentformat="power")
        across = self.figure.layout["xaxis" + self._axis].domain
        up = self.figure.layout["yaxis" + self._axis].domain
        right, top = corner[1] == "r", corner[0] == "t"
        self.figure.update_layout(
            {
                self.legend: {
                    "orientation": "v",
                    "x": across[1] if right else across[0] + 0.005,
                    "xanchor": "right" if right else "left",
                    "y": up[1] if top else up[0],
                    "yanchor": "top" if top else "bottom",
                    "font": {"size": 10},
                    "bgcolor": "rgba(0,0,0,0)",
                    "tracegroupgap": 0,
                    "itemwidth": 30,
                }
            }
        )

    def line(self, x: ArrayLike, y: ArrayLike, name: str, colour: str, dash: str = "solid", shown: bool = True) -> None:
        """A curve."""
        import plotly.graph_objects as go

        style = {"color": colour, "width": 1.8, "dash": dash}
        trace = go.Scatter(
            x=np.asarray(x), y=np.asarray(y), mode="lines", name=name, line=style, legend=self.legend, showlegend=shown
        )
        self.figure.add_trace(trace, row=self.row, col=self.col)

    def points(
        self, x: ArrayLike, y: ArrayLike, name: str, colour: str, symbol: str = "circle", error: ArrayLike | None = None
    ) -> None:
        """Markers with one standard error."""
        import plotly.graph_objects as go

        bars = {"visible": False} if error is None else {"type": "data", "array": np.asarray(error), "thickness": 1.2}
        trace = go.Scatter(
            x=np.asarray(x),
            y=np.asarray(y),
            mode="markers",
            name=name,
            error_y=bars,
            marker={"size": 7, "symbol": symbol, "color": colour},
            legend=self.legend,
        )
        self.figure.add_trace(trace, row=self.row, col=self.col)


def _static(panel: _Panel, static: Sequence[Equilibrated], slope: float) -> None:
    from repflow.figures import PALETTE

    chosen = [static[0], static[len(static) // 2], static[-1]]
    for entry, colour in zip(chosen, (PALETTE[5], PALETTE[4], PALETTE[0])):
        panel.line(TIMES, entry.curve, f"N = {entry.N}", colour)
    last = chosen[-1]
    panel.line(TIMES, np.full(len(TIMES), last.thermal), f"thermal value, N = {last.N}", PALETTE[1], "dash")
    panel.axes(
        f"time (fluctuations fall as 2<sup>{slope:.2f} N</sup>)", "z of the middle spin", "br", range=[-1.15, 0.35]
    )


def _couplings(panel: _Panel, counted: Sequence[Counted]) -> None:
    from repflow.figures import PALETTE

    N = np.array([entry.N for entry in counted])
    panel.line(N, 4.0**N, "4<sup>N</sup>", "#808890", "dot")
    panel.points(N, [entry.rotated.count for entry in counted], "after a random unitary", PALETTE[1], "square")
    panel.points(N, [entry.rotated.participation for entry in counted], "participation", PALETTE[4], "square-open")
    panel.points(N, [entry.own.count for entry in counted], "in its own basis: 3 N - 1", PALETTE[0])
    panel.points(N, [entry.own.participation for entry in counted], "participation", PALETTE[5], "circle-open")
    panel.axes("N", "couplings of the static chain", "tl", log_y=True, range=[0.5, 0.6 * N.max() + 2.6])


def _states(panel: _Panel, followed: Sequence[Followed]) -> None:
    from repflow.figures import PALETTE

    N = [entry.N for entry in followed]
    panel.line(N, [qm.haar_distance(2, n) for n in N], "Haar, formula: two sites", PALETTE[0])
    panel.line(N, [qm.haar_distance_one_site(n) for n in N], "Haar, formula: one site", PALETTE[1])
    for name, colour, symbol in (("two", PALETTE[0], "circle"), ("one", PALETTE[1], "square")):
        values = [getattr(entry, name) for entry in followed]
        error = [value.std(ddof=1) / np.sqrt(len(value)) for value in values]
        label = f"kicked chain: {name} site{'s' if name == 'two' else ''}"
        panel.points(N, [value.mean() for value in values], label, colour, symbol, error)
    panel.axes("N", "trace distance from 1/d", "tr", log_y=True, range=[-0.165 * max(N) - 0.1, 0.3])


def _ramps(left: _Panel, right: _Panel, ramps: Sequence[Ramp], followed: Sequence[Followed]) -> None:
    from repflow.figures import PALETTE

    plain = [entry for entry in ramps if entry.ensemble == "CUE"]
    for index, entry in enumerate(plain[::-_STRIDE][::-1]):
        left.line(entry.t, entry.curve * 2**entry.N, f"N = {entry.N}", PALETTE[(0, 1, 2, 3, 4, 5)[index % 6]])
        left.line(entry.t, entry.reference * 2**entry.N, "CUE", "#808890", "dot", shown=index == 0)
    left.axes("period t", "K(t)", "br", log_x=True, log_y=True)
    N = np.array([entry.N for entry in plain])
    time = np.array([entry.plateau.time for entry in plain])
    right.line(N, 2.0**N, "2<sup>N</sup>", "#808890", "dot")
    error = time * np.log(2) * [entry.plateau.log2_error for entry in plain]
    right.points(N, time, "plateau time, CUE", PALETTE[0], "circle", error)
    for entry in ramps:
        if entry.ensemble == "COE":
            right.points([entry.N], [entry.plateau.time], "with time reversal, COE", PALETTE[1], "diamond")
    fails = [(entry.N, failing_from(entry)) for entry in followed]
    known = [(n, period) for n, period in fails if period is not None]
    right.points([n for n, _ in known], [period for _, period in known], "local observables fail", PALETTE[2], "square")
    right.axes("N", "period", "tl", log_y=True, range=[-0.3, np.log10(time.max()) + 2.2])


def _counterfactuals(panel: _Panel, followed: Sequence[Followed]) -> None:
    from repflow.figures import PALETTE

    chosen = [followed[0], followed[len(followed) // 2], followed[-1]]
    periods = np.arange(chosen[0].early.shape[1])
    panel.line(periods, np.ones(len(periods)), "projector on the counterfactual", "#808890")
    for entry, colour in zip(chosen, (PALETTE[2], PALETTE[1], PALETTE[0])):
        panel.line(periods, entry.early.mean(axis=0), f"largest over pairs, N = {entry.N}", colour)
        level = float(entry.haar_most_apart.mean())
        last = entry is chosen[-1]
        panel.line(periods, np.full(len(periods), level), "two Haar-random states", colour, "dot", shown=last)
    panel.axes("period", "difference of probabilities", "tr", log_y=True, range=[-2, 1.3])
