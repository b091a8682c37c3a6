"""``--config file.yaml``: the options of a command, read from a file.

Values become the defaults of the command, so that they are parsed and checked like words on the command line, which
override them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer


def _as_words(name: str, value: Any) -> Any:
    """A YAML value in the form the option would have on the command line."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and value and all(isinstance(entry, str | int | float) for entry in value):
        return ",".join(str(entry) for entry in value)
    raise ValueError(f"--config: {name} must be a number, a word, true, false, or a list of those, got {value!r}")


def _flags(options: Mapping[str, Any]) -> set[str]:
    return {name for name, option in options.items() if getattr(option, "is_flag", False)}


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Typer callback of ``--config``: make the file's values the defaults of the other options.

    Raises
    ------
    ValueError
        The file is not a YAML mapping, or a key is not an option of the command.
    OSError
        The file cannot be read.
    """
    if path is None or context.resilient_parsing:
        return path
    import yaml

    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config: {path} is not YAML: {error}") from error
    if entries is None:
        entries = {}
    if not isinstance(entries, Mapping):
        raise ValueError(f"--config: {path} must hold 'option: value' lines, got {type(entries).__name__}")
    options = {str(option.name): option for option in context.command.params if option.name not in ("config", "help")}
    spelled = {_spelling(option): name for name, option in options.items()}
    flags = _flags(options)
    defaults: dict[str, Any] = {}
    for key, value in entries.items():
        spelling = str(key).removeprefix("--").replace("_", "-")
        if spelling not in spelled:
            raise ValueError(
                f"--config: {path} has the unknown key {str(key)!r}; known are {', '.join(sorted(spelled))}"
            )
        if value is None:
            continue
        name = spelled[spelling]
        if (name in flags) != isinstance(value, bool):
            wanted = "true or false" if name in flags else "a number or a word, not true or false"
            raise ValueError(f"--config: {key} in {path} must be {wanted}, got {value!r}")
        defaults[name] = _as_words(str(key), value)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _spelling(option: Any) -> str:
    """The name of an option as it is written after ``--``; arguments by their own name."""
    longest = max(option.opts, key=len)
    return str(longest).removeprefix("--").replace("_", "-")


def from_config(context: typer.Context, name: str) -> bool:
    """Whether the value of an option came from the configuration file rather than from the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def was_given(context: typer.Context, name: str) -> bool:
    """Whether an option was given at all, on the command line or in the configuration file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
