"""Seeded blocks: streams, order, interruption, checkpoints."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from repflow import blocks
from repflow.blocks import (
    Checkpoint,
    check_seed,
    derived_seed,
    digest,
    generator,
    progress_bar,
    require_memory,
    run_blocks,
)


def test_streams_depend_on_seed_and_key_alone():
    first = generator(3, 1, 2).standard_normal(8)
    assert np.array_equal(first, generator(3, 1, 2).standard_normal(8))
    others = [generator(4, 1, 2), generator(3, 2, 1), generator(3, 1), generator(3, 1, 2, 0)]
    assert all(not np.array_equal(first, other.standard_normal(8)) for other in others)


def test_derived_seeds_are_seeds_of_their_own():
    seeds = [derived_seed(3, 1, 2), derived_seed(4, 1, 2), derived_seed(3, 2, 1), derived_seed(3, 1), derived_seed(3)]
    assert seeds[0] == derived_seed(3, 1, 2)
    assert len(set(seeds)) == len(seeds)
    assert all(check_seed(seed) == seed < 2**62 for seed in seeds)


def test_streams_are_independent_normals():
    draws = np.stack([generator(0, block).standard_normal(1000) for block in range(100)])
    assert abs(draws.mean()) < 5 / np.sqrt(draws.size)
    correlation = np.corrcoef(draws)[np.triu_indices(100, 1)]
    assert np.abs(correlation).max() < 6 / np.sqrt(1000)


@pytest.mark.parametrize("threads", [1, 3])
def test_results_are_absorbed_in_order_whatever_ends_first(threads):
    absorbed: list[int] = []

    def work(block: int) -> int:
        time.sleep(0.002 * (5 - block % 5))
        return block

    assert run_blocks(work, absorbed.append, 17, start=4, threads=threads)
    assert absorbed == list(range(4, 17))


def test_work_runs_on_the_threads_asked_for():
    barrier = threading.Barrier(2, timeout=20)
    run_blocks(lambda block: barrier.wait(), lambda result: None, 4, threads=2)  # a single thread would time out
    assert not barrier.broken


@pytest.mark.parametrize("where", ["work", "absorbed"])
def test_interruption_leaves_whole_blocks_and_saves(where):
    absorbed: list[int] = []
    saved: list[list[int]] = []

    def work(block: int) -> int:
        if where == "work" and block == 3:
            raise KeyboardInterrupt
        return block

    def on_block(done: int, total: int) -> None:
        assert total == 10
        if where == "absorbed" and done == 3:
            raise KeyboardInterrupt

    complete = run_blocks(
        work, absorbed.append, 10, threads=2, save=lambda: saved.append(list(absorbed)), on_block=on_block
    )
    assert not complete
    assert absorbed == [0, 1, 2]
    assert saved[-1] == [0, 1, 2]


def test_other_errors_reach_the_caller():
    def work(block: int) -> int:
        raise ValueError("block 0 is bad")

    with pytest.raises(ValueError, match="block 0 is bad"):
        run_blocks(work, lambda result: None, 5, threads=2)


def test_saving_is_periodic_and_final():
    saves: list[int] = []
    absorbed: list[int] = []
    run_blocks(lambda b: b, absorbed.append, 5, save=lambda: saves.append(len(absorbed)), save_every=-1.0)
    assert saves == [1, 2, 3, 4, 5, 5]
    saves.clear()
    absorbed.clear()
    run_blocks(lambda b: b, absorbed.append, 5, save=lambda: saves.append(len(absorbed)), save_every=1e9)
    assert saves == [5]


def test_checkpoint_round_trip_is_exact(tmp_path: Path):
    arrays = {"a": np.array([[0.1, -0.0], [np.nextafter(1, 2), 1e-310]]), "n": np.arange(3)}
    checkpoint = Checkpoint(tmp_path / "run.npz", {"seed": 1, "widths": (2, 3)})
    assert checkpoint.load() is None
    checkpoint.save(arrays)
    back = Checkpoint(tmp_path / "run.npz", {"widths": [2, 3], "seed": 1}).load()
    assert back is not None
    assert {name: array.tobytes() for name, array in back.items()} == {n: a.tobytes() for n, a in arrays.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_checkpoint_of_another_configuration_is_refused_by_name(tmp_path: Path):
    path = tmp_path / "run.npz"
    Checkpoint(path, {"seed": 1, "method": "gram", "x": "abc"}).save({"a": np.zeros(2)})
    with pytest.raises(ValueError, match=r"another configuration: seed \(1 there, 2 asked\), method"):
        Checkpoint(path, {"seed": 2, "method": "weights", "x": "abc"}).load()
    with pytest.raises(ValueError, match="extra"):
        Checkpoint(path, {"seed": 1, "method": "gram", "x": "abc", "extra": 1}).load()


def test_checkpoint_that_fails_to_save_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoint = Checkpoint(tmp_path / "run.npz", {"seed": 1})
    checkpoint.save({"a": np.ones(2)})

    def fail(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"a": np.zeros(2)})
    back = checkpoint.load()
    assert back is not None
    assert np.array_equal(back["a"], np.ones(2))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"not an archive"])
def test_unreadable_checkpoint_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint: .*run.npz.* cannot be read"):
        Checkpoint(path, {}).load()


def test_checkpoint_never_unpickles(tmp_path: Path):
    path = tmp_path / "run.npz"
    buffer = io.BytesIO()
    np.savez(buffer, configuration=np.array("{}"), a=np.array([{"x": 1}], dtype=object))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="cannot be read"):
        Checkpoint(path, {}).load()


def test_checkpoint_places_are_checked_first(tmp_path: Path):
    with pytest.raises(ValueError, match="does not exist"):
        Checkpoint(tmp_path / "none" / "run.npz", {})
    with pytest.raises(ValueError, match="is a directory"):
        Checkpoint(tmp_path, {})


def test_seed_is_checked():
    assert check_seed(np.int64(3)) == 3
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        check_seed(-1)
    for bad in (1.5, "1", True, None):
        with pytest.raises(TypeError, match="seed"):
            check_seed(bad)


def test_digest_sees_shape_type_and_bits():
    values = np.arange(6.0)
    assert digest(values) == digest(values.copy())
    assert len({digest(values), digest(values.reshape(2, 3)), digest(values.astype(np.float32)), digest(-values)}) == 4


def test_memory_refusal_names_the_bytes(monkeypatch: pytest.MonkeyPatch):
    require_memory(1, "this", "that")
    monkeypatch.setattr(blocks, "available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match="this needs 2000 bytes.*take less"):
        require_memory(2000, "this", "take less")


def test_progress_is_silent_in_pipes_and_drawn_on_request(capsys: pytest.CaptureFixture[str]):
    with progress_bar(None, "networks", 4) as show:
        show(2)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    with progress_bar(True, "networks", 4) as show:
        show(4)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "networks" in captured.err
