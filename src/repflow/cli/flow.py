"""``repflow flow``: theory, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from repflow.cli.options import (
    CB,
    CW,
    OUTPUT,
    Activation,
    Config,
    Data,
    Depth,
    Inputs,
    Json,
    Outputs,
    Preset,
    Progress,
    Standardize,
    Target,
    Width,
    XKey,
    YKey,
)
from repflow.cli.output import print_json, print_table


def flow(
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
    order: Annotated[int, typer.Option(min=0, max=2, help="Order in 1/n.")] = 1,
    tangent: Annotated[
        bool, typer.Option("--tangent", help="Also the tangent kernel, at order 1 its fluctuations.")
    ] = False,
    differentials: Annotated[
        bool | None,
        typer.Option(help="With --tangent: also dNTK and ddNTK (default: for smooth activations).", show_default=False),
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
    """Theory: kernel, vertices, tangent kernel and their 1/n corrections in every layer."""
    from repflow.cli.problem import build_problem
    from repflow.recursion import flow as compute
    from repflow.reporting.evidence import to_numpy
    from repflow.reporting.output import check_directory

    if out is not None:
        check_directory(out.parent)
    problem = build_problem(context)
    result = compute(
        problem.network, problem.x, order=order, tangent=tangent, differentials=differentials, progress=progress
    )
    if out is not None:
        result.save(out)
    layers: list[dict[str, Any]] = []
    for layer in result:
        row: dict[str, Any] = {
            "layer": layer.index,
            "n_in": layer.n_in,
            "n_out": layer.n_out,
            "kernel": to_numpy(layer.mean_kernel(order=0)).tolist(),
        }
        if order >= 1:
            row["mean_kernel"] = to_numpy(layer.mean_kernel()).tolist()
            row["excess_kurtosis"] = to_numpy(layer.excess_kurtosis()).tolist()
        if order == 2:
            row["third_cumulant"] = to_numpy(layer.own_third_cumulant()).tolist()
        if tangent:
            row["ntk"] = to_numpy(layer.ntk).tolist()
            row |= {name: to_numpy(layer.statistic(name)).tolist() for name in layer.statistics[2:]}
        layers.append(row)
    if json:
        print_json(
            {
                "configuration": problem.configuration,
                "network": problem.network.to_dict(),
                "order": order,
                "layers": layers,
            }
        )
        return
    relative = "V_1111/(n K^2)" if order == 1 else "Var G_11/(E G_11)^2"
    columns = ["layer", "n_l", "K_11"] + (["E G_11", relative] if order >= 1 else [])
    columns += ["k_3(G_11)/K^3"] if order == 2 else []
    columns += ["Theta_11"] if tangent else []
    columns += ["E H_11", "sd H_11/Theta"] if tangent and order >= 1 else []
    rows = []
    for row in layers:
        cells = [row["layer"], row["n_out"], row["kernel"][0][0]]
        if order >= 1:
            cells += [row["mean_kernel"][0][0], row["excess_kurtosis"][0] / 3.0]
        if order == 2:
            cells.append(row["third_cumulant"][0] / (row["kernel"][0][0] or 1.0) ** 3)
        if tangent:
            cells.append(row["ntk"][0][0])
            if order >= 1:
                variance = row["A"][0][0][0][0] + 2 * row["B"][0][0][0][0]  # of one output's H_ii
                cells += [row["mean_ntk"][0][0], variance**0.5 / (row["ntk"][0][0] or 1.0)]
        rows.append(cells)
    print_table(f"{problem.network!r}\n{problem.data}", columns, rows)
    if out is not None:
        print(out)
