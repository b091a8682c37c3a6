"""Numbers and page of the transfer benchmark, from records that are made up."""

import math

import pytest
from rivals.cells import Job, jobs
from rivals.figure import panels
from rivals.report import page
from rivals.scan import SEEDS, Record, Store
from rivals.summary import Results, borrowed, compare, drift, fit, optima, relative_variance
from training import Cell, Setting


def complete(job, octave, loss):
    """A record whose scan is done, with a curve around the optimum."""
    runs = {(octave + step, 0): loss * 2.0 ** abs(step) for step in (-2, -1, -0.5, 0, 0.5, 1, 2)}
    runs |= {(octave, seed): loss for seed in range(SEEDS)}
    runs |= {(octave - 0.5, seed): loss * 2.0**0.5 for seed in range(SEEDS)}  # the second of the two best
    if job.method == "ours":
        runs |= {(0.0, seed): 1.25 * loss for seed in range(SEEDS)} if octave else {}
    signature = {"plan": "x"} if job.method == "ours" else {"package": f"{job.method} 1.0"}
    return Record(job, signature, 0, runs)


@pytest.fixture
def results(tmp_path):
    """Rivals: the optimum is a plane in log depth and log width; ours: always lr = 2, and a loss half of theirs."""
    store = Store(tmp_path)
    for job in jobs():
        plane = round(math.log2(job.cell.hidden + 1)) - round(math.log2(job.cell.width))
        record = complete(job, 1.0 if job.method == "ours" else float(plane), 0.02 if job.method == "ours" else 0.04)
        if job.reference is not None:
            record.borrowed = store.records[job.reference].optimum
            record.runs.setdefault((record.borrowed, 0), math.inf)
        store.save(record)
    return Results(store)


def test_comparison():
    found = compare([(1.0, 2.0), (2.0, 1.0), (1.0, 1.05), (None, 1.0), (math.inf, math.inf)])
    assert found.ratios == (0.5, 2.0, 1.0 / 1.05)
    assert found.counts == (1, 1, 1)
    assert found.mean == pytest.approx((1.0 / 1.05) ** (1 / 3))
    assert compare([(math.inf, 1.0), (1.0, 1.0)]).mean == math.inf
    assert compare([(1.0, math.inf)]).mean == 0.0
    assert math.isnan(compare([]).mean)


def test_drift_and_fit():
    assert drift([-3.0, 0.5, -1.0]) == 3.5
    assert drift([]) is None
    cells = [Cell("tanh", hidden, width) for hidden in (3, 7, 15) for width in (64, 256)]
    octaves = [-2.0 - 1.5 * math.log2(cell.hidden + 1) + 0.5 * math.log2(cell.width) for cell in cells]
    found = fit(cells, octaves)
    assert (found.depth, found.width, found.rest) == pytest.approx((-1.5, 0.5, 0.0), abs=1e-9)
    assert fit([Cell("tanh", hidden, 64) for hidden in (3, 7, 15, 31)], [0.0] * 4) is None


def test_range_of_the_theory():
    assert relative_variance(Cell("relu", 30, 64)) == pytest.approx(5 * 30 / 64)
    assert relative_variance(Cell("tanh", 30, 64)) == pytest.approx(2 / 3 * 30 / 64)


def test_summary_of_everything(results):
    setting = Setting("sgd")
    cell = Cell("tanh", 10, 64)
    assert results.missing == []
    assert results.unswept(cell, setting) == pytest.approx(0.025)
    assert results.rival(cell, setting)[1] == pytest.approx(0.04)
    _, octaves = optima(results, "he", setting, lambda c: c.activation == "tanh")
    assert drift(octaves) == max(octaves) - min(octaves) > 3
    _, octaves = optima(results, "ours", setting)
    assert set(octaves) == {1.0}
    cost, diverged = borrowed(results, "ours", setting)
    assert (cost.mean, diverged) == (pytest.approx(1.0), 0)
    cost, diverged = borrowed(results, "he", setting)
    assert cost.mean > 1.0
    assert diverged > 0


def test_what_learns_nothing_has_no_best_rate(results):
    job = Job("default", Cell("relu", 30, 64), Setting("sgd"))
    results.store.records[job] = complete(job, -5.0, 0.45)
    assert not results.trained(job)
    cells, _ = optima(results, "default", Setting("sgd"))
    assert job.cell not in cells
    assert Cell("relu", 30, 256) in cells


def test_page_of_everything(results):
    text = page(results, [("a figure", "images/a.png")])
    assert "Not measured yet" not in text
    assert "![a figure](images/a.png)" in text
    assert (
        "| SGD, squared error, digits | best of all, per cell | 24 | 0.625 | 0.625 | 24 / 0 / 0 | 0 | 0.500 | 0.500 |"
        in text
    )
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert all(len({row.count("|") for row in rows if row}) == 1 for rows in tables)
    assert "| tanh 10x64 | 0.10 | 0.025 | 0.020 @2^1 | default 0.040 | 0.625 | 0.500 |" in text
    assert "| ours | 0 (0) | 0 (0) | 0 (0) | 0 (0) | 0 (0) | 0 (0) |" in text
    assert "| SGD, squared error, digits | 21 | 1 to 1 | none |" in text
    rows = [line for line in text.splitlines() if line.startswith("| relu 30x64 |")]
    assert len(rows) == 4  # SGD and Adam, ours against the best and every rival


def test_page_of_a_part_says_what_is_missing(tmp_path):
    store = Store(tmp_path)
    assert f"**Not measured yet**, {len(jobs())} of {len(jobs())} scans" in page(Results(store))
    gone = Job("anyinit", Cell("gelu", 30, 256), Setting("adam"))
    for job in jobs():
        if job != gone:
            store.save(complete(job, -1.0, 0.04))
    text = page(Results(store))
    assert f"**Not measured yet**, 1 of {len(jobs())} scans: anyinit 1 (gelu 30x256 adam)" in text
    # A cell whose rivals are not all measured has no best rival yet.
    row = next(line for line in text.split("Adam, squared error\n")[1].splitlines() if line.startswith("| gelu 30x256"))
    assert row.split("|")[5].strip() == "-"


def test_figure_has_a_panel_a_method_with_every_minimum(results):
    figure = panels(results, "tanh", Setting("sgd"))
    titles = [note.text for note in figure.layout.annotations]
    assert titles == [
        "default", "he", "mup-16", "mup-64", "mup-he-16", "mup-he-64", "anyinit", "dks", "unit-scaling", "<b>ours</b>"
    ]  # fmt: skip
    minima = [trace for trace in figure.data if trace.mode == "markers"]
    assert len(minima) == sum(job.cell.activation == "tanh" and job.setting == Setting("sgd")
                              and job.cell.data == "digits" for job in jobs())  # fmt: skip
