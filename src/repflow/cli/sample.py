"""``repflow sample``: an ensemble of random networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from repflow.cli.errors import INTERRUPTED
from repflow.cli.options import (
    ENSEMBLE,
    OUTPUT,
    Config,
    Json,
    Method,
    MethodOption,
    Networks,
    Progress,
    Seed,
    with_problem,
)
from repflow.cli.output import print_json, print_table

EXAMPLES = (
    "repflow sample",
    "repflow sample --depth 20 --width 256 --activation tanh --networks 100000",
    "repflow sample --method weights --checkpoint run.npz --out ensemble.zarr",
    "repflow sample --data x.npy --inputs 2 --tangent --json > ensemble.json",
)


@with_problem
def sample(
    context: typer.Context,
    networks: Networks = 10_000,
    seed: Seed = 0,
    method: MethodOption = Method.gram,
    tangent: Annotated[
        bool,
        typer.Option(
            "--tangent",
            help="Also the tangent kernel of each network, drawn by weights.",
            rich_help_panel=ENSEMBLE,
            metavar="",
        ),
    ] = False,
    differentials: Annotated[
        bool,
        typer.Option(
            "--differentials",
            help="With --tangent: also dNTK and ddNTK at the output.",
            rich_help_panel=ENSEMBLE,
            metavar="",
        ),
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Networks at a time; the result does not depend on it.",
            rich_help_panel=ENSEMBLE,
            show_default="what fits the memory",
            metavar="N",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="File to resume from and to keep up to date.",
            rich_help_panel=ENSEMBLE,
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Save the result for rf.load: a .json file, else a zarr directory.",
            rich_help_panel=OUTPUT,
            show_default=False,
            metavar="PATH",
        ),
    ] = None,
    config: Config = None,
    progress: Progress = None,
    json: Json = False,
) -> None:
    """Experiment: draw random networks and measure every layer. Ctrl-C keeps what is complete."""
    if differentials and not tangent:
        raise ValueError("--differentials needs --tangent")
    from repflow.cli.config import was_given
    from repflow.cli.problem import build_problem
    from repflow.ensemble import sample as draw
    from repflow.reporting.evidence import quadruple_diagonal, to_numpy
    from repflow.reporting.output import check_directory

    for path in (out, checkpoint):
        if path is not None:
            check_directory(path.parent, "out" if path is out else "checkpoint")
    if tangent and not was_given(context, "method"):
        method = Method.weights
    problem = build_problem(context)
    result = draw(
        problem.network,
        problem.x,
        networks=networks,
        seed=seed,
        method=method.value,
        batch_size=batch_size,
        checkpoint=checkpoint,
        progress=progress,
        tangent=tangent,
        differentials=differentials,
    )
    if out is not None:
        result.save(out)
    layers: list[dict[str, Any]] = []
    for l, layer in enumerate(result, start=1):
        layers.append(
            {
                "layer": l,
                "mean_kernel": to_numpy(layer.mean_kernel()).tolist(),
                "mean_kernel_error": to_numpy(layer.stderr("mean_kernel")).tolist(),
                "variance": quadruple_diagonal(to_numpy(layer.kernel_covariance())).tolist(),
                "variance_error": quadruple_diagonal(to_numpy(layer.stderr("kernel_covariance"))).tolist(),
            }
        )
        for name in (name for name in layer.statistics if name == "mean_ntk" or len(name) == 1):
            layers[-1][name] = to_numpy(layer.statistic(name)).tolist()
            layers[-1][f"{name}_error"] = to_numpy(layer.stderr(name)).tolist()
    if json:
        print_json(
            {
                "configuration": {**problem.configuration, "method": method.value},
                "network": problem.network.to_dict(),
                "networks": result.networks,
                "interrupted": result.interrupted,
                "layers": layers,
            }
        )
    else:
        title = f"{problem.network!r}\n{problem.data}\n{result.networks} networks by {method.value}, seed {seed}"
        columns = ["layer", "E G_11", "+-", "Var G_11/(E G_11)^2", "+-"]
        print_table(title, columns + (["E H_11", "+-"] if tangent else []), [_row(layer, tangent) for layer in layers])
        if result.interrupted:
            print(f"interrupted: {result.networks} of {networks} networks")
        if out is not None:
            print(out)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)


def _row(layer: dict[str, Any], tangent: bool) -> list[Any]:
    """A layer's line of the table, about the first input."""
    mean, error = layer["mean_kernel"][0][0], layer["mean_kernel_error"][0][0]
    square = mean**2 or 1.0
    row = [layer["layer"], mean, error, layer["variance"][0] / square, layer["variance_error"][0] / square]
    return row + ([layer["mean_ntk"][0][0], layer["mean_ntk_error"][0][0]] if tangent else [])
