"""``repflow critical ACTIVATION``: where signals neither die out nor explode."""

from __future__ import annotations

from typing import Annotated

import typer

from repflow.cli.names import check_activations, complete_activation
from repflow.cli.options import Config, Json
from repflow.cli.output import print_json

EXAMPLES = (
    "repflow critical gelu",
    "repflow critical leaky_relu:0.2 --json",
    "repflow critical tanh --order 1 --width 128 --depth 20",
)


def critical(
    activation: Annotated[
        str,
        typer.Argument(
            help="A name such as gelu, or leaky_relu:0.2 with a parameter.",
            metavar="ACTIVATION",
            autocompletion=complete_activation,
        ),
    ],
    order: Annotated[
        int, typer.Option(min=0, max=1, help="1: couplings with their 1/n correction.", metavar="ORDER")
    ] = 0,
    width: Annotated[
        int | None, typer.Option(min=1, help="Hidden width n, for --order 1.", show_default=False, metavar="n")
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(min=1, help="L, for couplings that depend on the layer.", show_default=False, metavar="L"),
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Critical couplings C_W and C_b of an activation, its fixed points and universality class."""
    if len(check_activations(activation)) > 1:
        raise ValueError(f"ACTIVATION must be one name, got {activation!r}")
    if order == 1 and width is None:
        raise ValueError("--width is missing: couplings of order 1 depend on the hidden width")
    from repflow.criticality import critical as find

    result = find(activation, order=order, width=width, depth=depth)
    if json:
        print_json(result.to_dict())
    else:
        print(repr(result))
