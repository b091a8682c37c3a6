"""Experiments by name: each is one claim whose verdict follows from its numbers by a rule stated beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from repflow.experiments.verdicts import Verdict

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Size = Literal["small", "default", "large"]
SIZES: tuple[Size, ...] = ("small", "default", "large")

# A file or a folder each; imported when experiments are listed or run.
_MODULES = (
    "criticality",
    "emergent_scale",
    "fluctuations",
    "gaussian_limit",
    "hyperparameter_transfer",
    "memorisation",
    "no_free_lunch",
    "optimal_aspect_ratio",
    "parameter_sharing",
    "physics_learning",
    "representation_learning",
    "rg_flow",
    "sparsity",
    "spreading",
    "thermalisation",
    "universality",
)


class Tell(Protocol):
    """How an experiment says what it is doing: a message, and the share done in [0, 1]."""

    def __call__(self, message: str, share: float) -> None:
        """Take note."""


@dataclass(frozen=True)
class Outcome:
    """What an experiment found.

    Attributes
    ----------
    verdict
        By the rule in the experiment's docstring.
    numbers
        The numbers that the verdict follows from, and others of interest; JSON-able.
    table
        Columns of equal length: the data behind the figure.
    figure
        A Plotly figure.
    configuration
        What was run: sizes, couplings.
    """

    verdict: Verdict
    numbers: Mapping[str, Any]
    table: Mapping[str, Sequence[Any]]
    figure: Figure
    configuration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A registered experiment.

    Attributes
    ----------
    name
        As on the command line.
    claim
        One sentence that can be false.
    run
        The function; its docstring states the rule of the verdict.
    """

    name: str
    claim: str
    run: Callable[[Size, int, Tell], Outcome]

    @property
    def rule(self) -> str:
        """The docstring of the function, which states how the verdict follows."""
        return (self.run.__doc__ or "").strip()


_REGISTRY: dict[str, Experiment] = {}


def experiment(
    name: str, claim: str
) -> Callable[[Callable[[Size, int, Tell], Outcome]], Callable[[Size, int, Tell], Outcome]]:
    """Register ``function(size, seed, tell) -> Outcome`` under a name.

    Raises
    ------
    ValueError
        Another function has that name.
    """

    def register(function: Callable[[Size, int, Tell], Outcome]) -> Callable[[Size, int, Tell], Outcome]:
        known = _REGISTRY.get(name)
        if known is not None and known.run.__module__ != function.__module__:
            raise ValueError(f"experiment {name!r} is registered by {known.run.__module__} already")
        _REGISTRY[name] = Experiment(name, claim, function)
        return function

    return register


def experiments() -> tuple[Experiment, ...]:
    """All experiments, by name."""
    for module in _MODULES:
        import_module(f"repflow.experiments.{module}")
    return tuple(_REGISTRY[name] for name in sorted(_REGISTRY))


def find_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises
    ------
    ValueError
        There is none.
    """
    for entry in experiments():
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in experiments())
    raise ValueError(f"experiment {name!r} is unknown; known are {known}")
