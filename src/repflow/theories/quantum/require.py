"""QuSpin is an extra: it is asked for by name where it is used."""

from __future__ import annotations

from types import ModuleType

from repflow.extras import extra


def quspin() -> ModuleType:
    """The module ``quspin`` with ``operators``, ``basis`` and ``tools`` imported.

    Raises
    ------
    repflow.extras.MissingExtraError
        QuSpin is not installed; the message names the extra.
    """
    submodules = ("basis", "operators", "tools.evolution", "tools.lanczos")
    return extra("spins", "quspin", "exact spin dynamics", submodules)
