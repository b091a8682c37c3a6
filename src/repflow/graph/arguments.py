"""What a module is called with and what it returns: tensors inside tuples, lists, dictionaries and dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """The tensors in a nest of tuples, lists, dictionaries, slices and dataclasses, each once, in order."""
    seen: set[int] = set()
    stack = [tree]
    while stack:
        entry = stack.pop()
        if isinstance(entry, Tensor):
            if id(entry) not in seen:
                seen.add(id(entry))
                yield entry
        elif isinstance(entry, Mapping):
            stack.extend(reversed(list(entry.values())))
        elif isinstance(entry, (tuple, list)):
            stack.extend(reversed(entry))
        elif isinstance(entry, slice):
            stack.extend((entry.step, entry.stop, entry.start))
        elif dataclasses.is_dataclass(entry) and not isinstance(entry, type):
            stack.extend(reversed([getattr(entry, f.name) for f in dataclasses.fields(entry)]))


def map_tensors(tree: Any, function: Callable[[Tensor], Any]) -> Any:
    """The same nest with each tensor replaced; dataclasses are left as they are."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_tensors(value, function) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_tensors(value, function) for value in tree) if type(tree) in (tuple, list) else tuple(
            map_tensors(value, function) for value in tree
        )  # fmt: skip
    if isinstance(tree, slice):
        return slice(*(map_tensors(part, function) for part in (tree.start, tree.stop, tree.step)))
    return tree


@dataclass(frozen=True)
class Arguments:
    """Positional and keyword arguments of a forward pass."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Each tensor with a name: of the keyword, or ``x`` and ``x.1`` by position."""
        for number, entry in enumerate(self.args):
            for inner, tensor in enumerate(tensors_in(entry)):
                name = "x" if len(self.args) == 1 else f"x.{number}"
                yield (name if inner == 0 else f"{name}.{inner}"), tensor
        for key, entry in self.kwargs.items():
            for inner, tensor in enumerate(tensors_in(entry)):
                yield (key if inner == 0 else f"{key}.{inner}"), tensor

    def moved(self, device: torch.device | None) -> Arguments:
        """The same on another device."""
        if device is None:
            return self
        args, kwargs = map_tensors((self.args, self.kwargs), lambda tensor: tensor.to(device))
        return Arguments(args, kwargs)


def as_arguments(x: Any, dtype: torch.dtype | None = None, name: str = "x") -> Arguments:
    """Arguments from what a user gives: a tensor or array, a tuple (arguments) or a dictionary (keywords).

    Parameters
    ----------
    x
        Entries may be None, numbers, integer tensors, or nests.
    dtype
        Of the module's parameters: float64 arrays, and tensors of another floating type, are converted to it.
    name
        Of the argument, for messages.

    Raises
    ------
    TypeError, ValueError
        ``x`` is none of these, or holds no tensor, an empty one, or a NaN or an infinity.
    """
    given = x if isinstance(x, (tuple, dict)) else (x,)
    if isinstance(given, dict) and not all(isinstance(key, str) for key in given):
        raise TypeError(f"{name} is a dictionary of keywords: its keys must be strings")

    def converted(entry: Any) -> Any:
        if hasattr(entry, "__array__") and not isinstance(entry, Tensor):
            try:
                entry = torch.as_tensor(entry)
            except (TypeError, ValueError, RuntimeError):
                raise TypeError(f"{name} must hold tensors or arrays of numbers, got {type(entry).__name__}") from None
        if isinstance(entry, Tensor):
            entry = entry.detach()
            if entry.is_floating_point() and dtype is not None:
                entry = entry.to(dtype)
            if entry.is_floating_point() and not entry.is_meta and not bool(torch.isfinite(entry).all()):
                raise ValueError(f"{name} must be finite, and has a NaN or an infinity")
            return entry.clone()  # a forward pass may write to it
        if isinstance(entry, dict):
            return {key: converted(value) for key, value in entry.items()}
        if type(entry) in (tuple, list):
            return type(entry)(converted(value) for value in entry)
        return entry

    moved = converted(given)
    if not isinstance(x, (tuple, dict)) and not isinstance(moved[0], Tensor):
        raise TypeError(
            f"{name} must be a tensor or array, a tuple of arguments or a dictionary of keywords, "
            f"got {type(x).__name__}"
        )
    found = list(tensors_in(moved))
    if not found:
        raise ValueError(f"{name} must hold at least one tensor")
    if any(not tensor.numel() for tensor in found):
        raise ValueError(f"{name} holds an empty tensor")
    return Arguments((), moved) if isinstance(moved, dict) else Arguments(tuple(moved), {})
