"""The options that commands share, each declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from repflow.cli.config import read_config

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
        metavar="NAME|FILE",
    ),
]
Inputs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of inputs N, the first rows (digits: one image of each class in turn).",
        rich_help_panel=DATA,
        show_default="4",
    ),
]
XKey = Annotated[str, typer.Option(help="Name of the inputs in an .npz file.", rich_help_panel=DATA)]
YKey = Annotated[str, typer.Option(help="Name of the targets in an .npz file.", rich_help_panel=DATA)]
Target = Annotated[
    str | None,
    typer.Option(help="Column of targets in a .csv or .parquet file; all others are inputs.", rich_help_panel=DATA),
]
Standardize = Annotated[
    bool,
    typer.Option(
        "--standardize",
        help="Subtract one mean and divide by one standard deviation (digits always are).",
        rich_help_panel=DATA,
    ),
]
Depth = Annotated[
    int, typer.Option(min=1, help="L, the number of weight layers, the output included.", rich_help_panel=NETWORK)
]
Width = Annotated[
    str,
    typer.Option(
        help="Neurons n of every hidden layer, or the L - 1 hidden widths, comma-separated.",
        rich_help_panel=NETWORK,
        metavar="N|N,N,...",
    ),
]
Outputs = Annotated[
    int | None,
    typer.Option(min=1, help="n_L; by default what the targets ask for, 10 for digits.", rich_help_panel=NETWORK),
]
Activation = Annotated[
    str,
    typer.Option(
        help="A name such as tanh, gelu or leaky_relu:0.2; comma-separated, one for each hidden layer.",
        rich_help_panel=NETWORK,
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
        "--c-w", help="Weight variance times fan-in, in every layer.", rich_help_panel=NETWORK, show_default="1"
    ),
]
CB = Annotated[
    float | None,
    typer.Option("--c-b", help="Bias variance, in every layer.", rich_help_panel=NETWORK, show_default="0"),
]
Preset = Annotated[
    Init | None,
    typer.Option(
        "--init",
        help="Couplings by preset, instead of --c-w and --c-b.",
        rich_help_panel=NETWORK,
        show_default="critical",
    ),
]
Networks = Annotated[int, typer.Option(min=1, help="Networks in the ensemble.", rich_help_panel=ENSEMBLE)]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.", rich_help_panel=ENSEMBLE)]
MethodOption = Annotated[
    Method,
    typer.Option(
        "--method", help="Real networks, or the exact chain of Gram matrices without weights.", rich_help_panel=ENSEMBLE
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
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.", rich_help_panel=OUTPUT)]
