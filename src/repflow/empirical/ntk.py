"""``empirical_ntk``: the tangent kernel of one module as it is, on the user's inputs.

    Theta_{oo';ab} = sum_t lambda_t sum_{theta in t} (dz_{o;a} / dtheta) (dz_{o';b} / dtheta)

over parameter tensors t, inputs a, b and outputs o, o'. The Jacobian is never held whole: it is made for as many
outputs and as many entries of the parameters at a time as the budget of memory allows, for all inputs, and contracted.
So the number of passes grows with the size of the Jacobian, not with its square, as it would in blocks of inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from repflow.blocks import progress_bar
from repflow.empirical.call import Call, as_call, output_of
from repflow.empirical.jacobian import RowJacobians
from repflow.empirical.ntk_result import OUTPUTS, EmpiricalNTK
from repflow.empirical.twin import Twin
from repflow.isolation import random_state_kept

#: Bytes of the budget where none is given: at most this, and at most a quarter of what is free. More is slower, since
#: fresh memory costs more than another pass.
_MEMORY = 1 << 28


@dataclass(frozen=True)
class _Piece:
    """Entries ``begin`` to ``end`` of a flattened parameter tensor."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True)
class _Pass:
    """What one pass over all rows makes: these outputs' derivatives with respect to these entries."""

    outputs: slice
    pieces: tuple[_Piece, ...]


def empirical_ntk(
    module: nn.Module,
    x: Any,
    x2: Any = None,
    *,
    outputs: str = "trace",
    learning_rates: Mapping[str, float] | None = None,
    by_parameter: bool = True,
    output: Callable[[Any], Tensor] | None = None,
    memory: int | None = None,
    dtype: torch.dtype | None = None,
    progress: bool | None = None,
) -> EmpiricalNTK:
    """The neural tangent kernel of a module with the parameters that it has, on inputs x, or between x and x2.

    Any ``nn.Module`` whose output for an input depends on that input alone. It runs in evaluation mode on a copy: no
    dropout, batch normalisation with its running statistics (in training mode it would couple the inputs). The module
    stays as it is, to the bit: values, gradients, buffers, flags, hooks, and the random number generators. Parameters
    that need no gradient don't count; tied ones count once.

    Parameters
    ----------
    module
        Of any kind, with parameters that require a gradient.
    x
        Inputs: a tensor or array (N, ...), a tuple of arguments, or a dictionary of keywords, whose entries may be
        None. Every tensor with N rows in front is cut into rows, everything else is passed whole.
    x2
        Other inputs, N2 of them; None: x.
    outputs
        What is kept of the outputs, n_L of them to an input:

        ============== ===================== ==========================================================
        ``"trace"``    (N, N2)               mean over outputs, tr_o Theta_{oo;ab} / n_L, which is the
                                             infinite-width kernel where that is diagonal in o
        ``"diagonal"`` (N, N2, *O)           Theta_{oo;ab}, O the shape of one input's output
        ``"full"``     (N, N2, *O, *O)       Theta_{oo';ab}
        ============== ===================== ==========================================================
    learning_rates
        lambda of parameter tensors by name (``module.named_parameters()``); 1 where none is given. For a layer in NTK
        parametrisation, lambda_W / n_in for the weights and lambda_b for the biases.
    by_parameter
        Whether the contribution of each parameter tensor is kept too.
    output
        What counts as the output: a function of what the module returns, that gives (N, ...). None takes a tensor as
        it is, of a dictionary, dataclass or tuple the logits, or else the first floating tensor.
    memory
        Bytes, about, for derivatives and for what autograd keeps. Speed only: with less, there are more passes. None:
        a quarter of what is free, at most 256 MiB. The kernels that are returned come on top.
    dtype
        ``torch.float32`` or ``torch.float64``; None: the module's, narrower ones widened to float32.
    progress
        Whether to show a progress bar on stderr; None shows one where stderr is a terminal.

    Returns
    -------
    EmpiricalNTK
        ``.kernel``, ``.by_parameter``; tensors on the module's device.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, nothing in the module learns, or its rows influence each other.
    MemoryError
        The kernels would not fit in memory.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be an nn.Module, got {type(module).__name__}")
    if not isinstance(outputs, str) or outputs not in OUTPUTS:
        raise ValueError(f"outputs must be one of {', '.join(map(repr, OUTPUTS))}, got {outputs!r}")
    if output is not None and not callable(output):
        raise TypeError(f"output must be a function of what the module returns, got {type(output).__name__}")
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int) or memory < 1):
        raise ValueError(f"memory must be a positive number of bytes, got {memory!r}")
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32, torch.float64 or None, got {dtype!r}")
    with random_state_kept():
        twin = Twin(module)
        if dtype is not None:
            _convert(twin, dtype)
        names = [n for n, p in twin.parameters.items() if n in twin.learns and p.is_floating_point()]
        if other := [n for n, p in twin.parameters.items() if n in twin.learns and not p.is_floating_point()]:
            raise ValueError(f"module has the parameter {other[0]!r} of {twin.parameters[other[0]].dtype}, not real")
        if not names:
            raise ValueError(f"module {type(module).__name__} has no parameter that requires a gradient")
        rates = _checked_rates(learning_rates, names, list(twin.parameters))
        pick = output_of if output is None else output
        sides = [_side(twin, x, pick, names, "x")]
        if x2 is not None:
            sides.append(_side(twin, x2, pick, names, "x2"))
        if len(sides) == 2 and sides[0].output_shape != sides[1].output_shape:
            raise ValueError(
                f"x2 must give outputs of the shape that x gives, {sides[0].output_shape}, got {sides[1].output_shape}"
            )
        computation = _Computation(sides, twin, names, outputs, memory)
        contributions = computation.run(by_parameter, rates, progress)
    kernel = contributions.pop("")
    return EmpiricalNTK(
        kernel=kernel,
        by_parameter=contributions,
        outputs=outputs,
        output_shape=sides[0].output_shape,
        shapes={name: tuple(twin.parameters[name].shape) for name in names},
        learning_rates=rates,
        symmetric=x2 is None,
        module=type(module).__name__,
        method="vmap" if all(side.method == "vmap" for side in sides) else "loop",
    )


def _convert(twin: Twin, dtype: torch.dtype) -> None:
    """Parameters and buffers of the copy in another number format."""
    twin.dtype = dtype
    twin.parameters = {n: p.to(dtype) if p.is_floating_point() else p for n, p in twin.parameters.items()}
    for part in twin.module.modules():
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                part._buffers[name] = buffer.to(dtype)


def _checked_rates(
    given: Mapping[str, float] | None, names: Sequence[str], all_names: Sequence[str]
) -> dict[str, float]:
    """One rate for each of ``names``."""
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"learning_rates must be a dictionary of parameter names, got {type(given).__name__}")
    rates = dict.fromkeys(names, 1.0)
    for name, value in (given or {}).items():
        if name not in rates:
            why = "does not require a gradient" if name in all_names else "is no parameter of the module"
            raise ValueError(f"learning_rates: {name!r} {why}; those that learn are {', '.join(map(repr, names))}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ValueError(f"learning_rates[{name!r}] must be a number of 0 or more, got {value!r}")
        rates[name] = float(value)
    return rates


def _side(twin: Twin, x: Any, output: Callable[[Any], Tensor], names: Sequence[str], label: str) -> RowJacobians:
    """The Jacobian of one set of inputs, nothing computed yet but one row."""
    try:
        call = as_call(x).cast(twin.dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("x ", f"{label} ", 1)) from None
    devices = {parameter.device for parameter in twin.parameters.values()}
    if len(devices) == 1:
        device = devices.pop()

        def move(entry: Any) -> Any:
            return entry.to(device) if isinstance(entry, Tensor) else entry

        call = Call(tuple(map(move, call.args)), {name: move(entry) for name, entry in call.kwargs.items()}, call.rows)
    return RowJacobians(twin, twin.parameters, call, output, names)


class _Computation:
    """The passes, and what one of them adds."""

    def __init__(
        self, sides: Sequence[RowJacobians], twin: Twin, names: Sequence[str], outputs: str, memory: int | None
    ) -> None:
        self.sides, self.outputs = sides, outputs
        self.sizes = {name: twin.parameters[name].numel() for name in names}
        self.like = twin.parameters[names[0]].new_empty(0, dtype=twin.dtype)
        if memory is None:
            free = (
                torch.cuda.mem_get_info(self.like.device)[0] if self.like.is_cuda else psutil.virtual_memory().available
            )
            memory = min(_MEMORY, free // 4)
        self.memory = memory
        self.item = self.like.element_size()
        self.n_outputs = sides[0].outputs
        self.passes = self._passes()

    def _passes(self) -> list[_Pass]:
        """Outputs first: another pass over outputs repeats the forward pass only. One over parameters repeats part of
        the backward pass too, and for ``"full"`` all outputs must be together.
        """
        entries = max(1, self.memory // 2 // self.item // sum(side.rows for side in self.sides))
        together = self.n_outputs
        if self.outputs != "full":
            together = min(self.n_outputs, max(1, entries // sum(self.sizes.values())))
        room = max(1, entries // together)
        groups: list[list[_Piece]] = [[]]
        left = room
        for name, size in self.sizes.items():
            begin = 0
            while begin < size:
                if left == 0 or (size - begin > left and size - begin <= room):
                    groups.append([])  # a tensor that fits into one pass is not torn
                    left = room
                end = min(size, begin + left)
                groups[-1].append(_Piece(name, begin, end))
                left -= end - begin
                begin = end
        spans = [slice(low, min(low + together, self.n_outputs)) for low in range(0, self.n_outputs, together)]
        return [_Pass(span, tuple(group)) for span in spans for group in groups if group]

    def run(self, by_parameter: bool, rates: Mapping[str, float], progress: bool | None) -> dict[str, Tensor]:
        """The kernel under "", and each tensor's contribution by name."""
        rows, columns = self.sides[0].rows, self.sides[-1].rows
        shape = self.sides[0].output_shape
        powers = {"trace": 0, "diagonal": 1, "full": 2}[self.outputs]
        size = self.n_outputs**powers
        names = list(self.sizes) if by_parameter else [""]
        self._require(rows * columns * size, len(names))
        totals = {name: self.like.new_zeros(rows, columns, *[self.n_outputs] * powers) for name in names}
        work = len(self.passes) * sum(side.rows for side in self.sides)
        with progress_bar(progress, "rows of the Jacobian", work) as told:
            done = 0
            for one in self.passes:
                blocks = []
                for side in self.sides:
                    blocks.append(self._fill(side, one, told, done))
                    done += side.rows
                for number, piece in enumerate(one.pieces):
                    part = self._contract(blocks[0][number], blocks[-1][number]) * rates[piece.name]
                    target = totals[piece.name if by_parameter else ""]
                    if self.outputs == "diagonal":
                        target[:, :, one.outputs] += part
                    else:
                        target += part
        for name, total in totals.items():
            if len(self.sides) == 1:
                total = _symmetrised(total)
            totals[name] = total.reshape(rows, columns, *shape * powers)
        if by_parameter:
            kernel = torch.zeros_like(next(iter(totals.values())))
            for total in totals.values():
                kernel += total
            totals[""] = kernel
        return totals

    def _require(self, numbers: int, kernels: int) -> None:
        needed = numbers * self.item * (kernels + 2)
        if self.like.is_cpu and needed > (free := psutil.virtual_memory().available):
            raise MemoryError(
                f"outputs={self.outputs!r} of {self.n_outputs} outputs takes {needed} bytes for {kernels} kernels, "
                f"{free} are free; take fewer inputs, outputs='trace' or 'diagonal', or by_parameter=False"
            )

    def _fill(self, side: RowJacobians, one: _Pass, told: Callable[[int], None], done: int) -> list[Tensor]:
        """Derivatives of all rows, (rows, outputs, entries) for each piece."""
        low, high = one.outputs.start, one.outputs.stop
        names = list(dict.fromkeys(piece.name for piece in one.pieces))
        blocks = [self.like.new_empty(side.rows, high - low, piece.end - piece.begin) for piece in one.pieces]
        gradient = self.item * sum(self.sizes[name] for name in names) + side.row_bytes
        budget = self.memory // 4  # half is the block's; the backward pass holds a part of each derivative twice
        many = min(high - low, max(1, (budget - side.row_bytes) // gradient))
        rows = min(side.rows, max(1, budget // (side.row_bytes + many * gradient)))
        for begin in range(0, side.rows, rows):
            here = slice(begin, min(begin + rows, side.rows))
            for first in range(low, high, many):
                last = min(first + many, high)
                found = dict(zip(names, side.block(here, slice(first, last), names), strict=True))
                for block, piece in zip(blocks, one.pieces, strict=True):
                    block[here, first - low : last - low] = found[piece.name].flatten(2)[..., piece.begin : piece.end]
            told(done + here.stop)
        return blocks

    def _contract(self, a: Tensor, b: Tensor) -> Tensor:
        """(rows, outputs, entries) twice to (rows, columns), (rows, columns, o) or (rows, columns, o, o')."""
        if self.outputs == "trace":
            return a.flatten(1) @ b.flatten(1).T / self.n_outputs
        if self.outputs == "diagonal":
            return (a.transpose(0, 1) @ b.permute(1, 2, 0)).permute(1, 2, 0)
        product = a.flatten(0, 1) @ b.flatten(0, 1).T
        return product.reshape(len(a), a.shape[1], len(b), b.shape[1]).transpose(1, 2)


def _symmetrised(kernel: Tensor) -> Tensor:
    """Equal to the bit under the exchange of inputs, with their outputs where there are two."""
    other = kernel.transpose(0, 1)
    return (kernel + (other.transpose(2, 3) if kernel.ndim == 4 else other)) / 2
