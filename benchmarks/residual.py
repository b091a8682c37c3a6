"""Residual networks and a transformer of a third party: does one rate hold over width and depth, and need a sweep?

    python benchmarks/residual.py                          # about ten minutes on one core; every run stored; resumable
    python benchmarks/residual.py --methods ours           # one method
    python benchmarks/residual.py --report docs/residual.md    # write the tables into the page, between its marks

A pre-norm residual MLP (width 32, 128) and GPT-2 of ``transformers`` (width 16, 64; four heads; the digits as four
tokens of two rows), 2 and 8 blocks, cross-entropy, 200 steps of AdamW, batch 100; loss over the whole data set after
training. ``rf.tune`` against ``mup``, CompleteP (written here) and the plain model with its embedding's rate scaled by
width; on GPT-2 each rival also with hidden weights of 1/sqrt(width) in place of 0.02. Every method sweeps its own rate:
octaves until the best has a worse one on either side, first by one seed, then by two. Beside that: ours at lr = 1.0,
and each method at its best rate of the smallest size. A record of ours is of the plan stored beside it: delete both to
measure a changed ``tune``. Extras: pip install mup transformers.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from residual_peers.methods import METHODS, methods
from residual_peers.models import CELLS
from residual_peers.report import write
from residual_peers.scan import Record, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/residual"))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    parser.add_argument("--cells", nargs="*", default=[cell.name for cell in CELLS], help="such as mlp-32x2")
    parser.add_argument("--report", type=Path, help="write the tables of what is stored into this page, and end")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.report:
        write(options.out, options.report)
        return
    torch.set_num_threads(1)
    rules = methods(options.out)
    started = time.perf_counter()
    for name in options.methods:
        for cell in CELLS:
            if cell.name not in options.cells or not rules[name].takes(cell):
                continue
            record = Record.open(options.out, cell, name)
            smallest = Record.open(options.out, cell.base, name).optimum
            centre = rules[name].guess[cell.model] if smallest is None else smallest
            unchanged = () if smallest is None or cell == cell.base else (smallest,)
            run(record, rules[name], centre, (*((0,) if name == "ours" else ()), *unchanged))
            best = f"best 2^{record.optimum} {record.loss(record.optimum):.4f}"
            print(f"{time.perf_counter() - started:6.0f} s  {name:10} {cell.name:12} {best}", flush=True)


if __name__ == "__main__":
    main()
