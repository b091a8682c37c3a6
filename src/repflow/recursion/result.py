"""``Flow``: the theory of a network on a data set, all layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from repflow.activation import ActivationLike
from repflow.network import LayerMaps, Network
from repflow.recursion.differentials import Differentials
from repflow.recursion.expansion_result import ExpansionLayer
from repflow.recursion.layer import DIFFERENTIAL_NAMES, FLUCTUATION_NAMES, FlowLayer, span
from repflow.recursion.second_order import SecondOrder
from repflow.recursion.tangent import Tangent
from repflow.results import Payload, Result, result_schema

PartsT = TypeVar("PartsT", Tangent, Differentials, SecondOrder)
_PARTS = ((Tangent, "tangent"), (Differentials, "differentials"), (SecondOrder, "second"))
_SERIES = ("kernel", "cumulants", "rounding")
#: Cumulants of an expansion that an xarray.Dataset holds.
_MOST_CUMULANTS = 4


@result_schema("flow", version=3, oldest=1)
class Flow(Result):
    """The representation group flow of a network on N inputs: ``flow[l]`` for l = 1..L, ``flow[-1]`` the output.

    Attributes
    ----------
    network
        What was asked about.
    x
        Inputs, shape (N, n_0), float64.
    order
        Highest order of 1/n computed.
    error
        Largest error estimate of an expectation, relative to its Cauchy-Schwarz bound, through order 2; what lies
        beyond has ``flow[l].expansion.rounding(m)``.
    """

    def __init__(self, network: LayerMaps, x: Tensor, layers: tuple[FlowLayer, ...], order: int, error: float) -> None:
        self.network = network
        self.x = x
        self._layers = layers
        self.order = order
        self.error = error

    @property
    def tangent(self) -> bool:
        """Whether the neural tangent kernel was computed."""
        return self._layers[0]._ntk is not None

    @property
    def differentials(self) -> bool:
        """Whether the dNTK and ddNTK were computed."""
        return self._layers[0]._differentials is not None

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[FlowLayer]:
        return iter(self._layers)

    def __getitem__(self, layer: int) -> FlowLayer:
        if not isinstance(layer, int):
            raise TypeError(f"layer must be a whole number from 1 to {len(self)}, got {type(layer).__name__}")
        if layer == 0 or layer > len(self) or layer < -len(self):
            raise IndexError(f"layer {layer} does not exist; layers are 1 to {len(self)}, or -1 for the output")
        return self._layers[layer - 1 if layer > 0 else layer]

    def __repr__(self) -> str:
        what = ["kernel"] + (["vertex", "kernel_correction"] if self.order else [])
        what += ["sextic", "vertex_correction", "kernel_correction2"] if self.order >= 2 else []
        what += ["expansion"] if self.order > 2 else []
        what += ["ntk"] if self.tangent else []
        if self[1]._tangent is not None:
            what += ["ntk_correction", *FLUCTUATION_NAMES]
        if self.differentials:
            what += DIFFERENTIAL_NAMES
        text = f"Flow(depth={len(self)}, inputs={len(self.x)}, order={self.order}: {', '.join(what)})"
        if self.order:
            text += f" r_L={self[-1].relative_fluctuation:.3g}"
        return text

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{layer.index}</td><td>{layer.n_in}</td><td>{span(layer.kernel.diagonal())}</td>"
            + (f"<td>{layer.relative_fluctuation:.3g}</td>" if self.order else "")
            + "</tr>"
            for layer in self
        )
        last = "<th>V/(n K&sup2;)</th>" if self.order else ""
        return (
            f"<table><caption>{self!r}</caption><tr><th>layer</th><th>n<sub>in</sub></th><th>K<sub>aa</sub></th>{last}</tr>"
            f"{rows}</table>"
        )

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset`` with dimensions layer, a, b; also c, d for the vertex, and e, f for the sextic one.

        From order 3 on also the terms of the first four cumulants with the widths put in, ``cumulant1_terms`` to
        ``cumulant4_terms``, along a dimension power: that of 1/n.
        """
        import xarray as xr

        layers = [layer.index for layer in self]
        data: dict[str, tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.float64]]]] = {
            "kernel": (("layer", "a", "b"), _stack(layer.kernel for layer in self))
        }
        if self.order:
            data["vertex"] = (("layer", "a", "b", "c", "d"), _stack(layer.vertex for layer in self))
            data["kernel_correction"] = (("layer", "a", "b"), _stack(layer.kernel_correction for layer in self))
        if self.order >= 2:
            six = ("layer", *"abcdef")
            data["sextic"] = (six, _stack(layer.sextic for layer in self))
            data["vertex_correction"] = (six[:5], _stack(layer.vertex_correction for layer in self))
            data["kernel_correction2"] = (six[:3], _stack(layer.kernel_correction2 for layer in self))
        for m in range(1, min(self.order + 1, _MOST_CUMULANTS) + 1 if self.order > 2 else 1):
            dims = ("layer", "power", *"abcdefgh"[: 2 * m])
            data[f"cumulant{m}_terms"] = (dims, _stack(layer.expansion.terms(m) for layer in self))
        if self.tangent:
            data["ntk"] = (("layer", "a", "b"), _stack(layer.ntk for layer in self))
        if self[1]._tangent is not None:
            data["ntk_correction"] = (("layer", "a", "b"), _stack(layer.ntk_correction for layer in self))
            for name in FLUCTUATION_NAMES + (DIFFERENTIAL_NAMES if self.differentials else ()):
                data[name] = (("layer", "a", "b", "c", "d"), _stack(getattr(layer, name) for layer in self))
        return xr.Dataset(
            {name: (dims, values) for name, (dims, values) in data.items()},
            coords={"layer": layers, "n_in": ("layer", [layer.n_in for layer in self])},
            attrs={"order": self.order},
        )

    def _payload(self) -> Payload:
        if not isinstance(self.network, Network):
            raise TypeError(f"only the flow of a Network can be saved, this one is of a {type(self.network).__name__}")
        arrays = {"x": self.x.cpu().numpy(), "kernel": _stack(layer.kernel for layer in self)}
        if self.order:
            arrays["vertex_by_pairs"] = _stack(layer._vertex for layer in self if layer._vertex is not None)
            arrays["correction_by_pairs"] = _stack(layer._correction for layer in self if layer._correction is not None)
        if self.tangent:
            arrays["ntk"] = _stack(layer.ntk for layer in self)
        for kind, prefix in _PARTS:
            parts = [getattr(layer, f"_{prefix}") for layer in self]
            if parts[0] is not None:
                arrays |= {f"{prefix}/{f.name}": _stack(getattr(p, f.name) for p in parts) for f in fields(kind)}
        if self.order > 2:
            for name in _SERIES:
                arrays[f"expansion/{name}"] = np.stack([getattr(layer.expansion, f"_{name}") for layer in self])
        return Payload(arrays, {"network": self.network.to_dict(), "order": self.order, "error": self.error})

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, ActivationLike] | None = None) -> Flow:
        network = Network.from_dict(payload.meta["network"], activations)
        arrays = {name: torch.from_numpy(np.array(values)) for name, values in payload.arrays.items()}

        def entry(name: str, number: int) -> Tensor | None:
            return arrays[name][number] if name in arrays else None

        def parts(kind: type[PartsT], prefix: str, number: int) -> PartsT | None:
            keys = {f.name: f"{prefix}/{f.name}" for f in fields(kind)}
            if not all(key in arrays for key in keys.values()):
                return None
            return kind(**{name: arrays[key][number] for name, key in keys.items()})

        def series(number: int, n_in: int) -> ExpansionLayer | None:
            if "expansion/kernel" not in arrays:
                return None
            return ExpansionLayer(number + 1, n_in, *(arrays[f"expansion/{name}"][number].numpy() for name in _SERIES))

        layers = tuple(
            FlowLayer(
                number + 1,
                layer.n_in,
                layer.n_out,
                arrays["kernel"][number],
                entry("vertex_by_pairs", number),
                entry("correction_by_pairs", number),
                entry("ntk", number),
                parts(Tangent, "tangent", number),
                parts(Differentials, "differentials", number),
                parts(SecondOrder, "second", number),
                series(number, layer.n_in),
            )
            for number, layer in enumerate(network.layers)
        )
        return cls(network, arrays["x"], layers, int(payload.meta["order"]), float(payload.meta["error"]))


def _stack(tensors: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.stack([tensor.cpu().numpy() for tensor in tensors])
