"""Derivatives of a module's outputs with respect to its parameters, some rows and some outputs at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vjp, vmap

from repflow.empirical.call import Call
from repflow.empirical.twin import Parameters, Twin

#: Rows that are passed together to see whether a row's output depends on itself alone.
_PROBED = 4


class RowJacobians:
    """Derivatives of the outputs of one call, by parameter tensor.

    Each row is passed alone, since the derivative of one row's output is what is asked for: by ``torch.func`` over many
    rows and outputs at once where the module allows it, else row by row and output by output with plain autograd. Both
    are tried on the first output of the first row, and the first way is taken only where they agree.

    Parameters
    ----------
    twin
        Of the module.
    parameters
        All of them by name.
    call
        The data, N rows.
    output
        Picks the output tensor, (rows, ...), from what the forward pass returns.
    names
        Parameters that are looked at.

    Attributes
    ----------
    rows, outputs, output_shape
        N, n_L, and the shape of a row's output, of n_L entries.
    method
        ``"vmap"`` or ``"loop"``.
    row_bytes
        What autograd keeps for one row.

    Raises
    ------
    ValueError
        The output has not one row for a row of x, or a row's output is not the same alone as among others.
    """

    def __init__(
        self,
        twin: Twin,
        parameters: Parameters,
        call: Call,
        output: Callable[[Any], Tensor],
        names: Sequence[str],
    ) -> None:
        self._twin, self._call, self._output = twin, call, output
        self._parameters = {name: tensor.detach() for name, tensor in parameters.items()}
        self.rows = call.rows
        first, alone = self._probe()
        self.output_shape = tuple(first.shape[1:])
        self.outputs = math.prod(self.output_shape)
        self._alone = alone
        self.row_bytes = self._kept()
        self.method = "vmap" if alone and self._vmap_agrees(names) else "loop"

    def block(self, rows: slice, outputs: slice, names: Sequence[str]) -> list[Tensor]:
        """dz_{o;a}/dtheta for these rows a and outputs o, (rows, outputs, *shape of the tensor) for each name."""
        if self.method == "vmap":
            return self._vmapped(rows, outputs, names)
        return self._looped(rows, outputs, names)

    def _forward(self, parameters: Parameters, call: Call) -> Tensor:
        returned = functional_call(self._twin.module, parameters, call.args, call.kwargs)
        return self._output(returned)

    def _probe(self) -> tuple[Tensor, bool]:
        """The first row's output, and whether it can be had alone."""
        few = self._call.select(torch.arange(min(self.rows, _PROBED)))
        with torch.no_grad():
            try:
                first = self._forward(self._parameters, self._call.select(torch.tensor([0])))
                alone = first.ndim > 0 and first.shape[0] == 1
            except Exception:  # a module that does not take a batch of one; what else is wrong shows below
                alone = False
            among = self._forward(self._parameters, few if alone else self._call)
        count = few.rows if alone else self.rows
        if among.ndim == 0 or among.shape[0] != count:
            raise ValueError(
                f"module must return a row of outputs for a row of x, got shape {tuple(among.shape)} for {count} rows"
            )
        if not alone:  # the same row as often as there are rows, in place of it alone
            with torch.no_grad():
                first = self._forward(self._parameters, self._call.select(torch.zeros(self.rows, dtype=torch.long)))[:1]
        scale = float(among.abs().max()) or 1.0
        tolerance = 1e-3 if among.dtype == torch.float32 else 1e-6
        if not bool(((among[:1] - first).abs() <= tolerance * scale).all()):
            raise ValueError(
                "module gives a row another output alone than among other rows: its forward pass is random, or couples "
                "rows, as batch normalisation without running statistics does; the tangent kernel of two rows is then "
                "not defined by these rows alone"
            )
        return first, alone

    def _kept(self) -> int:
        """Bytes that autograd keeps for one row, parameters not counted."""
        held = {tensor.untyped_storage().data_ptr() for tensor in self._parameters.values()}
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in held:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        call = self._call.select(torch.tensor([0])) if self._alone else self._call
        leaves = self._leaves(list(self._parameters))
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self._forward(leaves, call)
        return sum(sizes.values()) // call.rows

    def _leaves(self, names: Sequence[str]) -> Parameters:
        chosen = set(names)
        return {
            name: tensor.clone().requires_grad_() if name in chosen and tensor.is_floating_point() else tensor
            for name, tensor in self._parameters.items()
        }

    def _vmap_agrees(self, names: Sequence[str]) -> bool:
        one = slice(0, 1)
        try:
            fast = self._vmapped(one, one, names)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception:  # whatever a module does that torch.func does not follow
            return False
        slow = self._looped(one, one, names)
        dtype = self._twin.dtype
        tolerance = 1e-3 if dtype == torch.float32 else 1e-6
        return all(
            bool(((a - b).abs() <= tolerance * (b.abs().max() + torch.finfo(dtype).tiny)).all())
            for a, b in zip(fast, slow, strict=True)
        )

    def _vmapped(self, rows: slice, outputs: slice, names: Sequence[str]) -> list[Tensor]:
        entries = [*self._call.args, *self._call.kwargs.values()]
        positional = len(self._call.args)
        cut = [isinstance(entry, Tensor) and entry.ndim > 0 and entry.shape[0] == self.rows for entry in entries]
        held = {name: self._parameters[name] for name in names}
        rest = {name: tensor for name, tensor in self._parameters.items() if name not in held}

        def jacobian(*parts: Tensor) -> tuple[Tensor, ...]:
            given = iter(parts)
            whole = [next(given).unsqueeze(0) if c else entry for c, entry in zip(cut, entries, strict=True)]
            named = dict(zip(self._call.kwargs, whole[positional:], strict=True))
            row = Call(tuple(whole[:positional]), named, 1)

            def function(moving: Parameters) -> Tensor:
                return self._forward({**rest, **moving}, row).reshape(-1)[outputs]

            value, pull = vjp(function, held)[:2]
            (found,) = vmap(pull)(torch.eye(len(value), dtype=value.dtype, device=value.device))
            return tuple(found[name] for name in names)

        return list(vmap(jacobian)(*(entry[rows] for c, entry in zip(cut, entries, strict=True) if c)))

    def _looped(self, rows: slice, outputs: slice, names: Sequence[str]) -> list[Tensor]:
        numbers, picked = range(self.rows)[rows], range(self.outputs)[outputs]
        leaves = self._leaves(names)
        held = [leaves[name] for name in names]
        found = [torch.zeros(len(numbers), len(picked), *tensor.shape).to(tensor) for tensor in held]
        with torch.enable_grad():
            together = None if self._alone else self._forward(leaves, self._call)
            for i, row in enumerate(numbers):
                if together is None:
                    flat = self._forward(leaves, self._call.select(torch.tensor([row]))).reshape(-1)
                else:
                    flat = together[row].reshape(-1)
                if not flat.requires_grad:
                    continue  # no parameter reaches it
                for j, number in enumerate(picked):
                    gradients = torch.autograd.grad(flat[number], held, retain_graph=True, allow_unused=True)
                    for tensor, gradient in zip(found, gradients, strict=True):
                        if gradient is not None:
                            tensor[i, j] = gradient
        return found
