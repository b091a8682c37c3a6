"""The two file formats of a payload: one JSON text, or a zarr (format 3) directory store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.results.payload import DTYPES, NON_FINITE, Payload, flat_list, from_jsonable

FORMAT = "repflow"


def write_json(header: Mapping[str, Any], payload: Payload) -> str:
    """One strict JSON text of a checked payload."""
    arrays = {}
    for key, array in payload.arrays.items():
        arrays[key] = {"dtype": array.dtype.name, "shape": list(array.shape), "data": flat_list(array)}
        if key in payload.dims:
            arrays[key]["dims"] = list(payload.dims[key])
    return json.dumps({**header, "meta": payload.meta, "arrays": arrays}, allow_nan=False) + "\n"


def read_json(text: str, what: str) -> tuple[dict[str, Any], Payload]:
    """Header and payload of a JSON text; ``what`` names it in errors."""
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{what} is not a repflow result: not valid JSON ({error})") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f'{what} is not a repflow result: it is JSON without "format": "{FORMAT}"')
    try:
        arrays, dims = {}, {}
        for key, entry in data["arrays"].items():
            arrays[key] = _array(entry["data"], entry["dtype"], tuple(entry["shape"]))
            if "dims" in entry:
                dims[key] = tuple(entry["dims"])
        return data, Payload(arrays, from_jsonable(data["meta"]), dims)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{what} is damaged: {type(error).__name__}: {error}") from error


def _array(values: list[Any], dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}")
    if any(isinstance(value, str) for value in values):
        values = [NON_FINITE[value] if isinstance(value, str) else value for value in values]
    return np.array(values, dtype=dtype).reshape(shape)


def write_zarr(directory: Path, header: Mapping[str, Any], payload: Payload) -> None:
    """Write a checked payload into an empty directory."""
    import zarr

    group = zarr.open_group(store=str(directory), mode="a", zarr_format=3)
    for key, array in payload.arrays.items():
        # Chunks equal to the fill value are written too: -0.0 equals it, and a chunk that is lost is then noticed.
        target = group.create_array(
            key,
            shape=array.shape,
            dtype=array.dtype,
            dimension_names=payload.dims.get(key),
            config={"write_empty_chunks": True},
        )
        if array.size:
            target[...] = array
    # The attributes come last: they are what makes the directory a result.
    group.attrs.update({**header, "meta": payload.meta, "arrays": list(payload.arrays)})


def read_zarr(path: Path, what: str) -> tuple[dict[str, Any], Payload]:
    """Header and payload of a directory store; ``what`` names it in errors."""
    if not is_store(path):
        raise ValueError(f"{what} is a directory, but not a repflow result")
    import zarr
    from zarr.core.metadata import ArrayV3Metadata

    try:
        group = zarr.open_group(store=str(path), mode="r", zarr_format=3, use_consolidated=False)
        attributes: dict[str, Any] = dict(group.attrs)
        arrays: dict[str, NDArray[Any]] = {}
        dims: dict[str, tuple[str, ...]] = {}
        for key in attributes["arrays"]:
            stored = group[key]
            if not isinstance(stored, zarr.Array):
                raise ValueError(f"{key!r} is a group")
            if stored.size and stored.nchunks_initialized != stored.nchunks:
                raise ValueError(f"chunks of {key!r} are missing")
            arrays[key] = np.asarray(stored[...])
            names = stored.metadata.dimension_names if isinstance(stored.metadata, ArrayV3Metadata) else None
            if names is not None:
                dims[key] = tuple(str(name) for name in names)
        return attributes, Payload(arrays, from_jsonable(attributes["meta"]), dims)
    except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
        raise ValueError(f"{what} is damaged: {type(error).__name__}: {error}") from error


def is_store(path: Path) -> bool:
    """Whether a directory is a store that repflow wrote."""
    try:
        with open(path / "zarr.json", encoding="utf-8") as file:
            attributes = json.load(file).get("attributes", {})
        return isinstance(attributes, dict) and attributes.get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False
