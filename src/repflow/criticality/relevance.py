"""How each coupling of the output distribution runs with depth: relevant, marginal or irrelevant.

A layer is one step of a renormalisation group: neurons are integrated out and couplings change. What grows with depth
is relevant. At criticality dimensionless couplings run as powers of l, off criticality exponentially, and the two can
be told apart from two octaves of depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from repflow.figures.tables import check_table_format, table_html, table_markdown, table_text
from repflow.recursion import Flow, FlowLayer
from repflow.results import Payload, Result, labelled, result_schema

FloatArray = NDArray[np.float64]
Law = Literal["power", "exponential", "none"]

#: Least depth: two octaves after the first layers.
LEAST_DEPTH = 8
#: A power this close to 0 counts as 0; so does what changes by this much over the last octave.
MARGINAL = 0.1
#: Differences between inputs below this are rounding; so are tensors in units of K and Theta, or of the largest one of
#: the same power of 1/n where that is more.
_ROUNDING = 1e-12
_COLUMNS = ("coupling", "at the output", "law", "exponent or rate", "change from the octave before", "verdict")

# Powers of K and Theta, and of 1/n, that make each coupling dimensionless.
_UNITS: dict[str, tuple[int, int, int]] = {
    "kernel_correction": (1, 0, 1),
    "vertex": (2, 0, 1),
    "kernel_correction2": (1, 0, 2),
    "vertex_correction": (2, 0, 2),
    "sextic": (3, 0, 2),
    "ntk_correction": (0, 1, 1),
    **dict.fromkeys(("A", "B", "P", "Q"), (0, 2, 1)),
    **dict.fromkeys(("D", "F"), (1, 1, 1)),
    **dict.fromkeys(("R", "S", "T", "U"), (-1, 3, 1)),
}


@dataclass(frozen=True)
class Running:
    """One coupling, layer by layer.

    Attributes
    ----------
    coupling
        Its name in a layer of a flow, or ``"norms"`` and ``"directions"``, the differences between inputs.
    values
        (L,): its size, made dimensionless: the largest diagonal component over powers of K, Theta and n.
    law
        ``"power"`` (g ~ l^p), ``"exponential"`` (g ~ exp(s l)), whichever changes less from one octave of depth to the
        next; ``"none"`` where it vanishes.
    exponent
        p or s, over the last octave.
    change
        By how much it differs from the octave before: about the distance to its limit.
    """

    coupling: str
    values: FloatArray
    law: Law
    exponent: float
    change: float

    @property
    def verdict(self) -> str:
        """``"relevant"`` where it grows, ``"irrelevant"`` where it falls, ``"marginal"`` where it does neither."""
        if self.law == "none":
            return "vanishes"
        over_octave = self.exponent if self.law == "power" else self.exponent * len(self.values) / 2
        if abs(over_octave) <= MARGINAL or abs(self.exponent) <= self.change:
            return "marginal"
        return "relevant" if self.exponent > 0 else "irrelevant"


@result_schema("relevance", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class Relevance(Result):
    """The running of every coupling of a flow; made by :func:`relevance`.

    ``found["vertex"]`` is one :class:`Running`; iteration runs over all.

    Attributes
    ----------
    runnings
        In the order of the flow's statistics.
    aspect_ratio
        Sum of 1/n_l over hidden layers: L/n.
    """

    runnings: tuple[Running, ...]
    aspect_ratio: float

    def __iter__(self) -> Any:
        return iter(self.runnings)

    def __len__(self) -> int:
        return len(self.runnings)

    def __getitem__(self, coupling: str) -> Running:
        for running in self.runnings:
            if running.coupling == coupling:
                return running
        raise KeyError(f"no coupling {coupling!r}; there are {', '.join(r.coupling for r in self.runnings)}")

    def table(self, format: str = "text") -> Any:
        """One line for each coupling.

        Parameters
        ----------
        format
            ``"text"``, ``"markdown"``, ``"html"``, or ``"dict"`` for a list of dictionaries.
        """
        check_table_format(format)
        rows = [(r.coupling, float(r.values[-1]), r.law, r.exponent, r.change, r.verdict) for r in self.runnings]
        if format == "dict":
            return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        cells = [(name, f"{g:.4g}", law, f"{p:.3f}", f"{c:.3f}", verdict) for name, g, law, p, c, verdict in rows]
        if format == "html":
            return table_html(_COLUMNS, cells, caption=repr(self))
        return table_text(_COLUMNS, cells) if format == "text" else table_markdown(_COLUMNS, cells)

    def __repr__(self) -> str:
        found = ", ".join(f"{r.coupling} {r.verdict}" for r in self.runnings)
        return f"Relevance(L/n={self.aspect_ratio:.3g}: {found})"

    def _repr_html_(self) -> str:
        return str(self.table("html"))

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset``: each coupling's size by layer."""
        return labelled(
            {r.coupling: (("layer",), r.values) for r in self.runnings},
            {"layer": np.arange(1, len(self.runnings[0].values) + 1)},
            {"aspect_ratio": self.aspect_ratio},
        )

    def _payload(self) -> Payload:
        meta = {
            "aspect_ratio": self.aspect_ratio,
            "runnings": [[r.coupling, r.law, r.exponent, r.change] for r in self.runnings],
        }
        return Payload({"values": np.stack([r.values for r in self.runnings])}, meta, {"values": ("coupling", "layer")})

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None) -> Self:
        rows = zip(payload.meta["runnings"], payload.arrays["values"], strict=True)
        found = tuple(Running(str(r[0]), np.asarray(v), r[1], float(r[2]), float(r[3])) for r, v in rows)
        return cls(found, float(payload.meta["aspect_ratio"]))


def relevance(flow: Flow) -> Relevance:
    """How each coupling of a flow runs with depth, and whether it is relevant.

    Parameters
    ----------
    flow
        Of eight layers or more and of order 1 or more, on any inputs. With two inputs or more the differences between
        their norms (largest over smallest K_aa, in logarithm) and directions (the mean of 1 - K_ab/sqrt(K_aa K_bb))
        run too; with ``tangent=True`` the NTK's tensors.

    Returns
    -------
    Relevance

    Raises
    ------
    TypeError, ValueError
        It is no flow, of order 0, or shallower than eight layers.
    """
    if not isinstance(flow, Flow):
        raise TypeError(f"flow must be what repflow.flow returns for a network, got {type(flow).__name__}")
    if flow.order < 1:
        raise ValueError("flow must be of order 1 or more, where interactions begin; flow(network, x, order=1)")
    if len(flow) < LEAST_DEPTH:
        raise ValueError(
            f"flow must have {LEAST_DEPTH} layers or more, to compare two octaves of depth; got {len(flow)}"
        )
    series: dict[str, list[float]] = {}
    for layer in flow:
        for name, value in _couplings(layer).items():
            series.setdefault(name, []).append(value)
    found = tuple(running(name, np.array(values)) for name, values in series.items())
    return Relevance(found, sum(1.0 / width for width in flow.network.widths[1:-1]))


def running(name: str, values: FloatArray) -> Running:
    """Fit the running of one coupling, of size ``values`` in layers 1 to L.

    What has fallen to 0, below rounding, is fitted over the layers where it had not.
    """
    live = np.isfinite(values) & (values > 0.0)
    last = int(np.flatnonzero(live)[-1]) + 1 if live.any() and np.isfinite(values).all() else 0
    # Some couplings vanish in the first layers.
    starts = [place for place in range(last // 4, last // 2) if live[place - 1]] if last >= LEAST_DEPTH else []
    if not starts or not live[last // 2 - 1]:
        return Running(name, values, "none", 0.0, 0.0)
    places = [last, last // 2, starts[0]]
    sizes = [float(values[place - 1]) for place in places]
    later, earlier = math.log(sizes[0] / sizes[1]), math.log(sizes[1] / sizes[2])
    powers = [later / math.log(places[0] / places[1]), earlier / math.log(places[1] / places[2])]
    rates = [later / (places[0] - places[1]), earlier / (places[1] - places[2])]
    as_power, as_rate = _relative_change(powers), _relative_change(rates)
    law: Law = "power" if as_power <= as_rate else "exponential"
    chosen = powers if law == "power" else rates
    return Running(name, values, law, chosen[0], abs(chosen[0] - chosen[1]))


def _relative_change(pair: list[float]) -> float:
    largest = max(map(abs, pair))
    return abs(pair[0] - pair[1]) / largest if largest > 0 else 0.0


def _couplings(layer: FlowLayer) -> dict[str, float]:
    """The dimensionless couplings of one layer: infinite where a unit vanishes."""
    K = layer.kernel.diagonal().cpu().numpy()
    inputs = np.arange(len(K))
    sizes: dict[str, FloatArray] = {}
    for name, (of_kernel, of_ntk, _) in _UNITS.items():
        try:
            tensor = getattr(layer, name)
            theta = layer.ntk.diagonal().cpu().numpy() if of_ntk else np.ones_like(K)
        except AttributeError:  # not computed
            continue
        diagonal = tensor.cpu().numpy()[(inputs,) * tensor.ndim]
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.abs(diagonal) / (K**of_kernel * theta**of_ntk)
        sizes[name] = np.where(diagonal == 0.0, 0.0, size)
    found: dict[str, float] = {}
    for name, size in sizes.items():
        power = _UNITS[name][2]
        largest = np.max([other for other_name, other in sizes.items() if _UNITS[other_name][2] == power], axis=0)
        found[name] = float(np.where(size < _ROUNDING * np.maximum(largest, 1.0), 0.0, size).max()) / layer.n_in**power
    if len(K) > 1 and (K > 0).all():
        cosine = layer.kernel.cpu().numpy() / np.sqrt(np.outer(K, K))
        differences = {
            "norms": float(np.log(K.max() / K.min())),
            "directions": float((1.0 - cosine)[np.triu_indices(len(K), 1)].mean()),
        }
        found |= {name: value if value > _ROUNDING else 0.0 for name, value in differences.items()}
    return found
