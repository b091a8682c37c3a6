"""The mixin of every result, the registry of schemas, and ``load``."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from repflow.results.atomic import atomic_directory, atomic_write_text
from repflow.results.payload import Payload, checked, jsonable
from repflow.results.stores import FORMAT, is_store, read_json, read_zarr, write_json, write_zarr

if TYPE_CHECKING:
    import xarray


class Result(ABC):
    """Mixin of every result: ``save``, ``to_json`` and ``to_xarray``, from what ``_payload`` returns."""

    _schema: ClassVar[str]
    _schema_version: ClassVar[int]
    _oldest_version: ClassVar[int]

    @abstractmethod
    def _payload(self) -> Payload:
        """This result as plain data."""

    @classmethod
    @abstractmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None) -> Self:
        """The result whose ``_payload`` this is; ``activations`` supplies callables that cannot be imported."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to ``path``: one JSON file if it ends in ``.json``, else a zarr (format 3) directory store.

        Parameters
        ----------
        path
            Missing parent directories are made. An existing file is replaced; an existing directory only if it is empty
            or a store that repflow wrote.

        Returns
        -------
        Path
            Where it was written.

        Raises
        ------
        OSError
            The path cannot be written, or is a directory that is not a repflow store.
        TypeError
            The result holds something that the file formats don't.
        """
        path = Path(path)
        if path.suffix == ".json":
            return atomic_write_text(path, self.to_json())
        header, payload = _header(self), checked(self._payload())
        with atomic_directory(path, replaceable=is_store) as directory:
            write_zarr(directory, header, payload)
        return path

    def to_json(self) -> str:
        """The same text that ``save("....json")`` writes: strict JSON, from which float64 values return bit for bit."""
        return write_json(_header(self), checked(self._payload()))

    @classmethod
    def from_json(cls, text: str, activations: Mapping[str, Any] | None = None) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            The text isn't JSON, holds another kind of result, or was written by a newer repflow.
        """
        result = _rebuild(*read_json(text, "text"), "text", activations)
        if not isinstance(result, cls):
            raise ValueError(f"text holds a result of schema {result._schema!r}, not a {cls.__name__}")
        return result

    def to_xarray(self) -> xarray.Dataset:
        """An ``xarray.Dataset`` of the arrays, with named dimensions; the metadata is an attribute, as JSON text."""
        payload = self._payload()
        variables = {}
        for key, array in payload.arrays.items():
            dims = payload.dims.get(key) or tuple(f"{key}_{axis}" for axis in range(np.ndim(array)))
            variables[key.replace("/", ".")] = (dims, array)
        return labelled(variables, attrs={**_header(self), "meta": json.dumps(jsonable(payload.meta, "meta"))})


R = TypeVar("R", bound=type[Result])
_REGISTRY: dict[str, type[Result]] = {}


def result_schema(name: str, version: int = 1, oldest: int | None = None) -> Callable[[R], R]:
    """Register a result class under the name and version that its files carry.

    Parameters
    ----------
    name
        Schema name, unique among results.
    version
        Raise it whenever the payload changes; a file of another version is refused with a clear message.
    oldest
        The oldest version that can still be read; ``version`` unless given.
    """

    def register(cls: R) -> R:
        known = _REGISTRY.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"schema {name!r} is registered by {known.__module__}.{known.__qualname__} already")
        cls._schema, cls._schema_version = name, version
        cls._oldest_version = version if oldest is None else oldest
        _REGISTRY[name] = cls
        return cls

    return register


def load(path: str | os.PathLike[str], activations: Mapping[str, Any] | None = None) -> Result:
    """Read any result that ``save`` wrote.

    Parameters
    ----------
    path
        A JSON file or a zarr directory store.
    activations
        Callables by the name under which they were saved, for those that no import path reaches (a lambda).

    Returns
    -------
    Result
        Of the class that was saved.

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    OSError
        It cannot be read.
    ValueError
        It isn't a repflow result, is damaged, or has another schema version than this repflow reads.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"path {str(path)!r}: no such file or directory")
    what = f"path {str(path)!r}"
    if path.is_dir():
        header, payload = read_zarr(path, what)
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{what} is not a repflow result: it is not UTF-8 text") from error
        except OSError as error:
            raise OSError(f"{what} cannot be read: {error.strerror or error}") from error
        header, payload = read_json(text, what)
    return _rebuild(header, payload, what, activations)


def labelled(
    variables: Mapping[str, tuple[Sequence[str], NDArray[Any]]],
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xarray.Dataset:
    """An ``xarray.Dataset`` from arrays with named axes.

    Parameters
    ----------
    variables
        ``name: (names of the axes, array)``. An axis name that occurs again in one variable, as in a kernel over pairs
        of inputs, gets a prime for each repetition: ``("input", "input")`` becomes ``("input", "input'")``.
    coords, attrs
        As ``xarray.Dataset`` takes them.
    """
    import xarray

    data = {}
    for name, (dims, array) in variables.items():
        unique: list[str] = []
        for dim in dims:
            while dim in unique:
                dim += "'"
            unique.append(dim)
        values = np.asarray(array)
        if len(unique) != values.ndim:
            raise ValueError(f"variables: {name!r} has {values.ndim} axes but {len(unique)} axis names {tuple(dims)}")
        data[name] = (tuple(unique), values)
    return xarray.Dataset(data, coords=coords, attrs=attrs)


def _header(result: Result) -> dict[str, Any]:
    cls = type(result)
    if not hasattr(cls, "_schema"):
        raise TypeError(f"{cls.__name__} has no schema; decorate the class with @result_schema(name, version)")
    registered = _REGISTRY[cls._schema]
    return {
        "format": FORMAT,
        "schema": cls._schema,
        "version": cls._schema_version,
        "module": registered.__module__,
    }


def _rebuild(header: Mapping[str, Any], payload: Payload, what: str, activations: Mapping[str, Any] | None) -> Result:
    schema, version, module = header.get("schema"), header.get("version"), str(header.get("module", ""))
    if schema not in _REGISTRY and module.startswith(f"{FORMAT}."):
        # The room that defines the class may not have been imported yet. No other package is imported on a file's word.
        with suppress(ImportError):
            import_module(module)
    cls = _REGISTRY.get(str(schema))
    if cls is None:
        raise ValueError(f"{what} has the schema {schema!r}, which this repflow doesn't know")
    if not isinstance(version, int) or not cls._oldest_version <= version <= cls._schema_version:
        newer = isinstance(version, int) and version > cls._schema_version
        by = "a newer repflow wrote it; upgrade" if newer else "it cannot be read any more; compute it again"
        raise ValueError(
            f"{what} has version {version} of schema {schema!r}, this repflow reads {cls._schema_version}: {by}"
        )
    try:
        return cls._from_payload(payload, activations)
    except (KeyError, IndexError) as error:
        raise ValueError(f"{what} is damaged: {schema!r} lacks {error}") from error
