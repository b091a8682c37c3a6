"""A ratio to a rival taken apart."""

import pytest
from rivals.cells import Job, jobs
from rivals.report import page
from rivals.scan import Store
from rivals.shortfall import OLDER, against, shares
from rivals.summary import Results
from tests.benchmarks.test_report import complete
from training import Cell, Setting


def test_rate_and_rest_make_the_ratio_and_the_larger_is_the_cause(tmp_path):
    store, setting = Store(tmp_path), Setting("sgd")
    ours = {Cell("tanh", 10, 64): (1.0, 0.02), Cell("relu", 10, 64): (0.0, 0.08), Cell("gelu", 10, 64): (0.0, 0.001)}
    for job in jobs():
        octave, loss = ours.get(job.cell, (0.0, 0.02)) if job.method == "ours" else (-3.0, 0.02)
        store.save(complete(job, octave, loss))
    results = Results(store)
    found = {share.cell: share for share in shares(results, setting, "digits")}
    tanh, relu = found[Cell("tanh", 10, 64)], found[Cell("relu", 10, 64)]
    assert (tanh.ratio, tanh.rate, tanh.rest, tanh.cause) == (pytest.approx(1.25), pytest.approx(1.25), 1.0, "rate")
    assert (relu.ratio, relu.rate, relu.rest, relu.cause) == (4.0, 1.0, 4.0, "initialisation")
    assert not tanh.solved
    assert found[Cell("gelu", 10, 64)].solved
    assert max(against(results, setting, "digits", OLDER)) == pytest.approx(4.0)
    text = page(results)
    assert (
        "| relu 10x64 | SGD, squared error | 0.080 | default 0.020 | 4.000 | 1.000 | 4.000 | initialisation | no |"
        in text
    )
    assert "| SGD, squared error, digits | 24 | 2 | 1 | 1 | 0 |" in text


def test_a_diverged_cell_has_no_share(tmp_path):
    store = Store(tmp_path)
    cell = Cell("tanh", 10, 64)
    for job in jobs():
        store.save(complete(job, 0.0, float("inf") if job == Job("ours", cell, Setting("sgd")) else 0.02))
    assert cell not in [share.cell for share in shares(Results(store), Setting("sgd"), "digits")]
