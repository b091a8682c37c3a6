"""Optional dependencies: each is asked for where it is used, and named where it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

#: What each extra of pyproject.toml is for, in the words of ``repflow doctor``.
PURPOSES = {
    "spins": "exact quantum dynamics of spins, in the experiments spreading and thermalisation",
    "integration": "the trainers and models that docs/train.md and tests/integration run",
    "rivals": "the peers that benchmarks/transfer.py is measured against",
    "gallery": "pictures of the gallery's figures",
    "docs": "building the documentation",
    "notebooks": "running the notebooks",
    "test": "the tests",
    "dev": "linting and type checking",
}


class MissingExtraError(ModuleNotFoundError):
    """An optional dependency that is not installed; the message has the command that installs it."""


def extra(name: str, package: str, purpose: str, submodules: Sequence[str] = ()) -> ModuleType:
    """Import an optional dependency.

    Parameters
    ----------
    name
        Of the extra: ``pip install 'repflow[name]'`` brings it.
    package
        The package to import.
    purpose
        What needs it, as the start of a sentence.
    submodules
        Imported with it.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        for each in (package, *(f"{package}.{submodule}" for submodule in submodules)):
            import_module(each)
        return import_module(package)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed ({error}): pip install 'repflow[{name}]'"
        ) from error
