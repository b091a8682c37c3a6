"""``repflow flow``: theory, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repflow.cli.options import OUTPUT, Config, Json, Progress, with_problem
from repflow.cli.output import print_json, print_table

if TYPE_CHECKING:
    from repflow.recursion import FlowLayer

THEORY = "Theory"
EXAMPLES = (
    "repflow flow",
    "repflow flow --depth 20 --width 256 --activation tanh --order 2",
    "repflow flow --c-w 2 --activation relu --tangent --out flow.zarr",
    "repflow flow --data x.npy --inputs 8 --json > flow.json",
)


@with_problem
def flow(
    context: typer.Context,
    order: Annotated[
        int,
        typer.Option(
            min=0,
            max=16,
            help="Order in 1/n: 0 to 2, for one input up to 16 and for two up to 6.",
            rich_help_panel=THEORY,
            metavar="ORDER",
        ),
    ] = 1,
    tangent: Annotated[
        bool,
        typer.Option(
            "--tangent",
            help="Also the tangent kernel, at order 1 its fluctuations.",
            rich_help_panel=THEORY,
            metavar="",
        ),
    ] = False,
    differentials: Annotated[
        bool | None,
        typer.Option(
            help="With --tangent: also dNTK and ddNTK.",
            show_default="for smooth activations",
            rich_help_panel=THEORY,
            metavar="",
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
    """Theory: kernel, vertices, tangent kernel and their 1/n corrections in every layer."""
    if differentials and not tangent:
        raise ValueError("--differentials needs --tangent")
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
            row["excess_kurtosis"] = to_numpy(_excess_kurtosis(layer, order)).tolist()
        if order >= 2:
            row["third_cumulant"] = to_numpy(layer.own_third_cumulant()).tolist()
        if tangent:
            row["ntk"] = to_numpy(layer.ntk).tolist()
            of_ntk = (name for name in layer.statistics if not name.startswith(("mean_kernel", "kernel_")))
            row |= {name: to_numpy(layer.statistic(name)).tolist() for name in of_ntk}
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
    columns += ["k_3(G_11)/K^3"] if order >= 2 else []
    columns += ["Theta_11"] if tangent else []
    columns += ["E H_11", "sd H_11/Theta"] if tangent and order >= 1 else []
    rows = []
    for row in layers:
        cells = [row["layer"], row["n_out"], row["kernel"][0][0]]
        if order >= 1:
            cells += [row["mean_kernel"][0][0], row["excess_kurtosis"][0] / 3.0]
        if order >= 2:
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


def _excess_kurtosis(layer: FlowLayer, order: int) -> Any:
    """Expanded in 1/n up to order 2; beyond, of the variance and the mean as they are."""
    if order <= 2:
        return layer.excess_kurtosis()
    place = range(len(layer.kernel))
    variance = layer.kernel_covariance()[place, place, place, place]
    return 3 * variance / layer.mean_kernel().diagonal() ** 2
