"""A plan as a table: text, Markdown, HTML, or dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repflow.tuning.plan import Plan

_HEADER = (
    "parameter",
    "role",
    "shape",
    "std now",
    "std new",
    "SGD rate",
    "Adam rate",
    "NTK trace",
    "NTK top",
    "set by",
)


def render(plan: Plan, kind: str) -> Any:
    """The table in one of :data:`repflow.figures.TABLE_FORMATS`."""
    from repflow.figures import check_table_format, table_html, table_markdown, table_text

    check_table_format(kind)
    if kind == "dict":
        return rows(plan)
    cells = [_cells(row) for row in rows(plan)]
    if kind == "html":
        return table_html(_HEADER, cells, caption=summary(plan))
    if kind == "markdown":
        return "\n".join([table_markdown(_HEADER, cells), "", summary(plan)])
    return "\n".join([table_text(_HEADER, cells), "", summary(plan), *(f"note: {note}" for note in plan.notes)])


def rows(plan: Plan) -> list[dict[str, Any]]:
    """One dictionary for each parameter."""
    return [
        {
            "parameter": entry.name,
            "role": entry.role,
            "layer": entry.layer,
            "shape": list(entry.shape),
            "old_std": entry.old_std,
            "new_std": entry.new_std,
            "sgd": entry.sgd,
            "adam": entry.adam,
            "ntk_trace": entry.trace,
            "ntk_eigenvalue": entry.eigenvalue,
            "set_by": entry.set_by,
            "trainable": entry.trainable,
            "tied_to": entry.tied_to,
            "new_mean": entry.new_mean,
            "keep": entry.keep,
        }
        for entry in plan.parameters
    ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["parameter"],
        row["role"],
        " x ".join(map(str, row["shape"])),
        f"{row['old_std']:.4g}",
        "kept" if row["keep"] else f"= {row['new_mean']:.4g}" if row["new_mean"] else f"{row['new_std']:.4g}",
        f"{row['sgd']:.4g}",
        f"{row['adam']:.4g}",
        f"{row['ntk_trace']:.1%}",
        f"{row['ntk_eigenvalue']:.1%}",
        row["set_by"],
    )


def summary(plan: Plan) -> str:
    """The plan in a line or two."""
    ratio = plan.aspect_ratio
    limit = "the change of the hidden features in one step" if plan.binding == "features" else "the edge of stability"
    text = (
        f"s = {plan.scaling:.3g}; lr = 1.0 is set by {limit} (kappa {plan.kappa:.3g}, edge at lr = {plan.edge:.3g}); "
        f"L/n = {ratio.value:.3g}, output kernel +-{plan.fluctuation:.0%} between seeds"
    )
    if ratio.optimum is not None:
        text += f", predicted optimum L/n = {ratio.optimum:.3g}"
    if ratio.advisable_depth is not None:
        text += f", at this width up to {ratio.advisable_depth} layers"
    return text + "."
