"""``EmpiricalNTK``: the tangent kernel of one module, with each parameter tensor's share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from repflow.figures.tables import check_table_format, table_html, table_markdown, table_text
from repflow.results import Payload, Result, labelled, result_schema

if TYPE_CHECKING:
    import xarray

OUTPUTS = ("trace", "diagonal", "full")
_COLUMNS = ("parameter", "shape", "learning rate", "mean diagonal", "share")


@result_schema("empirical_ntk", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class EmpiricalNTK(Result):
    """The empirical tangent kernel of a module; made by ``empirical_ntk``.

    Attributes
    ----------
    kernel
        (N, N2), (N, N2, *O) or (N, N2, *O, *O) for ``outputs`` of ``"trace"``, ``"diagonal"``, ``"full"``.
    by_parameter
        The same for each parameter tensor by name, its learning rate included: they add up to ``kernel``. Empty if
        that was not asked for.
    outputs
        ``"trace"`` (the mean over outputs), ``"diagonal"`` or ``"full"``.
    output_shape
        O, the shape of one input's output.
    shapes, learning_rates
        Of the parameter tensors that count, by name.
    symmetric
        Whether both sets of inputs are the same.
    module
        Name of its class.
    method
        ``"vmap"``, or ``"loop"`` where the module needed plain autograd, row by row.
    """

    kernel: Tensor
    by_parameter: dict[str, Tensor]
    outputs: str
    output_shape: tuple[int, ...]
    shapes: dict[str, tuple[int, ...]]
    learning_rates: dict[str, float]
    symmetric: bool
    module: str
    method: str

    def matrix(self) -> Tensor:
        """The kernel as a matrix: (N n_L, N2 n_L) of ``"full"``, rows by input and then by output; (N, N2) of
        ``"trace"``.

        Raises
        ------
        AttributeError
            For ``"diagonal"``, which is one matrix for each output.
        """
        if self.outputs == "diagonal":
            raise AttributeError(
                "outputs='diagonal' is one matrix for each output, kernel[..., o]; empirical_ntk(..., outputs='full') "
                "gives one matrix of all"
            )
        if self.outputs == "trace":
            return self.kernel
        rows, columns, count = *self.kernel.shape[:2], math.prod(self.output_shape)
        return self.kernel.reshape(rows, columns, count, count).transpose(1, 2).reshape(rows * count, columns * count)

    def table(self, format: str = "text") -> Any:
        """Parameter tensors with the mean over inputs and outputs of the diagonal that each contributes.

        Parameters
        ----------
        format
            ``"text"``, ``"markdown"``, ``"html"``, or ``"dict"`` for a list of dictionaries.

        Raises
        ------
        AttributeError
            Two different sets of inputs have no diagonal, or contributions were not kept.
        """
        check_table_format(format)
        if not self.symmetric or not self.by_parameter:
            raise AttributeError("the table needs x2=None and by_parameter=True in empirical_ntk(...)")
        total = self._mean_diagonal(self.kernel)
        rows = []
        for name, kernel in self.by_parameter.items():
            mean = self._mean_diagonal(kernel)
            share = mean / total if total else math.nan
            rows.append((name, "x".join(map(str, self.shapes[name])) or "1", self.learning_rates[name], mean, share))
        if format == "dict":
            return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        if format == "html":
            return table_html(_COLUMNS, rows, caption=repr(self))
        cells = [(name, shape, f"{rate:.4g}", f"{mean:.4g}", f"{share:.1%}") for name, shape, rate, mean, share in rows]
        return table_text(_COLUMNS, cells) if format == "text" else table_markdown(_COLUMNS, cells)

    def _mean_diagonal(self, kernel: Tensor) -> float:
        diagonal = kernel.diagonal(dim1=0, dim2=1).double()
        if self.outputs == "full":
            count = math.prod(self.output_shape)
            diagonal = diagonal.reshape(count, count, -1).diagonal(dim1=0, dim2=1)
        return float(diagonal.mean())

    def __repr__(self) -> str:
        inputs = f"{self.kernel.shape[0]} inputs" if self.symmetric else "{} x {} inputs".format(*self.kernel.shape[:2])
        parameters = sum(math.prod(shape) for shape in self.shapes.values())
        dtype = str(self.kernel.dtype).removeprefix("torch.")
        return (
            f"EmpiricalNTK({self.module}, {inputs}, output {self.output_shape}, outputs={self.outputs!r}, "
            f"{parameters} parameters in {len(self.shapes)} tensors, {dtype}, {self.method})"
        )

    def _repr_html_(self) -> str:
        if self.symmetric and self.by_parameter:
            return str(self.table("html"))
        return table_html(("", ""), [(repr(self), "")])

    def _dims(self) -> tuple[str, ...]:
        powers = {"trace": 0, "diagonal": 1, "full": 2}[self.outputs]
        axes = ["output"] if len(self.output_shape) == 1 else [f"output_{i}" for i in range(len(self.output_shape))]
        return ("input", "input'", *axes * powers)

    def _payload(self) -> Payload:
        arrays = {"kernel": _array(self.kernel)}
        dims = {"kernel": self._dims()}
        if self.by_parameter:
            arrays["by_parameter"] = np.stack([_array(kernel) for kernel in self.by_parameter.values()])
            dims["by_parameter"] = ("parameter", *self._dims())
        meta = {
            "names": list(self.shapes),
            "shapes": [list(shape) for shape in self.shapes.values()],
            "learning_rates": list(self.learning_rates.values()),
            "outputs": self.outputs,
            "output_shape": list(self.output_shape),
            "symmetric": self.symmetric,
            "module": self.module,
            "method": self.method,
        }
        return Payload(arrays, meta, dims)

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None = None) -> EmpiricalNTK:
        meta, names = payload.meta, payload.meta["names"]
        held = payload.arrays.get("by_parameter")
        return cls(
            kernel=torch.from_numpy(np.array(payload.arrays["kernel"])),
            by_parameter={} if held is None else dict(zip(names, torch.from_numpy(np.array(held)), strict=True)),
            outputs=meta["outputs"],
            output_shape=tuple(meta["output_shape"]),
            shapes={name: tuple(shape) for name, shape in zip(names, meta["shapes"], strict=True)},
            learning_rates=dict(zip(names, meta["learning_rates"], strict=True)),
            symmetric=meta["symmetric"],
            module=meta["module"],
            method=meta["method"],
        )

    def to_xarray(self) -> xarray.Dataset:
        """Named dimensions ``input``, ``input'``, ``output`` (``output'``), and ``parameter`` with the names."""
        payload = self._payload()
        variables = {name: (payload.dims[name], array) for name, array in payload.arrays.items()}
        coords = {"parameter": list(self.by_parameter)} if self.by_parameter else None
        attributes = {"module": self.module, "outputs": self.outputs, "method": self.method}
        return labelled(variables, coords, attributes)


def _array(kernel: Tensor) -> np.ndarray[Any, Any]:
    return kernel.detach().cpu().numpy()
