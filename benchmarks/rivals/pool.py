"""Scans on several processes: one thread each, and the runs that a scan wants at the same time side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait

import torch
from rivals.cells import Job
from rivals.scan import Record, Store, together, trained

Arms = tuple[tuple[float, int], ...]


def run_side_by_side(
    work: Sequence[Job], store: Store, workers: int, report: Callable[[Record], None], sweep: bool = True
) -> None:
    """Train what is missing of all jobs, the costly ones first.

    Parameters
    ----------
    work
        What to scan.
    store
        Written whenever the runs that a scan wanted are back.
    workers
        Processes.
    report
        Called with each record that is complete.
    sweep
        Of ours: False for lr = 1.0 only.
    """
    reported: set[Job] = set()

    def once(record: Record) -> None:
        if record.job not in reported:
            reported.add(record.job)
            report(record)

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        # The rate found at 3x64, which a scan tries unchanged at its end, may come in after that end.
        while left := {job: record for job in work if (record := store.open(job)).wanted(sweep)}:
            _scan(left, store, pool, workers, once, sweep)


def _scan(
    records: dict[Job, Record],
    store: Store,
    pool: Executor,
    workers: int,
    report: Callable[[Record], None],
    sweep: bool,
) -> None:
    """Every record until it wants nothing more."""
    queue: list[tuple[Job, Arms]] = []
    running: dict[Future[tuple[list[float], float]], tuple[Job, Arms]] = {}
    outstanding = dict.fromkeys(records, 0)

    def enqueue(job: Job) -> bool:
        wanted, size = records[job].wanted(sweep), together(job)
        arms = [tuple(wanted[start : start + size]) for start in range(0, len(wanted), size)]
        queue.extend((job, some) for some in arms)
        queue.sort(key=lambda entry: entry[0].cost)
        outstanding[job] = len(arms)
        return bool(arms)

    for job in records:
        enqueue(job)
    while queue or running:
        while queue and len(running) < workers:
            job, arms = queue.pop()
            running[pool.submit(trained, job, list(arms))] = (job, arms)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job, arms = running.pop(future)
            losses, seconds = future.result()
            record = records[job]
            record.runs.update(zip(arms, losses, strict=True))
            record.seconds += seconds
            outstanding[job] -= 1
            if not outstanding[job]:
                store.save(record)
                if not enqueue(job):
                    report(record)
