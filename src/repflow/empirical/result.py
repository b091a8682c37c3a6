"""``Measurement``: what was measured on one module, as plain data with a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.empirical import table as tables
from repflow.results import Payload, Result, result_schema


@dataclass(frozen=True)
class ModuleMeasure:
    """One module with parameters of its own, averaged over draws.

    Attributes
    ----------
    path, kind, order
        Qualified name, name of the class, place in order of execution from 1.
    mean_square, kernel
        Of its output: over everything, and <z_a z_b> over features, (N, N).
    chi_parallel, chi_perpendicular
        From the module before it in order of execution; NaN where that one's output does not reach it.
    gradient
        Root mean square of the loss's derivative by an entry of its output.
    branch
        rms(branch)/rms(sum) where its output is added to a residual stream, else None.
    """

    path: str
    kind: str
    order: int
    mean_square: float
    kernel: NDArray[np.float64]
    chi_parallel: float = math.nan
    chi_perpendicular: float = math.nan
    gradient: float = math.nan
    branch: float | None = None


@dataclass(frozen=True)
class TensorMeasure:
    """One parameter tensor, averaged over draws.

    Attributes
    ----------
    name, module, shape
        Its name, the path of the module that it belongs to (None where no module holds it alone), its shape.
    fan_in
        Entries of it that one entry of the module's output depends on.
    gradient
        Root mean square of an entry's gradient.
    ntk_trace, ntk_eigenvalue
        Trace and largest eigenvalue over N of its part of the tangent kernel (mean over outputs, rate 1).
    sgd_change, sign_change
        rms(dz)/rms(z) of its module's output, inputs held, for a unit step along its gradient and along its sign.
    coherent_change
        The same for the largest coherent step of one in every entry: sqrt(fan_in) |dz/dtheta|.
    sgd_features, sign_features
        rms(dh)/rms(h) of the last features for the same two steps, by all ways that lead there: relative to the stream
        for what stands in a residual branch.
    """

    name: str
    module: str | None
    shape: tuple[int, ...]
    fan_in: int = 1
    gradient: float = math.nan
    ntk_trace: float = math.nan
    ntk_eigenvalue: float = math.nan
    sgd_change: float = math.nan
    sign_change: float = math.nan
    coherent_change: float = math.nan
    sgd_features: float = math.nan
    sign_features: float = math.nan


@result_schema("measurement", version=1)
@dataclass(frozen=True)
class Measurement(Result):
    """What was measured on a module.

    Attributes
    ----------
    modules
        In order of execution; where the forward pass fails, those that ran before.
    tensors
        Parameter tensors in the model's order, tied ones once. NaN marks what could not be measured.
    unit_response
        Relative change of the last features when every weight before the head steps along its gradient until its own
        module's output has changed by its own size; sqrt(1^2 + ... + (L - 1)^2) for a critical chain.
    fluctuation
        Standard deviation between draws of the last features' mean square, relative to its mean; NaN for one draw.
    rows, draws
        How many.
    failures
        What could not be measured, by path or by quantity, and why.
    """

    modules: tuple[ModuleMeasure, ...]
    tensors: tuple[TensorMeasure, ...]
    unit_response: float
    fluctuation: float
    rows: int
    draws: int
    failures: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, key: str) -> ModuleMeasure | TensorMeasure:
        """A module by path or a tensor by name; KeyError if it is neither."""
        held: dict[str, ModuleMeasure | TensorMeasure] = {entry.name: entry for entry in self.tensors}
        held.update({entry.path: entry for entry in self.modules})
        return held[key]

    def table(self, format: str = "text") -> Any:
        """Modules and their tensors, and what failed.

        Parameters
        ----------
        format
            ``"text"``, ``"markdown"``, ``"html"``, or ``"dict"`` for two lists of dictionaries.
        """
        return tables.render(self, format)

    def _repr_html_(self) -> str:
        return str(self.table("html"))

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Measurement({len(self.modules)} modules, {self.draws} draws over {self.rows} rows{failed})"

    def _payload(self) -> Payload:
        arrays = {f"kernel/{entry.order}": entry.kernel for entry in self.modules}
        bare = [{**asdict(entry), "kernel": None} for entry in self.modules]
        meta = {
            "modules": bare,
            "tensors": [{**asdict(entry), "shape": list(entry.shape)} for entry in self.tensors],
            "unit_response": self.unit_response,
            "fluctuation": self.fluctuation,
            "rows": self.rows,
            "draws": self.draws,
            "failures": dict(self.failures),
        }
        return Payload(arrays, meta)

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None = None) -> Measurement:
        meta = dict(payload.meta)
        modules = [ModuleMeasure(**entry) for entry in meta.pop("modules")]
        tensors = [TensorMeasure(**{**entry, "shape": tuple(entry["shape"])}) for entry in meta.pop("tensors")]
        held = tuple(replace(entry, kernel=np.asarray(payload.arrays[f"kernel/{entry.order}"])) for entry in modules)
        return cls(modules=held, tensors=tuple(tensors), **meta)
