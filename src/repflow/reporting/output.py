"""What writing needs beside the atomic files of :mod:`repflow.results`: a check before the work, and strict JSON."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def check_directory(path: str | os.PathLike[str], name: str = "out") -> Path:
    """Whether files can be written into a directory that may not exist yet; nothing is left behind.

    Parameters
    ----------
    path
        The directory.
    name
        Name of the argument, for the message.

    Raises
    ------
    OSError
        It is a file, or it (or the nearest directory above it that exists) cannot be written.
    """
    directory = Path(path)
    if "\0" in str(directory):
        raise OSError(f"{name} {str(directory)!r} is not a path: it holds a null byte")
    existing = directory
    try:
        while not existing.exists():
            if existing == existing.parent:
                break
            existing = existing.parent
        if not existing.is_dir():
            raise OSError(f"{name} {str(directory)!r} cannot be written: {str(existing)!r} is not a directory")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(f"{name} {str(directory)!r} cannot be written: {error.strerror}") from error
    return directory


def finite(value: Any) -> Any:
    """JSON's own types: arrays and NumPy scalars unpacked, numbers that are not finite as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value
