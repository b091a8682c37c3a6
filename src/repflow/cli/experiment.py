"""``repflow experiment NAME``: one claim, tested end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repflow.cli.errors import CHECK_FAILED
from repflow.cli.options import Config, Json, Progress, Seed, Size
from repflow.cli.output import print_json, print_table, telling


def experiment(
    name: Annotated[str, typer.Argument(help="Name of an experiment, or 'list'.", metavar="NAME|list")],
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for result.json, figure.html and table.csv.", show_default=False),
    ] = None,
    size: Annotated[Size, typer.Option(help="How much to spend.")] = Size.default,
    seed: Seed = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 unless the verdict is 'agrees'.")
    ] = False,
    config: Config = None,
    progress: Progress = None,
    json: Json = False,
) -> None:
    """Run one claim end to end; its verdict follows from the numbers by a rule stated beforehand."""
    from repflow.experiments import experiments, run_experiment

    if name == "list":
        entries = experiments()
        if json:
            print_json(
                {"experiments": [{"name": e.name, "claim": e.claim, "rule": " ".join(e.rule.split())} for e in entries]}
            )
        else:
            print_table("Experiments", ["name", "claim"], [[entry.name, entry.claim] for entry in entries])
        return
    if out is None:
        raise ValueError("--out is missing: the directory for result.json, figure.html and table.csv")
    with telling(progress) as tell:
        result = run_experiment(name, out, size=size.value, seed=seed, tell=tell)
    if json:
        print_json(result)
    else:
        print(f"{result['experiment']}: {result['verdict']} ({result['seconds']:.1f} s)")
        print(result["claim"])
        for key, value in result["numbers"].items():
            print(f"  {key} = {value:.6g}" if isinstance(value, float) else f"  {key} = {value}")
        print(out / "result.json")
    if strict and result["verdict"] != "agrees":
        raise typer.Exit(CHECK_FAILED)
