"""From a report to HTML: the whole page, and the fragment that a notebook shows."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from repflow.distribution import couplings_count, inputs_within
from repflow.reporting.evidence import HIGHEST_ORDER
from repflow.reporting.fluctuations import BANDS
from repflow.reporting.learning import learning_chart, learning_rows
from repflow.reporting.orders import order_rows
from repflow.reporting.words import number

if TYPE_CHECKING:
    from jinja2 import Environment

    from repflow.reporting.charts import Chart
    from repflow.reporting.result import Report

# The scale of r_L on the page: logarithmic between these.
_SCALE = (1e-3, 10.0)


@cache
def environment() -> Environment:
    """Templates of this room beside the shared ones, with the filters that they use."""
    from repflow.figures import page_environment

    environment = page_environment("repflow.reporting")
    environment.filters["number"] = number
    return environment


def page(report: Report) -> str:
    """The page of a report; it needs nothing but itself."""
    from repflow.figures import figure_html, render_page
    from repflow.reporting.charts import all_charts

    charts = all_charts(report.evidence, report.counts, report.activation, report.fluctuation.input_index)
    learning = None if report.learning is None else learning_chart(report.learning)

    def drawn(chart: Chart) -> dict[str, str]:
        html = figure_html(chart.figure, chart.key, chart.title)
        return {"key": chart.key, "title": chart.title, "caption": chart.caption, "html": html}

    return render_page(
        environment(),
        "report.html.j2",
        **_shared(report),
        figures=[drawn(chart) for chart in charts],
        layers=_layers(report),
        learning=[] if report.learning is None else learning_rows(report.learning),
        learning_figure=None if learning is None else drawn(learning),
        code=copyable(report),
        scale=_scale(report.fluctuation.ratio),
        widths_text=_widths(report),
        activations_text=", ".join(dict.fromkeys(entry.name for entry in report.network.activations)),
        couplings=_couplings(report),
        orders=order_rows(report.orders),
        provenance=_provenance(report),
    )


def fragment(report: Report) -> str:
    """Headline and cards, without figures, for a notebook."""
    return environment().get_template("fragment.html.j2").render(**_shared(report))


def _shared(report: Report) -> dict[str, Any]:
    from repflow.reporting.words import headline

    sentence, tone = headline(report.criticality, report.fluctuation)
    return {"report": report, "headline": sentence, "tone": tone, "cards": report.cards()}


def _layers(report: Report) -> list[dict[str, Any]]:
    """The table of numbers to copy; runs of equal layers are one row."""
    rows: list[dict[str, Any]] = []
    advice = report.advice
    for l, layer in enumerate(report.network.layers):
        row = {
            "first": l + 1,
            "last": l + 1,
            "shape": f"{layer.n_in} → {layer.n_out}",
            "now": (layer.C_W, layer.C_b),
            "advised": (advice.C_W[l], advice.C_b[l]),
            "weight_std": advice.weight_std[l],
            "bias_std": advice.bias_std[l],
        }
        same = ("shape", "now", "advised")
        if rows and all(rows[-1][key] == row[key] for key in same):
            rows[-1]["last"] = row["last"]
        else:
            rows.append(row)
    return rows


def copyable(report: Report) -> str:
    """PyTorch code that sets the advised initialisation of ``model``, an ``nn.Sequential`` of linear layers."""
    advice = report.advice
    lines = [
        "linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]",
        f"weight_std = {_folded(advice.weight_std)}",
        f"bias_std = {_folded(advice.bias_std)}",
        "for layer, w, b in zip(linear, weight_std, bias_std, strict=True):",
        "    torch.nn.init.normal_(layer.weight, std=w)",
        "    torch.nn.init.normal_(layer.bias, std=b)",
    ]
    return "\n".join(lines)


def _folded(values: tuple[float, ...]) -> str:
    """A list as Python code, runs of equal values folded."""
    runs: list[tuple[float, int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1] + 1)
        else:
            runs.append((value, 1))
    return " + ".join(f"[{value:.8g}]" + (f" * {count}" if count > 1 else "") for value, count in runs)


def _scale(ratio: float) -> dict[str, Any]:
    """Where r_L stands on its scale, in percent of the width."""

    def position(value: float) -> float:
        low, high = (math.log(edge) for edge in _SCALE)
        clipped = min(max(value, _SCALE[0]), _SCALE[1])
        return 100.0 * (math.log(clipped) - low) / (high - low)

    bands = [
        {
            "name": band.name,
            "title": band.title,
            "left": position(band.low),
            "width": position(band.high) - position(band.low),
            "edge": None if math.isinf(band.high) else number(band.high),
            "right": position(band.high),
        }
        for band in BANDS
    ]
    return {"bands": bands, "at": position(ratio)}


def _widths(report: Report) -> str:
    hidden = report.network.widths[1:-1]
    if not hidden:
        return ""
    return str(hidden[0]) if len(set(hidden)) == 1 else ", ".join(map(str, hidden))


def _couplings(report: Report) -> list[dict[str, str]]:
    """The table of couplings; of inputs and parameters alone, so that reports of earlier versions have it too."""
    inputs, parameters = report.counts["inputs"], report.counts["parameters"]
    count = couplings_count(inputs, HIGHEST_ORDER)
    names = ("kernel", "four-point vertex", "six-point vertex")
    rows = [
        (f"order {k}: {name}", number, _power(count.scaling[k]), k)
        for k, (name, number) in enumerate(zip(names, count.by_order, strict=True))
    ]
    general = ("general", count.general, "2<sup>N</sup>", None)
    return [
        {
            "title": title,
            "formula": formula,
            "count": _count_text(number),
            "per_parameter": _ratio_text(number, parameters),
            "most": f"{inputs_within(parameters, order):,}",
            "until": "in general" if order is None else f"to order {order}",
        }
        for title, number, formula, order in (*rows, general)
    ]


def _power(text: str) -> str:
    """``N^4/8`` with its exponent set as such."""
    return re.sub(r"N\^(\d+)", r"N<sup>\1</sup>", text)


def _count_text(count: int) -> str:
    """A whole number with separators; a power of ten where it is too long to read."""
    digits = len(str(count)) if count < 10**300 else math.floor(count.bit_length() * math.log10(2.0)) + 1
    return f"{count:,}" if digits <= 15 else f"about 10^{digits - 1}"


def _ratio_text(count: int, parameters: int) -> str:
    # Whole-number division first: a count of couplings may exceed every float.
    return number(count / parameters) if count < 10**300 else f"about 10^{len(str(count // parameters)) - 1}"


def _provenance(report: Report) -> dict[str, dict[str, Any]]:
    recorded = report.provenance
    return {
        "Versions": {**recorded["versions"], "platform": recorded["platform"], "written": recorded["written"]},
        "Configuration": recorded["configuration"],
        "Seconds": {name: f"{value:.2f}" for name, value in recorded["seconds"].items()},
    }
