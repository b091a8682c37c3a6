"""``repflow tune``: a plan for a person's own model."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repflow.cli.options import DATA, OUTPUT, Config, Data, Json, Standardize, Target, XKey, YKey
from repflow.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from torch import Tensor

    from repflow.data import Dataset
    from repflow.tuning import Plan

#: Rows read of a data set; the plan looks at some of them, evenly spaced.
ROWS = 4096
PLAN = "Plan"
EXAMPLES = (
    "repflow tune my_model.py:make_model --data data.npz",
    "repflow tune my_model.py:make_model --data digits --loss cross_entropy",
    "repflow tune net.py:Net --data images.npy --shape 1,28,28 --optimizer adam",
    "repflow tune my_model.py:make_model --data table.csv --target y --out plan/",
)


class Loss(StrEnum):
    """How the loss is normalised."""

    mse = "mse"
    mse_mean = "mse_mean"
    cross_entropy = "cross_entropy"


class Optimizer(StrEnum):
    """Optimisers that rates are known for."""

    sgd = "sgd"
    adam = "adam"
    adamw = "adamw"


def tune(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(help="A Python file and the function in it that returns the model.", metavar="FILE.py:FUNCTION"),
    ],
    data: Data,
    inputs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows of the data to read.",
            rich_help_panel=DATA,
            show_default=f"all, up to {ROWS}",
            metavar="N",
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="Shape of one input, comma-separated, for a model that takes images or sequences.",
            rich_help_panel=DATA,
            show_default=False,
            metavar="N,N,...",
        ),
    ] = None,
    standardize: Standardize = False,
    x_key: XKey = "x",
    y_key: YKey = "y",
    target: Target = None,
    loss: Annotated[
        Loss,
        typer.Option(
            help="mse: half the squared error summed over outputs; mse_mean: nn.MSELoss; cross_entropy.",
            rich_help_panel=PLAN,
            metavar="LOSS",
        ),
    ] = Loss.mse,
    scaling: Annotated[
        float | None,
        typer.Option(
            help="s, from 0 (tangent limit) to 1 (maximal update).",
            rich_help_panel=PLAN,
            show_default="chosen",
            metavar="S",
        ),
    ] = None,
    optimizer: Annotated[
        Optimizer,
        typer.Option(
            help="Whose rates and code the page shows: sgd, adam or adamw; the plan has all.",
            rich_help_panel=PLAN,
            metavar="NAME",
        ),
    ] = Optimizer.sgd,
    out: Annotated[
        Path, typer.Option(help="Directory for plan.json and plan.html.", rich_help_panel=OUTPUT, metavar="DIR")
    ] = Path("plan"),
    config: Config = None,
    json: Json = False,
) -> None:
    """Plan a model: critical initialisation, learning rates in units of the predicted best, depth to width."""
    from repflow.cli.model_file import load_model
    from repflow.cli.problem import configuration, read_data
    from repflow.reporting.output import check_directory
    from repflow.reporting.plan_page import plan_page
    from repflow.results import atomic_write_text
    from repflow.tuning import tune as make

    check_directory(out)
    module = load_model(model)
    dataset = read_data(context, at_most=ROWS)
    kinds = [parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()]
    x = _shaped(dataset, shape).to(kinds[0] if kinds else None)
    plan = make(module, x, dataset.y, scaling=scaling, loss=loss.value)
    page = plan_page(
        plan,
        model=model,
        data=dataset.description or dataset.name,
        optimizer=optimizer.value,
        configuration=configuration(context, inputs=len(dataset.x)),
    )
    files = {"plan": str(out / "plan.json"), "page": str(out / "plan.html")}
    plan.save(files["plan"])
    atomic_write_text(files["page"], page)
    if json:
        print_json({"model": model, "summary": _summary(plan), "parameters": plan.table("dict"), "files": files})
        return
    if sys.stdout.isatty():
        header, cells = _rich(plan)
        print_table(f"{model}\n{dataset.description or dataset.name}", header, cells)
        say(str(_summary(plan)["text"]))
        for note in plan.notes:
            say(f"note: {note}")
    else:
        say(plan.table("text"))
    say(files["page"])


def _shaped(dataset: Dataset, shape: str | None) -> Tensor:
    """Inputs as the model takes them."""
    import math

    import torch

    from repflow.cli.problem import whole_numbers

    x = torch.as_tensor(dataset.x)
    if shape is None:
        return x
    sizes = whole_numbers("--shape", shape)
    if math.prod(sizes) != x.shape[1]:
        raise ValueError(f"--shape {shape} holds {math.prod(sizes)} values, an input has {x.shape[1]}")
    return x.reshape(len(x), *sizes)


def _summary(plan: Plan) -> dict[str, object]:
    from repflow.tuning.table import summary

    return {
        "text": summary(plan),
        "scaling": plan.scaling,
        "kappa": plan.kappa,
        "edge": plan.edge,
        "fluctuation": plan.fluctuation,
        "aspect_ratio": plan.aspect_ratio.value,
        "optimum": plan.aspect_ratio.optimum,
        "advisable_depth": plan.aspect_ratio.advisable_depth,
        "loss": plan.loss,
        "notes": list(plan.notes),
    }


def _rich(plan: Plan) -> tuple[list[str], list[list[object]]]:
    """The columns that fit a terminal."""
    header = ["parameter", "role", "shape", "std now", "std new", "SGD rate", "Adam rate", "NTK top"]
    cells: list[list[object]] = [
        [
            row["parameter"],
            row["role"],
            "x".join(map(str, row["shape"])),
            row["old_std"],
            row["new_std"],
            row["sgd"],
            row["adam"],
            f"{row['ntk_eigenvalue']:.1%}",
        ]
        for row in plan.table("dict")
    ]
    return header, cells
