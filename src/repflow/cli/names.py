"""Names that can be typed: offered by shell completion, and one of them suggested where a name is mistyped.

They are written down here as well, since the rooms that they come from import torch: completion answers at once, and
a mistyped name is refused at once. ``tests/cli/test_names.py`` holds them against the rooms.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

#: Activations with what can be said of each in a few words.
ACTIVATIONS: dict[str, str] = {
    "abs": "|z|",
    "arctan": "",
    "elu": "elu:ALPHA; 1 by default",
    "erf": "",
    "gelu": "z times the Gaussian distribution function",
    "gelu_tanh": "gelu by its tanh approximation",
    "hardswish": "",
    "hardtanh": "z clipped to [-1, 1]",
    "identity": "a deep linear network",
    "leaky_relu": "leaky_relu:SLOPE; 0.01 by default",
    "mish": "",
    "monomial": "monomial:POWER",
    "perceptron": "a step",
    "relu": "",
    "selu": "",
    "sigmoid": "",
    "silu": "z sigmoid(z), also called swish",
    "sin": "",
    "softplus": "",
    "softsign": "",
    "tanh": "",
}
ALIASES = ("atan", "linear", "step", "swish")
EXPERIMENTS = (
    "criticality",
    "emergent-scale",
    "fluctuations",
    "gaussian-limit",
    "hyperparameter-transfer",
    "memorisation",
    "no-free-lunch",
    "optimal-aspect-ratio",
    "parameter-sharing",
    "physics-learning",
    "representation-learning",
    "rg-flow",
    "sparsity",
    "spreading",
    "thermalisation",
    "universality",
)
DATA_FILES = (".csv", ".npy", ".npz", ".parquet")


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Whether a name is one of those known; what may have been meant is suggested, or all are listed.

    Raises
    ------
    ValueError
        It is not.
    """
    names = sorted(known)
    if name in names:
        return
    # Names are compared without case and marks: 'ReLU' and 'rg_flow' are near.
    plain = {_plain(each): each for each in names}
    close = difflib.get_close_matches(_plain(name), plain, n=1)
    said = f"did you mean {plain[close[0]]!r}?" if close else f"known are {', '.join(names)}"
    raise ValueError(f"{what} {name!r} is unknown; {said}")


def check_activations(text: str) -> list[str]:
    """The activations of a comma-separated list, each with a known name before its colon.

    Raises
    ------
    ValueError
        A name is unknown.
    """
    specs = [part.strip() for part in text.split(",")]
    for spec in specs:
        check_name("activation", spec.partition(":")[0], [*ACTIVATIONS, *ALIASES])
    return specs


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def complete_activation(incomplete: str) -> list[tuple[str, str]]:
    """Activations that the last name of a comma-separated list may become."""
    before, comma, last = incomplete.rpartition(",")
    return [(f"{before}{comma}{name}", said) for name, said in ACTIVATIONS.items() if name.startswith(last)]


def complete_checks(incomplete: str) -> list[str]:
    """Checks of ``--fail-if`` that the last of a comma-separated list may become."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{check}" for check in ("untrusted", "not-critical") if check.startswith(last)]


def complete_experiment(incomplete: str) -> list[str]:
    """Experiments, ``list`` and ``run-all``."""
    return [name for name in ("list", "run-all", *EXPERIMENTS) if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[str]:
    """``digits``, and files of data; where there are neither, the shell completes paths in its own way."""
    found = ["digits"] if "digits".startswith(incomplete) else []
    start = Path(incomplete).name if incomplete and not incomplete.endswith(("/", "\\")) else ""
    before = incomplete[: len(incomplete) - len(start)]
    try:
        entries = sorted(Path(before or ".").iterdir())
    except OSError:
        return found
    return found + [
        f"{before}{entry.name}"
        for entry in entries
        if entry.name.startswith(start) and entry.suffix.lower() in DATA_FILES and not entry.is_dir()
    ]
