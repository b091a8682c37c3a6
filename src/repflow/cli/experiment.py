"""``repflow experiment NAME``: one claim, tested end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repflow.cli.errors import CHECK_FAILED
from repflow.cli.names import EXPERIMENTS, check_name, complete_experiment
from repflow.cli.options import OUTPUT, Config, Json, Progress, Seed, Size
from repflow.cli.output import print_json, print_table, telling

EXAMPLES = (
    "repflow experiment list",
    "repflow experiment criticality --size small",
    "repflow experiment rg-flow --out rg-flow/ --seed 1 --strict",
    "repflow experiment run-all --out gallery/",
)


def experiment(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of an experiment, 'list', or 'run-all' (see its own --help).",
            metavar="NAME|list|run-all",
            autocompletion=complete_experiment,
        ),
    ],
    size: Annotated[
        Size,
        typer.Option(help="How much to spend: small (seconds), default (below two minutes) or large.", metavar="SIZE"),
    ] = Size.default,
    seed: Seed = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 unless the verdict is 'agrees'.", metavar="")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory for result.json, figure.html and table.csv.",
            rich_help_panel=OUTPUT,
            show_default="NAME",
            metavar="DIR",
        ),
    ] = None,
    config: Config = None,
    progress: Progress = None,
    json: Json = False,
) -> None:
    """Run one claim end to end; its verdict follows from the numbers by a rule stated beforehand."""
    if name == "list":
        _list(json)
        return
    check_name("experiment", name, ("list", "run-all", *EXPERIMENTS))
    from repflow.experiments import run_experiment

    directory = Path(name) if out is None else out
    with telling(progress) as tell:
        result = run_experiment(name, directory, size=size.value, seed=seed, tell=tell)
    if json:
        print_json(result)
    else:
        print(f"{result['experiment']}: {result['verdict']} ({result['seconds']:.1f} s)")
        print(result["claim"])
        for key, value in result["numbers"].items():
            print(f"  {key} = {value:.6g}" if isinstance(value, float) else f"  {key} = {value}")
        print(directory / "result.json")
    if strict and result["verdict"] != "agrees":
        raise typer.Exit(CHECK_FAILED)


def _list(json: bool) -> None:
    from repflow.experiments import experiments

    entries = experiments()
    if json:
        print_json(
            {"experiments": [{"name": e.name, "claim": e.claim, "rule": " ".join(e.rule.split())} for e in entries]}
        )
    else:
        print_table("Experiments", ["name", "claim"], [[entry.name, entry.claim] for entry in entries])
