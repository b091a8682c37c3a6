"""The application: its commands, ``--version``, and the group that turns errors into one line."""

from __future__ import annotations

from typing import Annotated

import typer

from repflow import __version__
from repflow.cli import critical, doctor, experiment, flow, report, sample, tune
from repflow.cli.errors import OneLineErrors
from repflow.cli.gallery import WithRunAll

START = "\n\n".join(
    (
        "Start with:",
        "repflow report",
        "repflow critical tanh",
        "repflow tune my_model.py:make_model --data data.npz",
        "The options of a command, with examples: repflow COMMAND --help. Exit status: 0 done, 1 a check failed, "
        "2 a wrong argument or file, 130 interrupted.",
    )
)

app = typer.Typer(
    name="repflow",
    cls=OneLineErrors,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"repflow {__version__}")
        raise typer.Exit


@app.callback(epilog=START)
def _main(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version, metavar=""
        ),
    ] = False,
) -> None:
    """Effective theory of deep neural networks: theory at order 1/n, real networks, and their comparison."""
    if context.invoked_subcommand is None:
        print(context.get_help())


for module, function in (
    (report, report.report),
    (critical, critical.critical),
    (flow, flow.flow),
    (sample, sample.sample),
    (tune, tune.tune),
    (experiment, experiment.experiment),
    (doctor, doctor.doctor),
):
    app.command(cls=WithRunAll if module is experiment else None, epilog="\n\n".join(("Examples:", *module.EXAMPLES)))(
        function
    )
