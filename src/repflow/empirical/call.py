"""The data that a module is measured on: a call with its arguments, cut into rows, and what counts as its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Fields of a dictionary or a dataclass that hold the output, in order of preference.
OUTPUT_NAMES = ("logits", "prediction_logits", "last_hidden_state", "output", "outputs", "out")


@dataclass(frozen=True)
class Call:
    """Arguments of a module's forward pass.

    Attributes
    ----------
    args, kwargs
        As the module takes them.
    rows
        N, the length of the first axis of the first tensor that has one: the batch.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rows: int

    def select(self, index: Tensor) -> Call:
        """The call with these rows; what has no axis of N rows in front is passed whole."""

        def cut(entry: Any) -> Any:
            if isinstance(entry, Tensor) and entry.ndim and entry.shape[0] == self.rows:
                return entry[index.to(entry.device)]
            return entry

        return Call(
            tuple(map(cut, self.args)), {name: cut(entry) for name, entry in self.kwargs.items()}, int(index.numel())
        )

    def evenly(self, count: int) -> tuple[Call, Tensor]:
        """At most ``count`` rows, evenly spaced, and their indices."""
        index = torch.linspace(0, self.rows - 1, min(self.rows, count), dtype=torch.float64).round().long()
        return self.select(index), index

    def cast(self, dtype: torch.dtype) -> Call:
        """Floating tensors in another number format."""

        def turn(entry: Any) -> Any:
            return entry.to(dtype) if isinstance(entry, Tensor) and entry.is_floating_point() else entry

        return Call(tuple(map(turn, self.args)), {k: turn(v) for k, v in self.kwargs.items()}, self.rows)


def as_call(x: Any) -> Call:
    """A call from a tensor or array, a tuple of arguments or a mapping of keywords, whose entries may be None.

    Raises
    ------
    TypeError
        It is none of these.
    ValueError
        It holds no tensor with rows, or a value that is not finite.
    """
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(x, Mapping):
        kwargs = {str(name): _detached(entry) for name, entry in x.items()}
    elif isinstance(x, tuple):
        args = tuple(map(_detached, x))
    else:
        entry = _as_tensor(x)
        if entry.ndim < 1 or not entry.numel():
            raise ValueError(f"x must be a batch with at least one row, got shape {tuple(entry.shape)}")
        args = (entry,)
    tensors = [entry for entry in (*args, *kwargs.values()) if isinstance(entry, Tensor)]
    batched = [entry for entry in tensors if entry.ndim and entry.numel()]
    if not batched:
        raise ValueError(f"x must hold a tensor with at least one row, got {_described(x)}")
    for entry in tensors:
        if entry.is_floating_point() and not bool(torch.isfinite(entry).all()):
            raise ValueError("x must be finite; it has a NaN or an infinity")
    return Call(args, kwargs, int(batched[0].shape[0]))


def output_of(returned: Any) -> Tensor:
    """The output among what a forward pass returned, by one rule.

    A floating tensor is itself. Of a mapping or a dataclass (the models of ``transformers`` return both in one), the
    first of the fields logits, prediction_logits, last_hidden_state, output, outputs, out that holds a floating tensor;
    otherwise, and of a tuple or list, the first floating tensor in order, looked for depth first. A scalar (a loss) is
    taken only if there is nothing else.

    Raises
    ------
    TypeError
        There is no floating tensor.
    """
    found = list(_floating(returned))
    if not found:
        raise TypeError(f"model must return a floating tensor, or something that holds one, got {_described(returned)}")
    return next((tensor for tensor in found if tensor.ndim > 0), found[0])


def first_tensor(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The first floating tensor among a call's arguments, or the first of any kind."""
    tensors = [entry for entry in (*args, *kwargs.values()) if isinstance(entry, Tensor)]
    return next((t for t in tensors if t.is_floating_point()), tensors[0] if tensors else None)


def _floating(value: Any, depth: int = 0) -> Any:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
        return
    if depth > 4:
        return
    if isinstance(value, Mapping):
        fields = dict(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, (tuple, list)):
        fields = dict(enumerate(value))
    else:
        return
    preferred = [name for name in OUTPUT_NAMES if name in fields]
    for name in (*preferred, *(name for name in fields if name not in preferred)):
        yield from _floating(fields[name], depth + 1)


def _as_tensor(x: Any) -> Tensor:
    try:
        return x.detach() if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"x must be a tensor, an array, a tuple of arguments or a dictionary of keywords, got {type(x).__name__}"
        ) from None


def _detached(entry: Any) -> Any:
    if isinstance(entry, Tensor):
        return entry.detach()
    if isinstance(entry, np.ndarray):
        return _as_tensor(entry)
    return entry


def _described(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of " + (", ".join(type(entry).__name__ for entry in value) or "nothing")
    if isinstance(value, Mapping):
        held = ", ".join(f"{key}: {type(entry).__name__}" for key, entry in value.items())
        return f"a {type(value).__name__} of {held or 'nothing'}"
    return type(value).__name__
