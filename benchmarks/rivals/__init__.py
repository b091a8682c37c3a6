"""The methods that the transfer benchmark compares, each from its own package, one file a package."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from rivals.method import Method, check, prepare, train_plainly

# File, class, arguments. Imported when asked for, so that one method runs without the other packages.
_WHERE: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "default": ("plain", "Default", ()),
    "he": ("plain", "He", ()),
    "mup-16": ("mup", "Mup", (16,)),
    "mup-64": ("mup", "Mup", (64,)),
    "mup-he-16": ("mup", "Mup", (16, True)),
    "mup-he-64": ("mup", "Mup", (64, True)),
    "anyinit": ("anyinit", "AnyInit", ()),
    "dks": ("dks", "Dks", ()),
    "unit-scaling": ("unit_scaling", "UnitScaling", ()),
    "ours": ("plan", "Ours", ()),
}
#: In the order of the tables.
METHODS = tuple(_WHERE)
RIVALS = METHODS[:-1]


@cache
def method(name: str) -> Method:
    """The method of this name; ``ModuleNotFoundError`` without its package."""
    if name not in _WHERE:
        raise ValueError(f"a method is one of {', '.join(METHODS)}; got {name!r}")
    module, cls, arguments = _WHERE[name]
    return getattr(import_module(f"rivals.{module}"), cls)(*arguments)


__all__ = ["METHODS", "RIVALS", "Method", "check", "method", "prepare", "train_plainly"]
