"""The application: its commands, ``--version``, and the group that turns errors into one line."""

from __future__ import annotations

from typing import Annotated

import typer

from repflow import __version__
from repflow.cli.critical import critical
from repflow.cli.errors import OneLineErrors
from repflow.cli.experiment import experiment
from repflow.cli.flow import flow
from repflow.cli.report import report
from repflow.cli.sample import sample
from repflow.cli.tune import tune

app = typer.Typer(
    name="repflow",
    help="Effective theory of deep neural networks: theory at order 1/n, real networks, and their comparison.",
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"repflow {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Effective theory of deep neural networks: theory at order 1/n, real networks, and their comparison."""


for command in (report, critical, flow, sample, tune, experiment):
    app.command()(command)
