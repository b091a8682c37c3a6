"""A result as plain data: what a file can hold, checked before anything is written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = frozenset(
    ["bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]
)
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*(/[A-Za-z0-9][A-Za-z0-9_.\-]*)*")
# JSON has no names for these three; an array's entries are strings, a number in the metadata is {"$float": name}.
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass
class Payload:
    """What a result consists of once it is plain data.

    Attributes
    ----------
    arrays
        NumPy arrays (bool, integer, float32 or float64) by name; a "/" in a name makes a group: ``"layer_1/kernel"``.
    meta
        Anything JSON can hold, and NaN and infinities: None, bool, int, float, str, lists, dictionaries with str keys.
    dims
        Names of the axes of some or all arrays, by the same names; :meth:`Result.to_xarray` uses them, files keep them.
    """

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any] = field(default_factory=dict)
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)


def checked(payload: Payload) -> Payload:
    """The payload in the form that goes into a file, or an error that names what cannot."""
    arrays = {}
    for key, value in payload.arrays.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"arrays: the name {key!r} is not made of letters, digits, '_', '.', '-' and single '/'")
        array = np.asarray(value)
        if array.dtype.name not in DTYPES:
            raise TypeError(f"arrays[{key!r}] has dtype {array.dtype}; accepted are {', '.join(sorted(DTYPES))}")
        arrays[key] = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape)
    for key in arrays:
        parts = key.split("/")
        for count in range(1, len(parts)):
            if "/".join(parts[:count]) in arrays:
                raise ValueError(f"arrays: {'/'.join(parts[:count])!r} is an array and cannot be the group of {key!r}")
    dims = {}
    for key, names in payload.dims.items():
        if key not in arrays or len(names) != arrays[key].ndim:
            raise ValueError(f"dims[{key!r}] = {tuple(names)} does not name the axes of an array of the payload")
        dims[key] = tuple(str(name) for name in names)
    return Payload(arrays, jsonable(payload.meta, "meta"), dims)


def jsonable(value: Any, where: str) -> Any:
    """``value`` in JSON's own types; NumPy scalars are unpacked and non-finite numbers are wrapped."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": _float_name(value)}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}; keys must be strings")
            if key == "$float":
                raise ValueError(f"{where} has the key '$float', which marks non-finite numbers in files")
        return {key: jsonable(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(
        f"{where} is a {type(value).__name__}, which a result file cannot hold; arrays go into Payload.arrays"
    )


def from_jsonable(value: Any) -> Any:
    """What :func:`jsonable` was given, tuples as lists."""
    if isinstance(value, dict):
        if value.keys() == {"$float"}:
            return NON_FINITE[value["$float"]]
        return {key: from_jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_jsonable(item) for item in value]
    return value


def _float_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def flat_list(array: NDArray[Any]) -> list[Any]:
    """The entries in C order; those that are not finite as strings, since JSON has no numbers for them."""
    values: list[Any] = array.reshape(-1).tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [value if math.isfinite(value) else _float_name(value) for value in values]
    return values
