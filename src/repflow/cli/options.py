"""The options that commands share, each declared once; :func:`with_problem` gives a command a set of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from repflow.cli.config import read_config
from repflow.cli.names import complete_activation, complete_data

DATA, NETWORK, ENSEMBLE, OUTPUT = "Data", "Network", "Ensemble", "Output"


class Init(StrEnum):
    """Presets for C_W and C_b."""

    critical = "critical"
    pytorch = "pytorch"
    he = "he"
    xavier = "xavier"
    lecun = "lecun"


class Method(StrEnum):
    """How an ensemble is drawn."""

    weights = "weights"
    gram = "gram"


class Size(StrEnum):
    """How much an experiment spends."""

    small = "small"
    default = "default"
    large = "large"


Data = Annotated[
    str,
    typer.Option(
        help="'digits', or a .npy, .npz, .csv or .parquet file of numbers, one input a row.",
        rich_help_panel=DATA,
        metavar="digits|FILE",
        autocompletion=complete_data,
    ),
]
Inputs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of inputs, the first rows (digits: one image of each class in turn).",
        rich_help_panel=DATA,
        show_default="4, or all of a smaller file",
        metavar="N",
    ),
]
XKey = Annotated[str, typer.Option(help="Name of the inputs in an .npz file.", rich_help_panel=DATA, metavar="NAME")]
YKey = Annotated[str, typer.Option(help="Name of the targets in an .npz file.", rich_help_panel=DATA, metavar="NAME")]
Target = Annotated[
    str | None,
    typer.Option(
        help="Column of targets in a .csv or .parquet file; all others are inputs.",
        rich_help_panel=DATA,
        show_default=False,
        metavar="NAME",
    ),
]
Standardize = Annotated[
    bool,
    typer.Option(
        "--standardize",
        help="Subtract one mean and divide by one standard deviation (digits always are).",
        rich_help_panel=DATA,
        metavar="",
    ),
]
Depth = Annotated[
    int,
    typer.Option(min=1, help="Number L of weight layers, the output included.", rich_help_panel=NETWORK, metavar="L"),
]
Width = Annotated[
    str,
    typer.Option(
        help="Neurons n of every hidden layer, or the L - 1 hidden widths, comma-separated.",
        rich_help_panel=NETWORK,
        metavar="n|n,n,...",
    ),
]
Outputs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number n_L of outputs.",
        rich_help_panel=NETWORK,
        show_default="what the targets ask for: 10 for digits",
        metavar="n",
    ),
]
Activation = Annotated[
    str,
    typer.Option(
        help="A name such as tanh, gelu or leaky_relu:0.2; or several, comma-separated, one for each hidden layer.",
        rich_help_panel=NETWORK,
        metavar="NAME",
        autocompletion=complete_activation,
    ),
]
ModelFile = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A Python file and the function in it that returns the model, instead of depth, width and activation; its "
        "couplings are read off its weights unless --init or --c-w is given.",
        rich_help_panel=NETWORK,
        show_default=False,
        metavar="FILE.py:FUNCTION",
    ),
]
CW = Annotated[
    float | None,
    typer.Option(
        "--c-w",
        help="C_W, the variance of a weight times its fan-in, in every layer.",
        rich_help_panel=NETWORK,
        show_default="1, with --c-b",
        metavar="NUMBER",
    ),
]
CB = Annotated[
    float | None,
    typer.Option(
        "--c-b",
        help="C_b, the variance of a bias, in every layer.",
        rich_help_panel=NETWORK,
        show_default="0, with --c-w",
        metavar="NUMBER",
    ),
]
Preset = Annotated[
    Init | None,
    typer.Option(
        "--init",
        help="Couplings by preset, instead of --c-w and --c-b: critical, pytorch, he, xavier or lecun.",
        rich_help_panel=NETWORK,
        show_default="critical",
        metavar="PRESET",
    ),
]
Networks = Annotated[int, typer.Option(min=1, help="Networks in the ensemble.", rich_help_panel=ENSEMBLE, metavar="N")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.", metavar="N")]
MethodOption = Annotated[
    Method,
    typer.Option(
        "--method",
        help="gram: the exact chain of Gram matrices, without weights; weights: real networks.",
        rich_help_panel=ENSEMBLE,
        metavar="METHOD",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file of the same options; the command line overrides it.",
        is_eager=True,
        callback=read_config,
        rich_help_panel=OUTPUT,
        metavar="FILE",
    ),
]
Progress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show progress on stderr.",
        rich_help_panel=OUTPUT,
        show_default="on a terminal",
        metavar="",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout and nothing else.", rich_help_panel=OUTPUT, metavar="")
]


def _problem(
    data: Data = "digits",
    inputs: Inputs = None,
    standardize: Standardize = False,
    x_key: XKey = "x",
    y_key: YKey = "y",
    target: Target = None,
    model: ModelFile = None,
    depth: Depth = 10,
    width: Width = "64",
    outputs: Outputs = None,
    activation: Activation = "gelu",
    init: Preset = None,
    c_w: CW = None,
    c_b: CB = None,
) -> None:
    """The options that say which inputs and which network a command is about, in the order of its help."""


def with_problem(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of data and network, before its own.

    Its first parameter is the context, from which :func:`repflow.cli.problem.build_problem` reads them.
    """
    shared = inspect.signature(_problem, eval_str=True).parameters
    context, *own = inspect.signature(command, eval_str=True).parameters.values()
    names = {parameter.name for parameter in own}

    @functools.wraps(command)
    def with_shared(context: typer.Context, **given: Any) -> None:
        command(context, **{name: value for name, value in given.items() if name in names})

    merged = [context, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*shared.values(), *own))]
    # Typer reads the signature, and the annotations beside it.
    vars(with_shared)["__signature__"] = inspect.Signature(merged)
    with_shared.__annotations__ = {parameter.name: parameter.annotation for parameter in merged}
    del vars(with_shared)["__wrapped__"]
    return with_shared
