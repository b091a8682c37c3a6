"""``repflow sample``: an ensemble of random networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from repflow.cli.options import (
    CB,
    CW,
    ENSEMBLE,
    OUTPUT,
    Activation,
    Config,
    Data,
    Depth,
    Inputs,
    Json,
    Method,
    MethodOption,
    Networks,
    Outputs,
    Preset,
    Progress,
    Seed,
    Standardize,
    Target,
    Width,
    XKey,
    YKey,
)
from repflow.cli.output import print_json, print_table


def sample(
    context: typer.Context,
    data: Data = "digits",
    inputs: Inputs = None,
    depth: Depth = 10,
    width: Width = "64",
    outputs: Outputs = None,
    activation: Activation = "gelu",
    init: Preset = None,
    c_w: CW = None,
    c_b: CB = None,
    networks: Networks = 10_000,
    seed: Seed = 0,
    method: MethodOption = Method.gram,
    tangent: Annotated[
        bool,
        typer.Option(
            "--tangent",
            help="Also the tangent kernel of each network, drawn by weights.",
            rich_help_panel=ENSEMBLE,
        ),
    ] = False,
    differentials: Annotated[
        bool,
        typer.Option(
            "--differentials", help="With --tangent: also dNTK and ddNTK at the output.", rich_help_panel=ENSEMBLE
        ),
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Networks at a time; the result does not depend on it.", rich_help_panel=ENSEMBLE),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="File to resume from and to keep up to date.", rich_help_panel=ENSEMBLE, show_default=False),
    ] = None,
    standardize: Standardize = False,
    x_key: XKey = "x",
    y_key: YKey = "y",
    target: Target = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Save the result: a .json file, else a zarr directory.", rich_help_panel=OUTPUT, show_default=False
        ),
    ] = None,
    config: Config = None,
    progress: Progress = None,
    json: Json = False,
) -> None:
    """Experiment: draw random networks and measure every layer. Ctrl-C keeps what is complete."""
    from repflow.cli.config import was_given
    from repflow.cli.problem import build_problem
    from repflow.ensemble import sample as draw
    from repflow.reporting.evidence import diagonal, quadruple_diagonal, to_numpy
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
                "configuration": problem.configuration,
                "network": problem.network.to_dict(),
                "networks": result.networks,
                "interrupted": result.interrupted,
                "layers": layers,
            }
        )
        return
    rows = []
    for row in layers:
        mean, error = (float(diagonal(to_numpy(row[name]))[0]) for name in ("mean_kernel", "mean_kernel_error"))
        variance, variance_error = row["variance"][0], row["variance_error"][0]
        square = mean**2 or 1.0
        rows.append([row["layer"], mean, error, variance / square, variance_error / square])
        if tangent:
            rows[-1] += [row["mean_ntk"][0][0], row["mean_ntk_error"][0][0]]
    title = f"{problem.network!r}\n{problem.data}\n{result.networks} networks by {method.value}, seed {seed}"
    columns = ["layer", "mean G_11", "+-", "Var G_11 / mean^2", "+-"]
    print_table(title, columns + (["mean H_11", "+-"] if tangent else []), rows)
    if result.interrupted:
        print(f"interrupted: {result.networks} of {networks} networks")
    if out is not None:
        print(out)
