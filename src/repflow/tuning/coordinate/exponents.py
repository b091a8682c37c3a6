"""How changes move with width and depth: exponents fitted over sizes, measured and predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def exponents(sizes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Exponents p and q of change = a width^p depth^q, least squares in logarithms.

    Rows: the features' total change as kappa counts it, and predicts it; the mean over layers of each role; each hidden
    layer that every size has, where only the width varies; the mean over the hidden ones in the last step.

    Parameters
    ----------
    sizes
        As in :class:`~repflow.tuning.coordinate.result.CoordinateCheck`.

    Returns
    -------
    list of dict
        ``what``, ``quantity`` ("relative", "absolute" for the head, "later" for the last step), ``width``, ``depth``,
        ``predicted_width``, ``predicted_depth``; None where sizes do not tell, or nothing is predicted.
    """
    axes = np.array([[size["width"], size["depth"]] for size in sizes], dtype=np.float64)
    rows = []
    for role in dict.fromkeys(role for size in sizes for role in size["roles"]):
        if all(role in size["roles"] for size in sizes):
            label = f"{role} layers" if role != "head" else "head"
            own, theory = ([_of_role(size, role, key) for size in sizes] for key in ("own", "predicted"))
            rows.append(_row(label, role, axes, own, theory))
    if len(set(axes[:, 1])) == 1:
        for name, role in zip(sizes[0]["layers"], sizes[0]["roles"], strict=True):
            if role == "hidden" and all(name in size["layers"] for size in sizes):
                own = [size["own"][size["layers"].index(name)] for size in sizes]
                theory = [size["predicted"][size["layers"].index(name)] for size in sizes]
                rows.append(_row(name, role, axes, own, theory))
    if all("hidden" in size["roles"] for size in sizes):
        later = [_of_role(size, "hidden", "last") for size in sizes]
        rows.append({**_row("hidden layers, last step", "hidden", axes, later, [None]), "quantity": "later"})
    measured = [size["features"] for size in sizes]
    expected = [size["expected"] for size in sizes]
    return [_row("features, total", "hidden", axes, measured, expected), *rows]


def _of_role(size: dict[str, Any], role: str, key: str) -> float | None:
    values = [value for value, given in zip(size[key], size["roles"], strict=True) if given == role]
    return None if any(value is None for value in values) else float(np.sqrt(np.mean(np.square(values))))


def _row(
    what: str, role: str, axes: np.ndarray, measured: Sequence[float | None], predicted: Sequence[float | None]
) -> dict[str, Any]:
    width, depth = _fit(axes, measured)
    theory_width, theory_depth = _fit(axes, predicted)
    return {
        "what": what,
        "quantity": "absolute" if role == "head" else "relative",
        "width": width,
        "depth": depth,
        "predicted_width": theory_width,
        "predicted_depth": theory_depth,
    }


def _fit(axes: np.ndarray, values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Exponents of the axes that vary, independently of each other; None for the others."""
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if len(numbers) != len(axes) or not (np.isfinite(numbers) & (numbers > 0)).all():
        return None, None
    varies = [index for index in range(2) if len(set(axes[:, index])) > 1]
    design = np.column_stack([np.ones(len(axes)), *(np.log(axes[:, index]) for index in varies)])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return None, None
    solution = np.linalg.lstsq(design, np.log(numbers), rcond=None)[0]
    found: list[float | None] = [None, None]
    for index, value in zip(varies, solution[1:], strict=True):
        found[index] = float(value)
    return found[0], found[1]
