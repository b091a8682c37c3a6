"""``repflow experiment run-all``: every experiment, and the page that shows them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from repflow.cli.errors import CHECK_FAILED
from repflow.cli.names import complete_experiment
from repflow.cli.options import OUTPUT, Json, Progress, Seed, Size
from repflow.cli.output import print_json, print_table

if TYPE_CHECKING:
    from repflow.experiments.gallery import GalleryPlan, Watch

NAME = "run-all"
EXAMPLES = (
    "repflow experiment run-all --out gallery/",
    "repflow experiment run-all --out gallery/ --size small --only criticality --only sparsity",
)


def run_all(
    out: Annotated[
        Path,
        typer.Option(
            help="Directory: index.html, gallery.json, and one directory for each experiment.",
            rich_help_panel=OUTPUT,
            metavar="DIR",
        ),
    ],
    size: Annotated[
        Size,
        typer.Option(help="How much to spend on each: small (seconds), default (minutes) or large.", metavar="SIZE"),
    ] = Size.default,
    seed: Seed = 0,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Run this one alone; may be given several times.",
            metavar="NAME",
            show_default="all",
            autocompletion=complete_experiment,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run again what is whole already.", metavar="")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Experiments at once, each in a process of its own.",
            show_default="one a processor, fewer where memory is short",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit with status 1 unless all have run and every verdict is 'agrees'.", metavar=""
        ),
    ] = False,
    progress: Progress = None,
    json: Json = False,
) -> None:
    """Run every experiment and write a page of all verdicts; a second run goes on where the first one ended.

    An experiment whose result is whole, and of the same size, seed and version, is kept. One that fails is listed with
    its reason and stops no other.
    """
    from repflow.experiments.gallery import plan_gallery, run_gallery

    plan = plan_gallery(out, size.value, seed, only or (), force, jobs)
    if not json:
        _print_plan(plan)
    with _watching(progress, plan) as watch:
        gallery = run_gallery(plan, watch)
    if json:
        print_json(gallery)
    else:
        _print_gallery(gallery)
        print(out / "index.html")
    if strict and any(entry["verdict"] != "agrees" for entry in gallery["experiments"]):
        raise typer.Exit(CHECK_FAILED)


def _print_plan(plan: GalleryPlan) -> None:
    for name in plan.kept:
        print(f"{name}: kept")
    for name, seconds in plan.seconds.items():
        print(f"{name}: to run, about {_duration(seconds)}")
    if plan.seconds:
        print(f"{len(plan.seconds)} to run, {plan.jobs} at once: about {_duration(plan.expected)}", flush=True)


def _print_gallery(gallery: dict[str, Any]) -> None:
    rows = [
        (entry["name"], entry["verdict"] or "not run", "" if entry["seconds"] is None else f"{entry['seconds']:.1f}")
        for entry in gallery["experiments"]
    ]
    print_table("Experiments", ["name", "verdict", "seconds"], rows)
    for entry in gallery["experiments"]:
        if entry["verdict"] is None:
            print(f"{entry['name']}: not run: {entry['reason']}")
    for note in gallery["notes"]:
        print(f"note: {note}")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@contextmanager
def _watching(progress: bool | None, plan: GalleryPlan) -> Iterator[Watch]:
    """A bar for each experiment that runs and one for all, on stderr; or nothing."""
    from repflow.experiments.gallery import Watch

    if not (sys.stderr.isatty() if progress is None else progress):
        yield Watch()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )

    class Bars(Watch):
        """Shows each call; Rich's bars may be moved from any thread."""

        def __init__(self) -> None:
            self.tasks = {"": bars.add_task("all", total=max(1.0, sum(plan.seconds.values())))}

        def started(self, name: str) -> None:
            self.tasks[name] = bars.add_task(name, total=1.0)

        def told(self, name: str, message: str, share: float) -> None:
            bars.update(self.tasks[name], description=f"{name}: {message}", completed=share)

        def finished(self, name: str, verdict: str | None) -> None:
            bars.remove_task(self.tasks.pop(name))
            bars.advance(self.tasks[""], plan.seconds[name])
            bars.console.print(f"{name}: {verdict or 'not run'}", markup=False, highlight=False)

        def drawing(self, images: int) -> None:
            bars.update(self.tasks[""], description=f"drawing {images} images")

    with bars:
        yield Bars()


def _command() -> Any:
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    alone.command(NAME, epilog="\n\n".join(("Examples:", *EXAMPLES)))(run_all)
    return typer.main.get_command(alone)


class WithRunAll(TyperCommand):
    """A command that takes a name, of which ``run-all`` is a command with options of its own."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of this command, or of ``run-all`` where that is the first argument."""
        if args and args[0] == NAME:
            return _command().make_context(f"{info_name} {NAME}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)
