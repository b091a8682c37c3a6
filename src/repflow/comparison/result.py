"""``Comparison``: the outcome of ``compare`` as a verdict, a table, figures and plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from repflow.comparison.chi_square import ChiSquare
from repflow.comparison.rule import ACCEPTABLE_P, SIGMAS, TRUST_ONE_WIDTH, TRUST_TWO_WIDTHS, Components
from repflow.results import Payload, Result, result_schema

_ARRAYS = ("index", "theory", "measured", "stderr", "tolerance")


@result_schema("comparison", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Theory against ensemble, for every statistic that both have, layer by layer.

    Attributes
    ----------
    components
        One entry for each layer and quantity.
    order
        Order of the theory in 1/n.
    networks
        Networks in the ensemble; the smaller number where there are two.
    widths
        Narrowest hidden width of each ensemble: one, or the smaller and the larger.
    """

    components: tuple[Components, ...]
    order: int
    networks: int
    widths: tuple[int, ...]

    @property
    def r(self) -> float:
        """r_L = max_a V_aaaa/(n_{L-1} K_aa^2) of the output, at the smaller width."""
        return self.components[-1].r

    @property
    def r_limit(self) -> float:
        """Largest r_L for which the rule applies."""
        return TRUST_ONE_WIDTH if len(self.widths) == 1 else TRUST_TWO_WIDTHS

    @property
    def trusted(self) -> bool:
        """Whether r_L is in the range in which theory at this order is to be trusted."""
        return self.r <= self.r_limit

    @property
    def within(self) -> bool:
        """Whether every component is within 5 s + t, in the range or not."""
        return all(entry.within for entry in self.components)

    @property
    def agrees(self) -> bool:
        """Whether theory and ensemble agree by the rule: r_L in its range and every component within 5 s + t."""
        return self.trusted and self.within

    @property
    def chi_square_acceptable(self) -> bool:
        """Whether no chi-square has a p-value of 1e-3 or less."""
        return all(entry.chi2.p_value is None or entry.chi2.p_value > ACCEPTABLE_P for entry in self.components)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table as plain data, one dictionary for each layer and quantity."""
        return [entry.row() for entry in self.components]

    @property
    def worst(self) -> dict[str, Any]:
        """The row with the component furthest from theory beyond t, in standard errors."""
        return max(self.rows, key=lambda row: (row["max_z_beyond"], row["max_z"]))

    def __iter__(self) -> Iterator[Components]:
        return iter(self.components)

    def at(self, layer: int, quantity: str) -> Components:
        """Components of one layer (1 to L, or negative from the output) and quantity."""
        depth = self.depth
        wanted = layer if layer > 0 else depth + 1 + layer
        for entry in self.components:
            if (entry.layer, entry.quantity) == (wanted, quantity):
                return entry
        raise KeyError(
            f"no layer {layer} with quantity {quantity!r}; layers are 1 to {depth}, quantities "
            f"{', '.join(self.quantities)}"
        )

    @property
    def depth(self) -> int:
        """L."""
        return max(entry.layer for entry in self.components)

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the quantities compared, in some layer at least."""
        return tuple(dict.fromkeys(entry.quantity for entry in sorted(self.components, key=lambda entry: -entry.layer)))

    @property
    def verdict(self) -> str:
        """The outcome in one sentence."""
        if not self.trusted:
            return (
                f"order {self.order} is not to be trusted here: r_L = {self.r:.3g} is above {self.r_limit:g}"
                f" (components within 5 s + t: {'all' if self.within else 'not all'})"
            )
        worst = self.worst
        if self.within:
            return f"theory agrees with the ensemble: all components within {SIGMAS:g} s + t, r_L = {self.r:.3g}"
        where = ",".join(map(str, worst["worst_component"]))
        # r_l knows the second order of the kernel; that of the NTK's tensors is often several times larger.
        one_width = len(self.widths) == 1 and len(worst["quantity"]) == 1
        remedy = (
            "; at one width its next order may be larger than r_l allows for: compare at two widths"
            if one_width
            else ""
        )
        return (
            f"theory disagrees with the ensemble: {worst['quantity']} of layer {worst['layer']}, component ({where}), "
            f"is {worst['max_z_beyond']:.3g} standard errors beyond its tolerance{remedy}"
        )

    def table(self) -> str:
        """A table as text: components, largest |z| without and with the tolerance t, chi-square, p-value."""
        header = ("layer", "quantity", "components", "max |z|", "beyond t", "chi2", "dof", "p", "r_l")
        lines = [header]
        for row in self.rows:
            p_value = row["p_value"]
            lines.append(
                (
                    str(row["layer"]),
                    row["quantity"],
                    str(row["components"]),
                    f"{row['max_z']:.2f}",
                    f"{row['max_z_beyond']:.2f}" + ("" if row["within"] else " *"),
                    "-" if p_value is None else f"{row['chi2']:.1f}",
                    "-" if p_value is None else str(row["dof"]),
                    "-" if p_value is None else f"{p_value:.3g}",
                    f"{row['r']:.3g}",
                )
            )
        sizes = [max(len(line[column]) for line in lines) for column in range(len(header))]
        return "\n".join("  ".join(cell.rjust(size) for cell, size in zip(line, sizes)).rstrip() for line in lines)

    def __repr__(self) -> str:
        widths = " and ".join(map(str, self.widths))
        head = f"Comparison(order={self.order}, width {widths}, {self.networks} networks)"
        return f"{head}\n{self.table()}\n{self.verdict}"

    def to_dict(self) -> dict[str, Any]:
        """Verdict and table as plain data."""
        return {
            "agrees": self.agrees,
            "trusted": self.trusted,
            "within": self.within,
            "chi_square_acceptable": self.chi_square_acceptable,
            "verdict": self.verdict,
            "order": self.order,
            "networks": self.networks,
            "widths": list(self.widths),
            "r": self.r,
            "r_limit": self.r_limit,
            "rows": self.rows,
        }

    def figures(self) -> dict[str, Any]:
        """Plotly figures by name: z-scores of all components against depth, and measured against predicted."""
        from repflow.comparison.plots import comparison_figures

        return comparison_figures(self)

    def _payload(self) -> Payload:
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        dims: dict[str, tuple[str, ...]] = {}
        meta: list[dict[str, Any]] = []
        for entry in self.components:
            key = f"layer_{entry.layer}/{entry.quantity}"
            for name in _ARRAYS:
                arrays[f"{key}/{name}"] = np.asarray(getattr(entry, name))
                component = f"component_of_{entry.quantity}"
                order = "pair" if entry.index.shape[1] == 2 else "quadruple"
                dims[f"{key}/{name}"] = (component, order) if name == "index" else (component,)
            meta.append(
                {
                    "layer": entry.layer,
                    "quantity": entry.quantity,
                    "scale": entry.scale,
                    "r": entry.r,
                    "chi2": entry.chi2.value,
                    "dof": entry.chi2.dof,
                    "p_value": entry.chi2.p_value,
                }
            )
        head = {"order": self.order, "networks": self.networks, "widths": list(self.widths)}
        return Payload(arrays=arrays, meta={**head, "components": meta}, dims=dims)

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None) -> Self:
        found = []
        for entry in payload.meta["components"]:
            key = f"layer_{entry['layer']}/{entry['quantity']}"
            index, theory, measured, stderr, tolerance = (payload.arrays[f"{key}/{name}"] for name in _ARRAYS)
            found.append(
                Components(
                    layer=int(entry["layer"]),
                    quantity=str(entry["quantity"]),
                    index=index.astype(np.intp),
                    theory=theory,
                    measured=measured,
                    stderr=stderr,
                    tolerance=tolerance,
                    scale=float(entry["scale"]),
                    r=float(entry["r"]),
                    chi2=ChiSquare(float(entry["chi2"]), int(entry["dof"]), entry["p_value"]),
                )
            )
        meta = payload.meta
        return cls(tuple(found), int(meta["order"]), int(meta["networks"]), tuple(int(n) for n in meta["widths"]))
