"""The scan over rates, on curves that are known, and its records."""

import itertools
import math

import pytest
from rivals import scan
from rivals.cells import FEW, Job, jobs
from rivals.scan import Record, Store
from training import Cell, Setting


def job(method="default", activation="tanh", hidden=3, width=64, optimizer="sgd"):
    return Job(method, Cell(activation, hidden, width), Setting(optimizer))


def walk(record, curve, together=5):
    """Answer every wish of the record from ``curve(octave, seed)``; returns the number of runs."""
    for count in itertools.count():
        wanted = record.wanted()
        if not wanted:
            return count
        assert len(set(wanted)) == len(wanted)
        for arm in wanted[:together]:
            assert arm not in record.runs
            record.runs[arm] = curve(*arm)
        assert count < 100


def parabola(centre, width=1.0):
    return lambda octave, seed: 0.1 * 2.0 ** (abs(octave - centre) / width) + 1e-3 * seed


@pytest.mark.parametrize("together", [1, 5])
@pytest.mark.parametrize("centre", [-11.0, -4.5, -3.0, 0.0, 2.5])
def test_optimum_is_inside_and_refined(centre, together):
    record = Record(job(), {}, guess=-3)
    walk(record, parabola(centre), together)
    assert record.optimum == centre
    assert record.best == pytest.approx(0.101)
    grid = record.grid
    nearest = min(grid, key=grid.__getitem__)
    assert {nearest - 2, nearest - 1, nearest + 1, nearest + 2} <= set(grid)


def test_diverged_rates_end_the_walk_upward():
    record = Record(job(), {}, guess=3)
    walk(record, lambda octave, seed: math.inf if octave > -2 else 0.1 - 0.01 * octave if octave < -2 else 0.05)
    assert record.optimum == -2.0
    assert record.runs[-1.5, 0] == math.inf


def test_rate_goes_down_while_a_seed_diverges_and_never_ends_at_the_edge():
    record = Record(job(), {}, guess=0)
    walk(record, lambda octave, seed: math.inf if octave > 0 or (octave > -4 and seed == 1) else 0.5 - 0.1 * octave)
    assert record.optimum == -4.0
    assert min(record.curve) < -4.0
    assert record.best < math.inf


def test_a_rate_that_was_lucky_with_one_seed_is_not_the_best():
    record = Record(job(), {}, guess=0)
    lucky = {(0.0, 0): 0.01, (0.0, 1): 0.9, (0.0, 2): 0.9}
    walk(record, lambda octave, seed: lucky.get((octave, seed), 0.1 + 0.01 * abs(octave)))
    assert record.optimum == -0.5
    assert record.mean(0.0) > 0.5


def test_a_method_that_never_trains_ends():
    record = Record(job(), {}, guess=0)
    walk(record, lambda octave, seed: math.inf)
    assert record.best == math.inf


def test_ours_is_measured_at_one_without_a_sweep():
    record = Record(job("ours"), {}, guess=0)
    assert record.wanted(sweep=False) == [(0.0, 0), (0.0, 1), (0.0, 2)]
    record.runs = {(0.0, seed): 0.1 for seed in range(3)}
    assert record.wanted(sweep=False) == []
    assert record.mean(0.0) == pytest.approx(0.1)
    assert record.optimum is None


def test_records_come_back_and_a_scan_goes_on_where_it_was(tmp_path):
    record = Record(job("he", hidden=10), {"package": "torch 1"}, guess=-3, borrowed=-6.5)
    for _ in range(2):
        for arm in record.wanted()[:2]:
            record.runs[arm] = parabola(-5.0)(*arm)
    record.runs[9.0, 0] = math.inf
    store = Store(tmp_path)
    store.save(record)
    store.write_pack(tmp_path / "pack.jsonl")
    assert Store(tmp_path / "none", tmp_path / "pack.jsonl").records[record.job].runs == record.runs
    again = Store(tmp_path).records[record.job]
    assert again == record
    assert again.wanted() == record.wanted()
    walk(again, parabola(-5.0))
    assert again.optimum == -5.0
    assert (-6.5, 0) in again.runs


def test_a_record_of_another_version_is_measured_again_and_the_nearest_cell_is_the_guess(tmp_path, monkeypatch):
    class Fake:
        guess = {"sgd": -3, "adam": -9}  # noqa: RUF012

        def signature(self, cell, setting):
            return {"package": "fake 2"}

        def facts(self, cell, setting):
            return {}

    monkeypatch.setattr(scan, "method_of", lambda name: Fake())
    store = Store(tmp_path)
    for one, centre in ((job(), -6.0), (job(activation="relu", hidden=10), -1.0)):
        record = Record(one, {"package": "fake 2"}, -3)
        walk(record, parabola(centre))
        store.save(record)
    assert store.open(job()).optimum == -6.0
    fresh = store.open(job(hidden=10))
    assert (fresh.runs, fresh.guess, fresh.borrowed) == ({}, -6, -6.0)
    assert store.open(job(hidden=10, optimizer="adam")).guess == -9
    store.records[job()].signature = {"package": "fake 1"}
    assert store.open(job()).runs == {}


def test_cells_are_those_of_the_protocol():
    work = jobs()
    assert len(set(work)) == len(work)
    assert [one.cost for one in work] == sorted(one.cost for one in work)
    ours = [one for one in work if one.method == "ours"]
    main = {(c.activation, c.hidden, c.width, s.optimizer) for c, s in ((o.cell, o.setting) for o in ours)}
    for activation, hidden, width, optimizer in itertools.product(
        ("tanh", "relu", "gelu"), (3, 10, 30), (64, 256), ("sgd", "adam")
    ):
        assert (activation, hidden, width, optimizer) in main
    assert {one.method for one in work if one.cell.width == 1024 or one.cell.hidden == 100} == set(FEW)
    assert sum(one.cell.data == "cancer" for one in ours) == 6
    assert {one.cell.activation for one in ours if one.setting.loss == "cross_entropy"} == {"tanh", "relu", "gelu"}
    assert not any(one.method == "dks" and one.cell.activation == "relu" for one in work)
