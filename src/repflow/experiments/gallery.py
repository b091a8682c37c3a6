"""All experiments by one call: what is whole already is kept, and one that fails stops no other.

Each experiment has a directory of its own. ``index.html`` and ``gallery.json`` are written anew after every one that
ends, so that both are valid at any time, after an interruption too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repflow import __version__
from repflow.blocks import check_seed
from repflow.experiments.gallery_captions import caption_of, expected_seconds
from repflow.experiments.gallery_images import IMAGE, write_images
from repflow.experiments.gallery_jobs import ERROR, ExperimentFailedError, Workers, default_jobs
from repflow.experiments.registry import SIZES, Size, Tell, experiments
from repflow.experiments.runner import FILES, RESULT, draw_page
from repflow.extras import MissingExtraError
from repflow.reporting.experiment_page import command_of
from repflow.reporting.output import check_directory
from repflow.results import atomic_write_text

Run = Callable[[str, Path, Size, int, Tell], None]


class Watch:
    """Told what happens; this one says nothing. Calls come from several threads."""

    def started(self, name: str) -> None:
        """An experiment begins."""

    def told(self, name: str, message: str, share: float) -> None:
        """An experiment says what it is doing."""

    def finished(self, name: str, verdict: str | None) -> None:
        """An experiment has ended, with a verdict or without."""

    def drawing(self, images: int) -> None:
        """All have ended; so many figures are drawn as images."""


@dataclass(frozen=True)
class GalleryPlan:
    """What a gallery will run.

    Attributes
    ----------
    directory, size, seed, jobs
        Where, how much, from which seed, and how many at once.
    names
        Experiments asked for, by name.
    kept
        Those of them whose result is whole and of the same size, seed and version.
    seconds
        Expected seconds of each of the others, the longest first: as long as the last run in this directory took, or
        as long as it took where it was measured.
    """

    directory: Path
    size: Size
    seed: int
    jobs: int
    names: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def expected(self) -> float:
        """Expected seconds until all have ended."""
        ends = [0.0] * self.jobs
        for seconds in self.seconds.values():
            ends[ends.index(min(ends))] += seconds
        return max(ends)


def plan_gallery(
    out: str | Path,
    size: Size = "default",
    seed: int = 0,
    only: Sequence[str] = (),
    force: bool = False,
    jobs: int | None = None,
) -> GalleryPlan:
    """What :func:`run_gallery` would do; nothing is run or written.

    Parameters
    ----------
    out
        Directory of the gallery.
    size, seed
        Of every experiment.
    only
        Names; without any, all experiments.
    force
        Run again what is whole already.
    jobs
        How many at once; by default one a processor, fewer where memory is short.

    Raises
    ------
    ValueError
        An experiment or the size is unknown, the seed is negative, or ``jobs`` is not positive.
    OSError
        ``out`` cannot be written.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    check_seed(seed)
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be 1 or more, got {jobs}")
    known = [entry.name for entry in experiments()]
    for name in only:
        if name not in known:
            raise ValueError(f"only: experiment {name!r} is unknown; known are {', '.join(known)}")
    directory = check_directory(out)
    names = tuple(name for name in known if not only or name in only)
    kept = () if force else tuple(name for name in names if whole_result(directory / name, name, size, seed))
    expected = {name: _expected(directory / name, name, size) for name in names if name not in kept}
    longest_first = dict(sorted(expected.items(), key=lambda item: -item[1]))
    return GalleryPlan(directory, size, seed, jobs or default_jobs(), names, kept, longest_first)


def whole_result(directory: Path, name: str, size: Size, seed: int) -> dict[str, Any] | None:
    """The result in a directory, if it is whole and of this experiment, size, seed and version."""
    result = _read(directory)
    asked = {"experiment": name, "size": size, "seed": seed, "version": __version__, "files": dict(FILES)}
    if result is None or any(result.get(key) != value for key, value in asked.items()):
        return None
    return result if all((directory / file).is_file() for file in FILES.values()) else None


def _read(directory: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((directory / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _expected(directory: Path, name: str, size: Size) -> float:
    earlier = _read(directory) or {}
    seconds = earlier.get("seconds")
    if earlier.get("size") == size and isinstance(seconds, int | float):
        return float(seconds)
    return expected_seconds(name, size)


def run_gallery(plan: GalleryPlan, watch: Watch | None = None, run: Run | None = None) -> dict[str, Any]:
    """Run what a plan has, and write the index.

    Parameters
    ----------
    plan
        From :func:`plan_gallery`.
    watch
        Told what happens.
    run
        ``run(name, directory, size, seed, tell)`` runs one experiment; by default in a process of its own.

    Returns
    -------
    dict
        What ``gallery.json`` holds: ``size``, ``seed``, ``version``, ``seconds`` (the sum over experiments), ``notes``
        and ``experiments``, each with its ``name``, ``title``, ``claim``, ``see``, ``verdict`` (None where it has not
        run), ``reason`` (why not), ``key`` numbers, ``seconds``, ``command`` and ``files``, whose paths begin at the
        directory. Experiments that were not asked for are among them where their result is whole and of the same
        size, seed and version.

    Raises
    ------
    KeyboardInterrupt
        It was interrupted; the index has all that was whole by then.
    """
    watch = watch or Watch()
    workers = Workers(plan.jobs)
    run = run or workers.run
    plan.directory.mkdir(parents=True, exist_ok=True)
    for name in plan.kept:  # the design may be a later one
        draw_page(plan.directory / name)
        (plan.directory / name / ERROR).unlink(missing_ok=True)
    reasons = dict.fromkeys(plan.seconds, "not reached")
    _write_index(plan, reasons)
    try:
        with ThreadPoolExecutor(plan.jobs, thread_name_prefix="repflow-gallery") as pool:
            try:
                _run_all(plan, pool, run, watch, reasons)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                workers.stop()
                raise
    finally:
        gallery = _write_index(plan, reasons)
    return _write_index(plan, reasons, _draw_images(plan, gallery, watch))


def _run_all(plan: GalleryPlan, pool: ThreadPoolExecutor, run: Run, watch: Watch, reasons: dict[str, str]) -> None:
    """Run all in the pool; ``reasons`` keeps those that failed."""

    def one(name: str) -> None:
        watch.started(name)
        (plan.directory / name / RESULT).unlink(missing_ok=True)
        run(name, plan.directory / name, plan.size, plan.seed, lambda what, share: watch.told(name, what, share))

    pending: dict[Future[None], str] = {pool.submit(one, name): name for name in plan.seconds}
    while pending:
        # With a timeout, so that Ctrl-C is taken at once on every system.
        done, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in done:
            name = pending.pop(future)
            error = future.exception()
            if error is None:
                del reasons[name]
            elif isinstance(error, ExperimentFailedError | MissingExtraError):
                reasons[name] = str(error)
            elif isinstance(error, Exception):
                reasons[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            else:
                raise error
            result = whole_result(plan.directory / name, name, plan.size, plan.seed)
            watch.finished(name, None if result is None else result["verdict"])
            _write_index(plan, reasons)


def _draw_images(plan: GalleryPlan, gallery: dict[str, Any], watch: Watch) -> list[str]:
    """Draw the images that are missing or older than their figures; notes where that was not possible."""
    stale = [
        directory
        for entry in gallery["experiments"]
        if entry["verdict"] is not None and _is_stale(directory := plan.directory / entry["name"])
    ]
    if not stale:
        return []
    watch.drawing(len(stale))
    try:
        write_images(stale)
    except (MissingExtraError, OSError) as error:
        return [str(error)]
    return []


def _is_stale(directory: Path) -> bool:
    image = directory / IMAGE
    return not image.is_file() or image.stat().st_mtime < (directory / FILES["data"]).stat().st_mtime


def _write_index(plan: GalleryPlan, reasons: dict[str, str], notes: Sequence[str] = ()) -> dict[str, Any]:
    from repflow.reporting.gallery_page import gallery_page

    entries = []
    for experiment in experiments():
        name = experiment.name
        result = whole_result(plan.directory / name, name, plan.size, plan.seed)
        if result is not None or name in plan.names:
            entries.append(_entry(plan, name, experiment.claim, result, None if result else reasons.get(name)))
    gallery = {
        "size": plan.size,
        "seed": plan.seed,
        "version": __version__,
        "seconds": round(sum(entry["seconds"] or 0.0 for entry in entries), 3),
        "notes": list(notes),
        "experiments": entries,
    }
    atomic_write_text(plan.directory / "gallery.json", json.dumps(gallery, indent=2, allow_nan=False) + "\n")
    atomic_write_text(plan.directory / "index.html", gallery_page(gallery))
    return gallery


def _entry(
    plan: GalleryPlan, name: str, claim: str, result: dict[str, Any] | None, reason: str | None
) -> dict[str, Any]:
    caption = caption_of(name)
    files: dict[str, str | None] = {}
    if result is not None:
        files |= {key: f"{name}/{file}" for key, file in {**FILES, "result": RESULT}.items()}
        image = plan.directory / name / IMAGE
        files["image"] = f"{name}/{IMAGE}" if image.is_file() and not _is_stale(image.parent) else None
    return {
        "name": name,
        "title": caption.title,
        "claim": claim,
        "see": caption.see,
        "verdict": None if result is None else result["verdict"],
        "reason": reason,
        "key": {} if result is None else caption.numbers(result),
        "seconds": None if result is None else result["seconds"],
        "command": command_of({"experiment": name, "size": plan.size, "seed": plan.seed}),
        "files": files,
    }
