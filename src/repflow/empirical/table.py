"""A measurement as a table: text, Markdown, HTML, or dictionaries."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repflow.empirical.result import Measurement

_HEADER = (
    "module",
    "tensor",
    "kind",
    "mean square",
    "chi parallel",
    "chi perp.",
    "in branch",
    "gradient",
    "NTK top",
    "change (SGD)",
    "change (sign)",
    "features (SGD)",
    "features (sign)",
)


def render(measurement: Measurement, kind: str) -> Any:
    """The table in one of :data:`repflow.figures.TABLE_FORMATS`."""
    from repflow.figures import check_table_format, table_html, table_markdown, table_text

    check_table_format(kind)
    if kind == "dict":
        modules = [{**asdict(entry), "kernel": entry.kernel.tolist()} for entry in measurement.modules]
        return {"modules": modules, "tensors": [asdict(entry) for entry in measurement.tensors]}
    cells = _rows(measurement)
    if kind == "html":
        return table_html(_HEADER, cells, caption=" ".join(summary(measurement)))
    if kind == "markdown":
        return "\n".join([table_markdown(_HEADER, cells), "", *summary(measurement)])
    return "\n".join([table_text(_HEADER, cells), "", *summary(measurement)])


def summary(measurement: Measurement) -> list[str]:
    """What is true of the whole, and what failed, a line each."""
    text = f"{measurement.draws} draws over {measurement.rows} rows"
    if not math.isnan(measurement.unit_response):
        text += f"; unit changes of all modules change the last features by {measurement.unit_response:.3g}"
    if not math.isnan(measurement.fluctuation):
        text += f", whose mean square differs by {measurement.fluctuation:.0%} between draws"
    failed = [f"not measured: {where} ({why})" for where, why in measurement.failures.items()]
    return [text + ".", *failed]


def _rows(measurement: Measurement) -> list[tuple[str, ...]]:
    """A line for each module, one below for each of its tensors, and one for each tensor of no module."""
    lines: list[tuple[str, ...]] = []
    for module in measurement.modules:
        branch = "" if module.branch is None else f"{module.branch:.3g}"
        lines.append(
            (
                module.path or "(model)",
                "",
                module.kind,
                _number(module.mean_square),
                _number(module.chi_parallel),
                _number(module.chi_perpendicular),
                branch,
                _number(module.gradient),
                *("",) * 5,
            )
        )
        lines += [_tensor(entry) for entry in measurement.tensors if entry.module == module.path]
    paths = {module.path for module in measurement.modules}
    lines += [_tensor(entry) for entry in measurement.tensors if entry.module not in paths]
    return lines


def _tensor(entry: Any) -> tuple[str, ...]:
    shape = " x ".join(map(str, entry.shape))
    changes = (entry.sgd_change, entry.sign_change, entry.sgd_features, entry.sign_features)
    return (
        "",
        entry.name,
        shape,
        *("",) * 4,
        _number(entry.gradient),
        _number(entry.ntk_eigenvalue),
        *map(_number, changes),
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"
