"""Does the best learning rate move with depth and width? repflow's plan against the packages that answer it in part.

    python benchmarks/transfer.py --check                        # the batched trainer against each package's own loop
    python benchmarks/transfer.py --out benchmarks/results/transfer                       # everything; resumable
    python benchmarks/transfer.py --out benchmarks/results/transfer --methods ours        # one method
    python benchmarks/transfer.py --out benchmarks/results/transfer --jobs 16             # on sixteen processes
    python benchmarks/transfer.py --out benchmarks/results/transfer --report docs/transfer.md   # tables, figure

Digits standardised by one mean and one standard deviation, 200 steps of batch 100, (1/2) squared error summed over
outputs; H hidden layers x width n for 3, 10, 30 x 64, 256, tanh, relu, gelu, SGD and Adam; 3 x 1024, 10 x 1024 and
100 x 256 with SGD for some of the methods; three cells on breast cancer; each activation with cross-entropy. Every
method sweeps its own rate: octaves, of which the edge is never the best, one refinement by half an octave, three seeds
at the two best. A run stops when its loss exceeds ten times the start. Beside that: ours at lr = 1.0, and each method
at its rate of 3 x 64. The packages: pip install -e '.[rivals]' and
pip install --no-deps mup (it asks for torchvision, which it doesn't use).
"""

from __future__ import annotations

import argparse
import time
from itertools import count
from pathlib import Path

import torch
from rivals import METHODS, check
from rivals import method as method_of
from rivals.cells import ACTIVATIONS, jobs
from rivals.figure import figures, picture
from rivals.pool import run_side_by_side
from rivals.report import page
from rivals.scan import SEEDS, Record, Store, run
from rivals.summary import Results
from training import Cell, Setting

from repflow.results import atomic_write_text

#: Records of earlier runs, from which a fresh clone goes on.
PACK = Path(__file__).parent / "records" / "transfer.jsonl"
#: Runs of a whole record, diverged ones as the part that they take.
RUNS = 10
AGREES = 1e-4


def check_all(methods: list[str], steps: int = 20) -> float:
    """Largest relative difference between the batched trainer and the packages' own models, optimisers and losses."""
    worst = 0.0
    for name in methods:
        method = method_of(name)
        off, learned = 0.0, 0.0
        for activation in ACTIVATIONS:
            cell = Cell(activation, 3, 128)
            if not method.takes(cell):
                continue
            for optimizer in ("sgd", "adam"):
                for loss in ("mse", "cross_entropy"):
                    lr = 2.0 ** (method.guess[optimizer] - 2)
                    found = check(method, cell, Setting(optimizer, loss, steps=steps), lr)
                    off, learned = max(off, found[0]), max(learned, found[1])
        print(f"{name:14} largest relative difference of losses {off:.1e}, of which up to {learned:.0%} learned")
        worst = max(worst, off)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/transfer"))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--cells", nargs="*", help="only these, such as tanh-3x64 or relu-3x64-cancer")
    parser.add_argument("--optimizers", nargs="*", default=["sgd", "adam"])
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--unswept", action="store_true", help="of ours, lr = 1.0 only")
    parser.add_argument(
        "--check", action="store_true", help="compare the trainer with the packages' own loops, and end"
    )
    parser.add_argument("--pack", action="store_true", help=f"gather all records in {PACK.name}, which is committed")
    parser.add_argument("--report", type=Path, help="write the Markdown page of what is stored, and a figure beside it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.check:
        worst = check_all(options.methods)
        if worst > AGREES:
            raise SystemExit(f"the batched trainer is off by {worst:.1e}")
        return
    if options.report or options.pack:
        stored = Store(options.out, PACK)
        if options.pack:
            stored.write_pack(PACK)
        if options.report:
            write_report(stored, options.report)
        return
    work = [
        job
        for job in jobs()
        if job.method in options.methods
        and job.setting.optimizer in options.optimizers
        and (not options.cells or job.cell.name in options.cells)
    ]
    store, sweep = Store(options.out, PACK), not options.unswept
    left = [job for job in work if store.open(job).wanted(sweep)]
    seconds = sum(job.cost * (RUNS if sweep or job.method != "ours" else SEEDS) for job in left)
    print(f"{len(work) - len(left)} scans stored, {len(left)} to run: about {seconds / 60:.0f} minutes on one core")
    started, done = time.perf_counter(), count(1)

    def report(record: Record) -> None:
        best = record.optimum
        shown = "" if best is None else f"best 2^{best:<5g} {record.best:.4f}"
        seconds = time.perf_counter() - started
        print(f"{next(done)}/{len(left)} {seconds:6.0f} s  {record.job.name:48} {shown}", flush=True)

    if options.jobs > 1:
        run_side_by_side(left, store, options.jobs, report, sweep)
        return
    for job in left:
        record = store.open(job)
        run(record, store.save, sweep)
        report(record)


def write_report(store: Store, path: Path) -> None:
    """The page at ``path``, its pictures in ``images/``; the interactive figures stay with the records."""
    from repflow.figures import figure_page

    results = Results(store)
    found, shown = figures(results), []
    for name, figure in found.items():
        optimizer, activation = name.split("-")
        title = f"Loss against rate: {'SGD' if optimizer == 'sgd' else 'Adam'}, {activation}"
        image = f"images/{path.stem}-{name}.png"
        if picture(figure, title, path.parent / image):
            shown.append((f"{title}; one panel a method, minima marked", image))
    atomic_write_text(path, page(results, shown))
    for name, figure in found.items():
        figure.update_layout(title_text=name.replace("-", ", "), margin_t=70)
    html = store.folder / "figures" / f"{path.stem}.html"
    html.parent.mkdir(parents=True, exist_ok=True)
    caption = "One panel a method. Lines: the first seed. Diamonds: the best rate, mean of three seeds."
    atomic_write_text(html, figure_page(found, "Loss against rate", caption))
    print(f"{path}, {html}; {len(results.missing)} of {len(results.work)} scans are missing")


if __name__ == "__main__":
    main()
