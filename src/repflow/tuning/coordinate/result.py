"""``CoordinateCheck``: what a coordinate check measured, beside the prediction, with its findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repflow.results import Payload, Result, result_schema
from repflow.tuning.coordinate.problems import Problem

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FloatArray = NDArray[np.float64]
_HEADER = ("layer", "role", "own change", "+-", "predicted", "ratio", "total change", "last step", "finding")


@result_schema("coordinate-check", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class CoordinateCheck(Result):
    """The change of each layer in real training, in the first step against theory.

    A change is rms(dz)/rms(z) over the batch, z what the layer gives; for the head rms(dz), since its size at the start
    depends on s.

    Attributes
    ----------
    names, roles
        Layers in order of execution.
    own
        Change by the layer's own parameters with its inputs held, shape (seeds, steps, layers).
    total
        Change with everything below it, same shape.
    predicted
        Of ``own`` in the first step, shape (layers,); NaN where there is no theory.
    losses
        Before each step, shape (seeds, steps).
    problems
        Findings, causes before effects; empty where all is as planned.
    sizes
        One dictionary for each size from ``make``: ``width``, ``depth``, ``layers`` and ``roles``, their changes
        ``own`` and ``predicted`` in the first step and ``last`` in the last, ``features`` (the total change of all
        hidden layers, root of the sum of squares; of the last ones where there is no theory) beside what it is
        ``expected`` to go as, and ``problems`` in words.
    exponents
        One dictionary a row: ``what`` changes, the fitted exponents of its change in width and depth and the predicted
        ones; None where sizes do not tell.
    optimizer
        Name of the optimiser.
    lr
        In the plan's unit.
    tolerance
        Factor by which a first change may differ from the prediction, times exp(r_L): the prediction is that of a wide
        network.
    notes
        What could not be compared.
    """

    names: tuple[str, ...]
    roles: tuple[str, ...]
    own: FloatArray
    total: FloatArray
    predicted: FloatArray
    losses: FloatArray
    problems: tuple[Problem, ...]
    sizes: tuple[dict[str, Any], ...]
    exponents: tuple[dict[str, Any], ...]
    optimizer: str
    lr: float
    tolerance: float
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def assert_ok(self) -> None:
        """Raise AssertionError that lists every finding with its remedy."""
        if self.problems:
            raise AssertionError("\n".join(map(str, self.problems)))

    def summary(self) -> str:
        """One sentence."""
        seeds, steps, _ = self.own.shape
        start = f"{self.optimizer} at lr = {self.lr:g}, {seeds} seed{'s' * (seeds > 1)}, {steps} steps: "
        if not self.problems:
            compared = f"every layer within a factor {self.tolerance:g} of the prediction"
            return start + (compared if np.isfinite(self.predicted).any() else "nothing found; no theory to compare")
        return start + f"{len(self.problems)} finding{'s' * (len(self.problems) > 1)}"

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary for each layer: geometric means over seeds."""
        spread = self.own[:, 0].std(axis=0, ddof=1) if len(self.own) > 1 else np.full(len(self.names), np.nan)
        found = []
        for index, name in enumerate(self.names):
            first, theory = typical(self.own[:, 0, index]), float(self.predicted[index])
            known = np.isfinite(theory) and theory > 0
            kinds = [problem.kind for problem in self.problems if self._concerns(problem, name)]
            found.append(
                {
                    "layer": name or "(model)",
                    "role": self.roles[index],
                    "own": first,
                    "own_std": float(spread[index]) if np.isfinite(spread[index]) else None,
                    "predicted": theory if np.isfinite(theory) else None,
                    "ratio": first / theory if known else None,
                    "total": typical(self.total[:, 0, index]),
                    "last_own": typical(self.own[:, -1, index]),
                    "last_total": typical(self.total[:, -1, index]),
                    "findings": list(dict.fromkeys(kinds)),
                }
            )
        return found

    def _concerns(self, problem: Problem, name: str) -> bool:
        return problem.where == name or problem.where.rpartition(".")[0] == name

    def table(self, format: str = "text") -> Any:
        """Layers, findings and exponents as ``"text"``, ``"markdown"``, ``"html"``, or ``"dict"`` for plain data."""
        from repflow.figures import check_table_format, table_markdown, table_text

        check_table_format(format)
        if format == "dict":
            return {
                "layers": self.rows(),
                "problems": [asdict(problem) for problem in self.problems],
                "sizes": [dict(size) for size in self.sizes],
                "exponents": [dict(row) for row in self.exponents],
                "notes": list(self.notes),
            }
        tables: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = [(_HEADER, [_cells(row) for row in self.rows()])]
        if self.exponents:
            header = ("change of", "width^", "predicted", "depth^", "predicted")
            tables.append((header, [_exponent_cells(row) for row in self.exponents]))
        if format == "html":
            return self._html(tables)
        texts = [(table_markdown if format == "markdown" else table_text)(*table) for table in tables]
        lines = [*(f"{problem.kind}: {problem}" for problem in self.problems), *(f"note: {n}" for n in self.notes)]
        mark = "- " if format == "markdown" else ""
        return "\n\n".join([*texts, "\n".join([self.summary() + ".", *(mark + line for line in lines)])])

    def _html(self, tables: list[tuple[tuple[str, ...], list[tuple[str, ...]]]]) -> str:
        from html import escape

        from repflow.figures import table_html

        parts = [table_html(tables[0][0], tables[0][1], caption=self.summary())]
        if self.problems:
            items = "".join(f"<li><b>{escape(p.kind)}</b> {escape(str(p))}</li>" for p in self.problems)
            parts.append(f"<ul>{items}</ul>")
        parts += [table_html(header, cells, caption="Fitted exponents") for header, cells in tables[1:]]
        return "\n".join(parts)

    def figure(self) -> Figure:
        """Changes of the first step by layer: measured with standard deviations over seeds, predicted, and total."""
        from repflow.figures import lines

        rows = self.rows()
        x = np.arange(1, len(rows) + 1)
        spread = [row["own_std"] or 0.0 for row in rows]
        curves = {}
        if np.isfinite(self.predicted).any():
            curves["predicted, own parameters"] = self.predicted
        figure = lines(
            x,
            curves,
            {
                "measured, own parameters": ([row["own"] for row in rows], spread),
                "measured, with the layers below": ([row["total"] for row in rows], None),
            },
            x_title="layer",
            y_title="change in the first step",
            log_y=True,
        )
        return figure.update_xaxes(tickvals=list(x), ticktext=[row["layer"] for row in rows])

    def __repr__(self) -> str:
        return f"CoordinateCheck({self.summary()})"

    def _repr_html_(self) -> str:
        return str(self.table("html"))

    def _payload(self) -> Payload:
        return Payload(
            {"own": self.own, "total": self.total, "predicted": self.predicted, "losses": self.losses},
            {
                "names": list(self.names),
                "roles": list(self.roles),
                "problems": [asdict(problem) for problem in self.problems],
                "sizes": list(self.sizes),
                "exponents": list(self.exponents),
                "optimizer": self.optimizer,
                "lr": self.lr,
                "tolerance": self.tolerance,
                "notes": list(self.notes),
            },
            {
                "own": ("seed", "step", "layer"),
                "total": ("seed", "step", "layer"),
                "predicted": ("layer",),
                "losses": ("seed", "step"),
            },
        )

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None = None) -> CoordinateCheck:
        meta, arrays = payload.meta, payload.arrays
        return cls(
            names=tuple(meta["names"]),
            roles=tuple(meta["roles"]),
            own=arrays["own"],
            total=arrays["total"],
            predicted=arrays["predicted"],
            losses=arrays["losses"],
            problems=tuple(Problem(**entry) for entry in meta["problems"]),
            sizes=tuple(meta["sizes"]),
            exponents=tuple(meta["exponents"]),
            optimizer=meta["optimizer"],
            lr=meta["lr"],
            tolerance=meta["tolerance"],
            notes=tuple(meta["notes"]),
        )


def typical(values: FloatArray) -> float:
    """Geometric mean: changes vary over seeds by factors."""
    return float(np.exp(np.log(np.maximum(values, 1e-300)).mean())) if (values > 0).all() else float(values.mean())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    numbers = [_number(row[key]) for key in ("own", "own_std", "predicted", "ratio", "total", "last_own")]
    return (row["layer"], row["role"], *numbers, ", ".join(row["findings"]))


def _exponent_cells(row: dict[str, Any]) -> tuple[str, ...]:
    keys = ("width", "predicted_width", "depth", "predicted_depth")
    return (row["what"], *("-" if row[key] is None else f"{row[key]:.2f}" for key in keys))
