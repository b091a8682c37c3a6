"""Scans on several processes give the records that one process gives."""

import torch
from rivals.cells import Job
from rivals.pool import run_side_by_side
from rivals.scan import Store, run
from training import Cell, Setting


def test_two_processes_find_what_one_finds(tmp_path):
    torch.set_num_threads(1)
    # The second tries the rate of the first, its 3x64, at its end.
    work = [Job("he", Cell("tanh", hidden, 64), Setting("sgd", steps=3)) for hidden in (3, 4)]
    alone, both = Store(tmp_path / "alone"), Store(tmp_path / "both")
    for job in work:
        run(alone.open(job), alone.save)
    reported = []
    run_side_by_side(work, both, 2, lambda record: reported.append(record.job))
    assert sorted(job.name for job in reported) == sorted(job.name for job in work)
    for job in work:
        assert both.records[job].optimum == alone.records[job].optimum
        assert both.records[job].borrowed == alone.records[job].borrowed
        assert both.open(job).wanted() == []
