"""``repflow report``: theory and ensemble on real inputs, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repflow.cli.errors import CHECK_FAILED, INTERRUPTED
from repflow.cli.names import complete_checks
from repflow.cli.options import OUTPUT, Config, Json, Method, MethodOption, Networks, Progress, Seed, with_problem
from repflow.cli.output import print_json, say

CHECKS = ("untrusted", "not-critical")
EXAMPLES = (
    "repflow report",
    "repflow report --depth 20 --width 128 --activation relu --init pytorch",
    "repflow report --data table.csv --target label --standardize --out report/",
    "repflow report --model my_model.py:make_model --data set.npz --x-key images",
    "repflow report --data x.npy --fail-if untrusted,not-critical --json",
)


@with_problem
def report(
    context: typer.Context,
    networks: Networks = 20_000,
    seed: Seed = 0,
    method: MethodOption = Method.gram,
    out: Annotated[
        Path,
        typer.Option(
            help="Directory for report.html, report.json and the results.", rich_help_panel=OUTPUT, metavar="DIR"
        ),
    ] = Path("report"),
    fail_if: Annotated[
        str | None,
        typer.Option(
            help="Exit with status 1 if this holds; comma-separated: untrusted (r_L > 0.3), not-critical.",
            rich_help_panel=OUTPUT,
            metavar="CHECK,...",
            show_default=False,
            autocompletion=complete_checks,
        ),
    ] = None,
    config: Config = None,
    progress: Progress = None,
    json: Json = False,
) -> None:
    """Judge a network's initialisation on data: is it critical, how much do seeds differ, what to change."""
    checks = wanted_checks(fail_if)
    from repflow.cli.problem import build_problem
    from repflow.reporting import report as make
    from repflow.reporting.result import check_report_directory

    check_report_directory(out)
    problem = build_problem(context)
    result = make(
        problem.network,
        problem.x,
        networks=networks,
        seed=seed,
        method=method.value,
        progress=progress,
        data=problem.data,
        configuration={**problem.configuration, "couplings": problem.init},
        y=problem.y,
    )
    result.save(out)
    failed = [check for check in checks if check in result.failures]
    if json:
        print_json({**result.to_dict(), "failed": failed})
    else:
        say(result.summary())
        for check in failed:
            say(f"failed: {check}")
        say(str(out / "report.html"))
    if result.interrupted:  # what was drawn before Ctrl-C is judged and saved
        raise typer.Exit(INTERRUPTED)
    if failed:
        raise typer.Exit(CHECK_FAILED)


def wanted_checks(text: str | None) -> list[str]:
    """The checks of ``--fail-if``.

    Raises
    ------
    ValueError
        One is unknown.
    """
    checks = [] if text is None else [part.strip() for part in text.split(",")]
    for check in checks:
        if check not in CHECKS:
            raise ValueError(f"--fail-if must be one or several of {', '.join(CHECKS)}, got {check!r}")
    return checks
