"""``repflow critical ACTIVATION``: where signals neither die out nor explode."""

from __future__ import annotations

from typing import Annotated

import typer

from repflow.cli.options import Config, Json
from repflow.cli.output import print_json


def critical(
    activation: Annotated[str, typer.Argument(help="A registered name, such as gelu or leaky_relu:0.2.")],
    order: Annotated[int, typer.Option(min=0, max=1, help="1: couplings with their 1/n correction.")] = 0,
    width: Annotated[int | None, typer.Option(min=1, help="Hidden width n, for --order 1.", show_default=False)] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="L, for couplings that depend on the layer.", show_default=False)
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Critical couplings C_W and C_b of an activation, its fixed points and universality class."""
    from repflow.criticality import critical as find

    result = find(activation, order=order, width=width, depth=depth)
    if json:
        print_json(result.to_dict())
    else:
        print(repr(result))
