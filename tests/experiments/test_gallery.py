"""A gallery: resumable, robust to an experiment that fails and to an interruption, and honest about what did not run."""

import json
import os
import subprocess
import sys
import time

import pytest

from repflow.experiments import Outcome, run_experiment
from repflow.experiments import gallery as gallery_module
from repflow.experiments import registry as registry_module
from repflow.experiments.gallery import Watch, plan_gallery, run_gallery
from repflow.experiments.gallery_docs import write_docs
from repflow.experiments.gallery_images import IMAGE, write_images
from repflow.experiments.gallery_jobs import ERROR, ExperimentFailedError, Workers
from repflow.experiments.registry import experiment
from repflow.extras import MissingExtraError
from repflow.figures import lines


@pytest.fixture
def toys(monkeypatch):
    """Three experiments of no cost; the names of those that ran."""
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module._REGISTRY))
    ran = []

    def register(name, verdict):
        @experiment(name, f"{name} is what it is.")
        def run(size, seed, tell):
            """Rule: always the same."""
            ran.append(name)
            tell("half", 0.5)
            figure = lines([1, 2], {"a": [1.0, 2.0]}, x_title="x", y_title="y")
            return Outcome(verdict, {"one": 1.0}, {"x": [1, 2], "a": [0.123456789012, 2.0]}, figure, {"n": 1})

    register("toy-a", "agrees")
    register("toy-b", "disagrees")
    register("toy-c", "agrees")
    return ran


@pytest.fixture(autouse=True)
def images(monkeypatch):
    """Pictures without a browser."""

    def draw(directories):
        for directory in directories:
            (directory / IMAGE).write_bytes(b"\x89PNG")

    monkeypatch.setattr(gallery_module, "write_images", draw)


TOYS = ("toy-a", "toy-b", "toy-c")


def here(name, directory, size, seed, tell):
    """Run an experiment in this process."""
    run_experiment(name, directory, size=size, seed=seed, tell=tell)


def gallery_of(out, run=here, watch=None, **settings):
    return run_gallery(plan_gallery(out, **{"size": "small", "only": TOYS, "jobs": 1, **settings}), watch, run)


def verdicts(gallery):
    return {entry["name"]: entry["verdict"] for entry in gallery["experiments"]}


def test_all_are_run_and_listed(toys, tmp_path):
    gallery = gallery_of(tmp_path)
    assert sorted(toys) == list(TOYS)
    assert verdicts(gallery) == {"toy-a": "agrees", "toy-b": "disagrees", "toy-c": "agrees"}
    assert json.loads((tmp_path / "gallery.json").read_text()) == gallery
    index = (tmp_path / "index.html").read_text()
    for entry in gallery["experiments"]:
        assert entry["claim"] in index
        assert entry["command"] == f"repflow experiment {entry['name']} --size small --out {entry['name']}/"
        for file in entry["files"].values():
            assert (tmp_path / file).is_file()
            assert file in index or file.endswith("figure.json")
    assert "http" not in index


def test_a_second_run_keeps_what_is_whole(toys, tmp_path):
    first = gallery_of(tmp_path)
    toys.clear()
    (tmp_path / "toy-a" / "figure.html").write_text("an old design")
    second = gallery_of(tmp_path)
    assert toys == []
    assert second == first
    assert "toy-a is what it is." in (tmp_path / "toy-a" / "figure.html").read_text()


def test_what_is_not_whole_or_of_other_settings_is_run_again(toys, tmp_path):
    gallery_of(tmp_path)
    for change, expected in (
        (lambda: (tmp_path / "toy-a" / "result.json").write_text('{"experiment": '), ["toy-a"]),
        (lambda: (tmp_path / "toy-b" / "table.csv").unlink(), ["toy-b"]),
        (lambda: None, []),
    ):
        toys.clear()
        change()
        gallery_of(tmp_path)
        assert toys == expected
    for settings in ({"seed": 1}, {"size": "large"}, {"force": True, "size": "large"}):
        toys.clear()
        gallery_of(tmp_path, **settings)
        assert sorted(toys) == list(TOYS)


def test_another_version_is_run_again(toys, tmp_path, monkeypatch):
    gallery_of(tmp_path)
    toys.clear()
    monkeypatch.setattr(gallery_module, "__version__", "99.0")
    assert plan_gallery(tmp_path, size="small", only=TOYS).kept == ()


def test_one_that_fails_stops_no_other(toys, tmp_path):
    def run(name, directory, size, seed, tell):
        if name == "toy-a":
            raise MissingExtraError("toy-a needs quspin: pip install 'repflow[spins]'")
        if name == "toy-b":
            raise ZeroDivisionError("by\nzero")
        here(name, directory, size, seed, tell)

    gallery = gallery_of(tmp_path, run)
    assert verdicts(gallery) == {"toy-a": None, "toy-b": None, "toy-c": "agrees"}
    reasons = [entry["reason"] for entry in gallery["experiments"]]
    assert reasons == ["toy-a needs quspin: pip install 'repflow[spins]'", "ZeroDivisionError: by zero", None]
    index = (tmp_path / "index.html").read_text()
    assert "Not run: toy-a needs quspin" in index
    assert "2 not run" in index
    assert verdicts(gallery_of(tmp_path)) == {"toy-a": "agrees", "toy-b": "disagrees", "toy-c": "agrees"}
    assert toys == ["toy-c", "toy-a", "toy-b"]


def test_one_that_fails_loses_its_earlier_result(toys, tmp_path):
    gallery_of(tmp_path)

    def run(*_):
        raise ExperimentFailedError("this time")

    assert verdicts(gallery_of(tmp_path, run, force=True)) == dict.fromkeys(TOYS)
    assert not (tmp_path / "toy-a" / "result.json").exists()


def test_an_interruption_leaves_what_is_whole(toys, tmp_path):
    def run(name, directory, size, seed, tell):
        if name == "toy-b":
            raise KeyboardInterrupt
        here(name, directory, size, seed, tell)

    with pytest.raises(KeyboardInterrupt):
        gallery_of(tmp_path, run)
    gallery = json.loads((tmp_path / "gallery.json").read_text())
    assert verdicts(gallery)["toy-a"] == "agrees"
    assert verdicts(gallery)["toy-b"] is None
    assert "toy-a is what it is." in (tmp_path / "index.html").read_text()
    toys.clear()
    gallery_of(tmp_path)
    assert "toy-a" not in toys


def test_others_of_the_same_settings_stay_in_the_index(toys, tmp_path):
    gallery_of(tmp_path)
    assert list(verdicts(gallery_of(tmp_path, only=["toy-c"]))) == list(TOYS)
    assert list(verdicts(gallery_of(tmp_path, only=["toy-c"], seed=5))) == ["toy-c"]


def test_progress_is_told(toys, tmp_path):
    class Noted(Watch):
        def __init__(self):
            self.calls = []

        def started(self, name):
            self.calls.append(("started", name))

        def told(self, name, message, share):
            self.calls.append((message, name, share))

        def finished(self, name, verdict):
            self.calls.append((verdict, name))

        def drawing(self, images):
            self.calls.append(("drawing", images))

    noted = Noted()
    gallery_of(tmp_path, watch=noted, only=["toy-b"])
    assert noted.calls == [("started", "toy-b"), ("half", "toy-b", 0.5), ("disagrees", "toy-b"), ("drawing", 1)]


def test_the_plan_says_how_long_it_will_take(toys, tmp_path):
    gallery_of(tmp_path)
    for name, seconds in (("toy-a", 30.0), ("toy-b", 10.0), ("toy-c", 20.0)):
        path = tmp_path / name / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": seconds}))
    plan = plan_gallery(tmp_path, size="small", only=TOYS, force=True, jobs=2)
    assert plan.seconds == {"toy-a": 30.0, "toy-c": 20.0, "toy-b": 10.0}
    assert list(plan.seconds) == ["toy-a", "toy-c", "toy-b"]  # the longest first
    assert plan.expected == 30.0
    assert plan_gallery(tmp_path, size="small", only=TOYS).expected == 0.0


def test_images_that_cannot_be_drawn_are_a_note(toys, tmp_path, monkeypatch):
    def draw(directories):
        raise OSError("no browser")

    monkeypatch.setattr(gallery_module, "write_images", draw)
    gallery = gallery_of(tmp_path)
    assert gallery["notes"] == ["no browser"]
    assert [entry["files"]["image"] for entry in gallery["experiments"]] == [None] * 3
    with pytest.raises(ValueError, match="toy-a has no image: no browser"):
        write_docs(tmp_path, tmp_path / "docs")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"only": ["toy-a", "nope"]}, "only: experiment 'nope'"),
        ({"jobs": 0}, "jobs must be 1 or more, got 0"),
        ({"size": "huge"}, "size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_nothing_runs_on_wrong_arguments(toys, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        plan_gallery(tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


class TestDocs:
    def test_page_and_files(self, toys, tmp_path):
        gallery_of(tmp_path / "gallery")
        page = write_docs(tmp_path / "gallery", tmp_path / "docs").read_text()
        for name, verdict in (("toy-a", "✓ agrees"), ("toy-b", "✕ disagrees")):
            assert f"`{name}` | {verdict} |" in page
            assert f"{name} is what it is.\n\n**{verdict}**" in page
            assert f"](gallery/{name}.png)" in page
        assert "small size, seed 0" in page
        written = {path.name for path in (tmp_path / "docs" / "gallery").iterdir()}
        assert written == {f"{name}.{suffix}" for name in TOYS for suffix in ("png", "csv", "json")}
        assert (tmp_path / "docs" / "gallery" / "toy-a.csv").read_text() == "x,a\n1,0.123457\n2,2.0\n"

    def test_a_gallery_with_holes_is_refused(self, toys, tmp_path):
        def run(*_):
            raise ExperimentFailedError("on the way")

        gallery_of(tmp_path, run)
        with pytest.raises(ValueError, match="toy-a has not run: on the way"):
            write_docs(tmp_path, tmp_path / "docs")
        assert not (tmp_path / "docs").exists()


def no_tell(message, share):
    """Say nothing."""


@pytest.mark.slow
class TestProcesses:
    def test_an_experiment_in_a_process_of_its_own(self, tmp_path):
        told = []
        Workers(2).run("criticality", tmp_path / "c", "small", 3, lambda *what: told.append(what))
        apart = json.loads((tmp_path / "c" / "result.json").read_text())
        together = run_experiment("criticality", tmp_path / "d", size="small", seed=3)
        assert told
        assert {**apart, "seconds": 0} == {**together, "seconds": 0}

    def test_a_failure_says_why(self, tmp_path):
        with pytest.raises(ExperimentFailedError, match="experiment 'nope' is unknown"):
            Workers(1).run("nope", tmp_path / "c", "small", 0, no_tell)
        assert "Traceback" in (tmp_path / "c" / ERROR).read_text()

    def test_it_ends_with_the_process_that_started_it(self, tmp_path):
        # Its parent's end of stdin closes, as when the parent is killed.
        command = [sys.executable, "-m", "repflow.experiments.gallery_worker", "universality", tmp_path, "large", "0"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=os.environ) as process:
            time.sleep(1.0)
            process.stdin.close()
            assert process.wait(timeout=60) == 130
        assert not (tmp_path / "result.json").exists()

    def test_images_are_drawn(self, toys, tmp_path, browser):
        here("toy-a", tmp_path, "small", 0, no_tell)
        pytest.importorskip("kaleido")
        write_images([tmp_path])
        assert (tmp_path / IMAGE).read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / IMAGE).stat().st_size < 150_000
