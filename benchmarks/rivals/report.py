"""The page of the transfer benchmark: Markdown tables from whatever records there are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rivals import METHODS, RIVALS
from rivals.cells import ACTIVATIONS, OPTIMIZERS, Job
from rivals.shortfall import OLDER, SMALL, Share, against, shares
from rivals.summary import (
    EQUAL,
    FAMILIES,
    NOTHING,
    Comparison,
    Results,
    borrowed,
    compare,
    drift,
    fit,
    optima,
    relative_variance,
)
from training import Cell, Setting

LIMIT = 1.2
"""A ratio to the best rival up to which ours counts as holding, seeds considered."""
GOALS = {"sgd": 0.45, "adam": 0.8}
"""Geometric means of the ratio to the best rival that were aimed at."""
_TITLES = {"sgd": "SGD", "adam": "Adam", "mse": "squared error", "cross_entropy": "cross-entropy"}


def page(results: Results, figures: Sequence[tuple[str, str]] = ()) -> str:
    """The whole page; ``figures`` are (caption, path)."""
    parts = [_head(results), _missing(results), _overall(results)]
    parts += [f"![{caption}]({path})\n" for caption, path in figures]
    parts += [_goals(results), _losses(results), _unit(results), _drift(results), _fits(results), _borrowed(results)]
    parts += [_cells(results, setting) for setting in results.settings()]
    return "\n".join(part for part in parts if part)


def number(value: float | None) -> str:
    """A loss or a ratio."""
    if value is None or math.isnan(value):
        return "-"
    return "diverged" if value == math.inf else f"{value:.2g}" if value < 0.01 else f"{value:.3f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)) + "\n"


def label(cell: Cell) -> str:
    """A cell in a table."""
    return f"{cell.activation} {cell.hidden}x{cell.width}" + ("" if cell.data == "digits" else f", {cell.data}")


def _head(results: Results) -> str:
    packages = sorted(
        {record.signature["package"] for record in results.store.records.values() if "package" in record.signature}
    )
    seconds = sum(record.seconds for record in results.store.records.values())
    runs = sum(len(record.runs) for record in results.store.records.values())
    return f"""# Does the best rate move with depth and width?

    python benchmarks/transfer.py --check                             # the trainer against the packages' own loops
    python benchmarks/transfer.py --out benchmarks/results/transfer   # the runs; resumable
    python benchmarks/transfer.py --out benchmarks/results/transfer --report docs/transfer.md

wrote this page and its figures: {runs} runs, {seconds / 3600:.1f} hours on one core.

"H x n" is H hidden layers of width n, L = H + 1. Digits standardised by one mean and one standard deviation, 200
steps of batch 100, (1/2) squared error summed over outputs; losses are over the whole data set after training, the
mean of three seeds. Every method sweeps its own rate: octaves, of which the edge is never the best, half an octave to
either side of the best, three seeds at the two best, of which the better counts; where a seed diverges at both, half an
octave lower. A run stops when its loss exceeds ten times the start. `cancer` is scikit-learn's breast cancer, features
standardised.

The rivals are run from their own packages ({", ".join(packages) or "none yet"}):
their layers, initialisation, activations, losses and optimisers. Default is PyTorch's own initialisation; He is
`kaiming_normal_` with the gain of relu and biases 0 in every layer; `mup`, with its default initialisation and with
He, at base widths 16 and 64 (behind the name); AnyInit in its default, analytic mode; `dks` with DKS at its defaults
for tanh and gelu (it advises against relu), inputs as for all others; `unit-scaling` with biases, its own losses, and
its rule for scaling activations that it lacks (relu, tanh). AnyInit and `dks` give no rates: one for all parameters.
At width 1024 and at depth 100 only default, He and `mup` with He at base 16 are run. `ours` is `rf.tune(model, x, y)`
with its defaults; its rate is in units of the predicted best one, so that lr = 1.0 is used without a sweep.
"""


def _missing(results: Results) -> str:
    missing = results.missing
    stale = [job for job in results.store.records if job.method == "ours" and results.store.outdated(job)]
    warning = f"**The plan has changed since {len(stale)} of the cells of ours were measured.**\n\n" if stale else ""
    if not missing:
        return warning
    by_method = {method: [job for job in missing if job.method == method] for method in METHODS}
    text = "; ".join(
        f"{method} {len(left)}"
        + (f" ({', '.join(f'{label(job.cell)} {job.setting.optimizer}' for job in left)})" if len(left) <= 6 else "")
        for method, left in by_method.items()
        if left
    )
    return f"{warning}**Not measured yet**, {len(missing)} of {len(results.work)} scans: {text}.\n"


def _overall(results: Results) -> str:
    rows = []
    for setting in results.settings():
        for data in ("digits", "cancer"):
            cells = results.cells(setting, data)
            title = f"{_TITLES[setting.optimizer]}, {_TITLES[setting.loss]}, {data}"
            # Each rival alone where there are cells enough for a mean to say something.
            families = FAMILIES if len(cells) > 6 else {}
            for family, methods in {"best of all, per cell": RIVALS, **families}.items():
                found = [results.rival(cell, setting, methods) for cell in cells]
                losses = [None if pair is None else pair[1] for pair in found]
                one = compare(zip([results.unswept(cell, setting) for cell in cells], losses, strict=True))
                swept = compare(zip([results.best(Job("ours", cell, setting)) for cell in cells], losses, strict=True))
                if one.ratios or swept.ratios:
                    rows.append([title, family, *_compared(one), number(swept.mean), number(swept.largest)])
                    title = ""
    columns = ["", "rival, after its sweep", "cells", "ratio at lr = 1.0", "largest", "better / equal / worse"]
    return (
        "## Ours against each rival\n\nLoss of ours over that of the rival after its sweep: geometric mean over cells, "
        "the largest, and the number of cells in which ours at lr = 1.0 is better, equal (within a factor of "
        f"{EQUAL:g}) or worse, and above {LIMIT:g} times the rival; of `mup` the better base in each cell.\n\n"
        + table([*columns, f"above {LIMIT:g}", "ratio, ours swept too", "largest"], rows)
    )


def _compared(one: Comparison) -> list[str]:
    counts = " / ".join(map(str, one.counts)) if one.ratios else "-"
    above = str(sum(ratio > LIMIT for ratio in one.ratios)) if one.ratios else "-"
    return [str(len(one.ratios)), number(one.mean), number(one.largest), counts, above]


def _goals(results: Results) -> str:
    rows = []
    for optimizer, goal in GOALS.items():
        setting = Setting(optimizer)
        for title, rivals in {"activations and forward pass unchanged": OLDER, "all": RIVALS}.items():
            ratios = against(results, setting, "digits", rivals)
            if ratios:
                above = sum(ratio > LIMIT for ratio in ratios)
                mean = number(compare([(ratio, 1.0) for ratio in ratios]).mean)
                rows.append([_TITLES[optimizer], title, str(len(ratios)), mean, f"{goal:g}", str(above)])
    if not rows:
        return ""
    columns = ["", "rivals", "cells", "ratio at lr = 1.0", "goal", f"cells above {LIMIT:g} (goal: 0)"]
    return (
        "## The goals\n\nThe digits with the squared error, geometric mean over cells, against the best rival of each "
        "cell after its sweep. `dks` and `unit-scaling` change the activations or put constants into the forward pass, "
        "which a plan does not.\n\n" + table(columns, rows)
    )


def _losses(results: Results) -> str:
    rows, counts = [], []
    for setting in results.settings():
        for data in ("digits", "cancer"):
            found = shares(results, setting, data)
            lost = [share for share in found if share.ratio > LIMIT]
            if found:
                by_rate = sum(share.cause == "rate" for share in lost)
                title = f"{_TITLES[setting.optimizer]}, {_TITLES[setting.loss]}, {data}"
                solved = str(sum(share.solved for share in lost))
                counts.append([title, str(len(found)), str(len(lost)), str(by_rate), str(len(lost) - by_rate), solved])
            rows += [_lost(share) for share in lost]
    if not counts:
        return ""
    return (
        f"## Where it loses, and why\n\nEvery cell in which ours at lr = 1.0 has more than {LIMIT:g} times the loss of "
        "the best rival, the ratio taken apart: *rate* is what a sweep of ours gains, *rest* what is left then, and "
        f"the larger one is called the cause. *Solved* is a cell in which ours is below {SMALL:g} of the loss of "
        "f = 0: both classify the data, and the ratio is one of two small numbers.\n\n"
        + table(["", "cells", f"above {LIMIT:g}", "by the rate", "by the initialisation", "solved"], counts)
        + "\n"
        + table(["cell", "", "ours at lr = 1.0", "best rival", "ratio", "rate", "rest", "cause", "solved"], rows)
    )


def _lost(share: Share) -> list[str]:
    return [
        label(share.cell),
        f"{_TITLES[share.setting.optimizer]}, {_TITLES[share.setting.loss]}",
        number(share.one),
        f"{share.name} {number(share.rival)}",
        *map(number, (share.ratio, share.rate, share.rest)),
        share.cause,
        "yes" if share.solved else "no",
    ]


def _unit(results: Results) -> str:
    rows = []
    for setting in results.settings():
        for data in ("digits", "cancer"):
            cells = [cell for cell in results.cells(setting, data) if relative_variance(cell) <= 1.0]
            octaves = {cell: results.optimum(Job("ours", cell, setting)) for cell in cells}
            known = {cell: octave for cell, octave in octaves.items() if octave is not None}
            if known:
                far = [f"{label(cell)} (2^{octave:g})" for cell, octave in known.items() if abs(octave) > 1.0]
                title = f"{_TITLES[setting.optimizer]}, {_TITLES[setting.loss]}, {data}"
                shown = f"{min(known.values()):g} to {max(known.values()):g}"
                rows.append([title, str(len(known)), shown, ", ".join(far) or "none"])
    if not rows:
        return ""
    return (
        "## Is lr = 1.0 the best rate?\n\nThe best octave of ours over the cells with nu (L - 1)/n <= 1, and those in "
        "which it lies more than one octave from lr = 1.0.\n\n"
        + table(["", "cells", "best octave", "farther than one octave"], rows)
    )


def _drift(results: Results) -> str:
    text = (
        "## Drift of the best rate\n\nOctaves between the largest and the smallest best rate over the cells of the "
        "digits (squared error); in brackets over those with nu (L - 1)/n <= 1 only. Cells in which a method learns "
        f"nothing (loss above {NOTHING:g} of that of f = 0) are left out, their number behind the slash.\n\n"
    )
    columns = ["method", *(f"{a}, {_TITLES[o]}" for o in OPTIMIZERS for a in ACTIVATIONS)]
    rows = []
    for method in METHODS:
        row = [method]
        for optimizer in OPTIMIZERS:
            setting = Setting(optimizer)
            for activation in ACTIVATIONS:
                _, every = optima(results, method, setting, lambda c, a=activation: c.activation == a)  # type: ignore[misc]
                _, inside = optima(
                    results,
                    method,
                    setting,
                    lambda c, a=activation: c.activation == a and relative_variance(c) <= 1.0,  # type: ignore[misc]
                )
                lost = sum(
                    results.optimum(Job(method, cell, setting)) is not None
                    and not results.trained(Job(method, cell, setting))
                    for cell in results.cells(setting, "digits")
                    if cell.activation == activation
                )
                whole, part = drift(every), drift(inside)
                shown = "-" if whole is None else f"{whole:g} ({'-' if part is None else f'{part:g}'})"
                row.append(shown + (f" / {lost}" if lost else ""))
        rows.append(row)
    return text + table(columns, rows)


def _fits(results: Results) -> str:
    text = (
        "## The optimum against depth and width\n\nlog2(best rate) = a + b log2 L + c log2 n by least squares over the "
        "same cells: b, c (and the residuals' rms, octaves). A unit that needs no sweep has b = c = 0.\n\n"
    )
    columns = ["method", *(f"{a}, {_TITLES[o]}" for o in OPTIMIZERS for a in ACTIVATIONS)]
    rows = []
    for method in METHODS:
        row = [method]
        for optimizer in OPTIMIZERS:
            for activation in ACTIVATIONS:
                found = fit(*optima(results, method, Setting(optimizer), lambda c, a=activation: c.activation == a))  # type: ignore[misc]
                row.append("-" if found is None else f"{found.depth:+.2f}, {found.width:+.2f} ({found.rest:.2f})")
        rows.append(row)
    return text + table(columns, rows)


def _borrowed(results: Results) -> str:
    text = (
        "## The rate of 3x64, used unchanged\n\nLoss at the best rate of the same method at 3x64 over the loss at the "
        "cell's own best rate (one seed): geometric mean and largest over the cells that it trains and where the rate "
        "doesn't diverge, and how many diverge. For ours also lr = 1.0 against its own best rate, three seeds.\n\n"
    )
    rows = []
    for method in METHODS:
        row = [method]
        for optimizer in OPTIMIZERS:
            found, diverged = borrowed(results, method, Setting(optimizer))
            row += [number(found.mean), number(found.largest), str(diverged) if found.ratios or diverged else "-"]
        rows.append(row)
    row = ["ours at lr = 1.0"]
    for optimizer in OPTIMIZERS:
        setting = Setting(optimizer)
        cells = results.cells(setting, "digits")
        pairs = [(results.unswept(cell, setting), results.best(Job("ours", cell, setting))) for cell in cells]
        finite = compare([(a, b) for a, b in pairs if a != math.inf])
        row += [number(finite.mean), number(finite.largest), str(sum(a == math.inf for a, _ in pairs))]
    columns = ["method", *(f"{_TITLES[o]}, {what}" for o in OPTIMIZERS for what in ("mean", "largest", "diverged"))]
    return text + table(columns, [*rows, row])


def _cells(results: Results, setting: Setting) -> str:
    cells = results.cells(setting)
    rows, every = [], []
    for cell in cells:
        one, job = results.unswept(cell, setting), Job("ours", cell, setting)
        swept, rival = results.best(job), results.rival(cell, setting)
        other = None if rival is None else rival[1]
        ratios = [compare([(loss, other)]).mean for loss in (one, swept)]
        rows.append(
            [
                label(cell),
                f"{relative_variance(cell):.2f}",
                number(one),
                _at(results, job),
                "-" if rival is None else f"{rival[0]} {number(other)}",
                *map(number, ratios),
            ]
        )
        every.append([label(cell), *(_at(results, Job(method, cell, setting)) for method in RIVALS)])
    title = f"{_TITLES[setting.optimizer]}, {_TITLES[setting.loss]}"
    columns = [
        "cell",
        "nu (L - 1)/n",
        "ours at lr = 1.0",
        "ours swept",
        "best rival",
        "ratio at lr = 1.0",
        "ratio swept",
    ]
    return (
        f"## Every cell: {title}\n\n{table(columns, rows)}\nEach rival after its sweep, loss @ best rate:\n\n"
        + table(["cell", *RIVALS], every)
    )


def _at(results: Results, job: Job) -> str:
    octave, best = results.optimum(job), results.best(job)
    return "-" if octave is None else f"{number(best)} @2^{octave:g}"
