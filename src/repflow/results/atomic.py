"""Files and directories that appear in one step: written beside their destination, then moved there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn any failure to write into a one-line OSError that names the path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise OSError(f"path {str(path)!r} cannot be written: {error.strerror or error}") from error


def atomic_write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a UTF-8 text file in one step: readers see the old content or the new, never a part.

    Raises
    ------
    OSError
        The path cannot be written; nothing is left behind.
    """
    path = Path(os.path.realpath(path))  # through a link, so that the link stays one
    if path.is_dir():
        raise OSError(f"path {str(path)!r} cannot be written: it is a directory")
    temporary = _sibling(path)
    with _writing(path):
        try:
            with open(temporary, "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


@contextmanager
def atomic_directory(path: str | os.PathLike[str], replaceable: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Fill a directory beside ``path``, and move it there once the block ends without an error.

    Parameters
    ----------
    path
        Destination. An empty directory is replaced.
    replaceable
        Says of an existing directory that is not empty whether it may be replaced; by default none may.

    Yields
    ------
    Path
        The temporary directory to fill.

    Raises
    ------
    OSError
        The path cannot be written, or something is there that must not be replaced; the temporary directory is removed.
    """
    path = Path(os.path.realpath(path))
    if path.exists():
        if not path.is_dir():
            raise OSError(f"path {str(path)!r} cannot be written as a directory: a file is there")
        if any(path.iterdir()) and not (replaceable is not None and replaceable(path)):
            raise OSError(f"path {str(path)!r} is a directory that repflow did not write; choose another, or empty it")
    temporary = _sibling(path)
    with _writing(path):
        temporary.mkdir()
        try:
            yield temporary
            _swap(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        os.rename(new, path)
        return
    old = _sibling(path)
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
