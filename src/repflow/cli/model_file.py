"""``path/to/model.py:make_model``: a person's own model, from a file that they wrote."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def load_model(spec: str) -> nn.Module:
    """The module that a function of a Python file returns.

    The file is run as a module of its own name, with its directory importable, as if Python had been started beside it.
    What it prints goes to stderr.

    Parameters
    ----------
    spec
        ``FILE.py:NAME``, NAME a function without arguments or the module itself.

    Raises
    ------
    ValueError, TypeError, OSError
        There is no such file or name, the file or the function raises (the message has what), or what comes out is no
        ``nn.Module``.
    """
    file, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier():
        raise ValueError(f"model must be FILE.py:FUNCTION, got {spec!r}")
    path = Path(file)
    if not path.is_file():
        meant = f"; did you mean '{path}.py:{name}'?" if Path(f"{file}.py").is_file() else ""
        raise OSError(f"model: {file!r}: no such file{meant}")
    if path.suffix != ".py":
        raise ValueError(f"model: {file!r} is no Python file (.py)")
    with contextlib.redirect_stdout(sys.stderr):
        found = _named(_run(path), name, path)
        model = found if _is_module(found) else _called(found, name, path)
    if not _is_module(model):
        raise TypeError(f"model: {name}() of {path.name} must return an nn.Module, got {type(model).__name__}")
    return model


def _run(path: Path) -> ModuleType:
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"repflow_model_{path.stem}"
    made = importlib.util.spec_from_file_location(name, path)
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    # Kept there: classes and functions of the file are looked up by the module's name later.
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        made.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        del sys.modules[name]
        raise ValueError(f"model: {path.name} cannot be run: {_what(error)}") from error
    return module


def _named(module: ModuleType, name: str, path: Path) -> Any:
    if not hasattr(module, name):
        made_here = [
            key for key, value in vars(module).items() if callable(value) and value.__module__ == module.__name__
        ]
        known = f"; it has {', '.join(made_here)}" if made_here else ""
        raise ValueError(f"model: {path.name} has no function {name!r}{known}")
    return getattr(module, name)


def _called(found: Any, name: str, path: Path) -> Any:
    if not callable(found):
        raise TypeError(f"model: {name!r} of {path.name} is no function, but {type(found).__name__}")
    try:
        return found()
    except (Exception, SystemExit) as error:
        raise ValueError(f"model: {name}() of {path.name} raises {_what(error)}") from error


def _is_module(value: Any) -> bool:
    from torch import nn

    return isinstance(value, nn.Module)


def _what(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
