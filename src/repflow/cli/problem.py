"""From options to the network and the inputs that a command works on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from repflow.cli.config import from_config, was_given
from repflow.cli.names import check_activations

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repflow.data import Dataset
    from repflow.network import Network


@dataclass(frozen=True)
class Problem:
    """A network and inputs, with the options they came from."""

    network: Network
    x: NDArray[np.float64]
    data: str
    init: str
    configuration: dict[str, Any]
    y: NDArray[Any] | None = None


def whole_numbers(name: str, text: str) -> list[int]:
    """Comma-separated whole numbers of 1 or more.

    Raises
    ------
    ValueError
        The text is something else.
    """
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, or several separated by commas, got {text!r}")
    return values


def hidden_widths(context: typer.Context, depth: int, width: str) -> list[int]:
    """The L - 1 hidden widths from ``--depth`` and ``--width``; a list sets the depth unless that is given too."""
    widths = whole_numbers("--width", width)
    if len(widths) == 1 and "," not in width:
        return widths * (depth - 1)
    if was_given(context, "depth") and depth != len(widths) + 1:
        raise ValueError(
            f"--width lists {len(widths)} hidden layers, which is depth {len(widths) + 1}, but --depth is {depth}"
        )
    return widths


def build_problem(context: typer.Context) -> Problem:
    """Read the data and build the network of a command's options.

    Raises
    ------
    ValueError, TypeError, OSError
        An option is wrong, or the data cannot be read.
    """
    given = context.params
    if given.get("model") is not None:
        return _problem_of_model(context)
    couplings, init = _couplings(context)
    hidden = hidden_widths(context, given["depth"], given["width"])
    names = check_activations(given["activation"])
    from repflow.build import mlp

    dataset = read_data(context)
    outputs = given["outputs"] or dataset.n_outputs or 1
    activation: Any = names if len(names) > 1 else names[0]
    network = mlp([dataset.x.shape[1], *hidden, outputs], activation=activation, x=dataset.x, **couplings)
    return Problem(
        network=network,
        x=dataset.x,
        data=dataset.description or dataset.name,
        y=dataset.y,
        init=init,
        configuration=configuration(context, depth=network.depth, outputs=outputs, inputs=len(dataset.x)),
    )


def read_data(context: typer.Context, at_most: int | None = None) -> Dataset:
    """The data of a command's options.

    Raises
    ------
    ValueError, OSError
        They cannot be read; the message has the names of the options.
    """
    from repflow.data import DEFAULT_INPUTS, load_data

    given = context.params
    try:
        return load_data(
            given["data"],
            inputs=given["inputs"],
            target=given["target"],
            x_key=given["x_key"],
            y_key=given["y_key"],
            standardize=True if given["standardize"] else None,
            at_most=DEFAULT_INPUTS if at_most is None else at_most,
        )
    except (ValueError, OSError) as error:
        words = str(error)
        for name in ("source", "inputs", "target", "standardize"):
            words = re.sub(rf"^{name}\b", f"--{name if name != 'source' else 'data'}", words)
        for name in ("x_key", "y_key"):
            words = re.sub(rf"\b{name}\b", f"--{name.replace('_', '-')}", words)
        raise type(error)(words) from error


def _problem_of_model(context: typer.Context) -> Problem:
    """The chain that a person's own model is, with the couplings of its weights unless others are given."""
    given = context.params
    both = [f"--{name}" for name in ("depth", "width", "activation", "outputs") if was_given(context, name)]
    if both:
        raise ValueError(f"--model has its own sizes and activations; {' and '.join(both)} cannot be given beside it")
    chosen = any(given[name] is not None for name in ("init", "c_w", "c_b"))
    couplings, init = _couplings(context) if chosen else ({}, "as the model's weights are")
    from repflow.build import mlp
    from repflow.cli.model_file import load_model
    from repflow.graph import trace
    from repflow.network import Network

    network = trace(load_model(given["model"]))
    if not isinstance(network, Network):
        raise ValueError(
            "--model is no chain of linear and elementwise layers, which is what this command is about; "
            "'repflow tune' takes any module"
        )
    dataset = read_data(context)
    if dataset.x.shape[1] != network.widths[0]:
        raise ValueError(f"--model takes {network.widths[0]} inputs, {dataset.name} has {dataset.x.shape[1]}")
    if chosen:
        network = mlp(network.widths, list(network.activations), x=dataset.x, **couplings)
    actual = {
        "depth": network.depth,
        "width": ",".join(map(str, network.widths[1:-1])),
        "activation": ",".join(dict.fromkeys(activation.name for activation in network.activations)),
        "outputs": network.widths[-1],
        "inputs": len(dataset.x),
    }
    return Problem(
        network=network,
        x=dataset.x,
        data=dataset.description or dataset.name,
        y=dataset.y,
        init=init,
        configuration=configuration(context, **actual),
    )


def _couplings(context: typer.Context) -> tuple[dict[str, Any], str]:
    """Arguments of ``mlp`` for C_W and C_b, and how they were chosen, in words."""
    given = dict(context.params)
    explicit = [name for name in ("c_w", "c_b") if given[name] is not None]
    if explicit and given["init"] is not None:
        # The command line overrides the file: what was typed wins over what is in --config.
        if from_config(context, "init") and not any(from_config(context, name) for name in explicit):
            given["init"] = None
        elif not from_config(context, "init") and all(from_config(context, name) for name in explicit):
            explicit = []
        else:
            raise ValueError("--init and --c-w/--c-b both set the couplings; give one or the other")
    if not explicit:
        init = str(getattr(given["init"], "value", None) or "critical")
        return {"init": init}, init
    C_W = 1.0 if given["c_w"] is None else given["c_w"]
    C_b = 0.0 if given["c_b"] is None else given["c_b"]
    return {"C_W": C_W, "C_b": C_b}, f"C_W = {C_W:g}, C_b = {C_b:g}"


def configuration(context: typer.Context, **actual: Any) -> dict[str, Any]:
    """The options of a command as plain data, with what defaults came to."""
    plain: dict[str, Any] = {}
    for name, value in {**context.params, **actual}.items():
        if name in ("progress", "json", "as_json", "config", "fail_if") or value is None:
            continue
        plain[name] = value if isinstance(value, bool | int | float) else str(getattr(value, "value", value))
    return plain
