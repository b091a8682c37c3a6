"""The registry and the runner, with experiments of no cost."""

import json
import re
from pathlib import Path

import pytest

from repflow.experiments import Outcome, experiments, run_experiment
from repflow.experiments import registry as registry_module
from repflow.experiments.registry import experiment, find_experiment
from repflow.figures import lines


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(registry_module, "_REGISTRY", dict(registry_module._REGISTRY))
    seen = []

    @experiment("toy", "one is one")
    def run(size, seed, tell):
        """Rule: always agrees."""
        seen.append((size, seed))
        tell("half", 0.5)
        figure = lines([1, 2], {"a": [1, 2]}, x_title="x", y_title="y")
        return Outcome("agrees", {"one": 1.0, "none": float("inf")}, {"a": [1, 2], "b": [0.1, 0.2]}, figure, {"n": 1})

    return seen


def test_every_experiment_is_registered_under_the_name_of_its_module():
    """A file, or a folder's ``experiment.py``, that has the decorator and is not listed would never be found."""
    room = Path(registry_module.__file__).parent
    files = [*room.glob("*.py"), *room.glob("*/experiment.py")]
    marked = [path for path in files if re.search(r"^@experiment\(", path.read_text(encoding="utf-8"), re.M)]
    modules = {path.parent.name if path.stem == "experiment" else path.stem for path in marked}
    assert modules == set(registry_module._MODULES)
    assert {entry.name for entry in experiments()} == {name.replace("_", "-") for name in modules}


def test_every_experiment_states_its_rule():
    for entry in experiments():
        assert "Rule" in entry.rule
        assert entry.claim.endswith(".")


def test_runner_writes_its_files_and_says_what_it_found(toy, tmp_path):
    told = []
    result = run_experiment(
        "toy", tmp_path / "deep" / "out", size="large", seed=7, tell=lambda *what: told.append(what)
    )
    out = tmp_path / "deep" / "out"
    assert sorted(path.name for path in out.iterdir()) == ["figure.html", "figure.json", "result.json", "table.csv"]
    assert json.loads((out / "result.json").read_text()) == result
    assert result["numbers"] == {"one": 1.0, "none": None}
    assert (result["experiment"], result["claim"], result["verdict"]) == ("toy", "one is one", "agrees")
    assert result["seconds"] >= 0
    assert (out / "table.csv").read_text() == "a,b\n1,0.1\n2,0.2\n"
    assert toy == [("large", 7)]
    assert told == [("half", 0.5)]


def test_nothing_runs_on_wrong_arguments(toy, tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, error, message in (
        ({"name": "nope", "out": tmp_path}, ValueError, "nope"),
        ({"name": "toy", "out": tmp_path, "size": "huge"}, ValueError, "size"),
        ({"name": "toy", "out": tmp_path, "seed": -1}, ValueError, "seed"),
        ({"name": "toy", "out": tmp_path, "seed": True}, ValueError, "seed"),
        ({"name": "toy", "out": tmp_path / "file"}, OSError, "file"),
    ):
        with pytest.raises(error, match=message):
            run_experiment(**arguments)
    assert toy == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failing_experiment_leaves_nothing(toy, tmp_path):
    @experiment("broken", "c")
    def run(size, seed, tell):
        raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        run_experiment("broken", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_are_unique(toy):
    def other(size, seed, tell):
        raise AssertionError

    other.__module__ = "elsewhere"
    with pytest.raises(ValueError, match="toy"):
        experiment("toy", "c")(other)
    assert find_experiment("toy").claim == "one is one"
