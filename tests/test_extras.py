"""An extra that is missing is named, with the command that installs it."""

import sys

import pytest
from typer.testing import CliRunner

from repflow.extras import MissingExtraError, extra


def test_what_is_there_is_imported():
    assert extra("test", "json", "reading", ["decoder"]) is sys.modules["json"]


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "quspin", None)  # an import of it raises ModuleNotFoundError
    with pytest.raises(MissingExtraError, match=r"exact spin dynamics needs quspin.*pip install 'repflow\[spins\]'"):
        extra("spins", "quspin", "exact spin dynamics")


def test_the_command_says_so_in_one_line(monkeypatch, tmp_path):
    import repflow.experiments.registry as registry
    from repflow.cli import app
    from repflow.theories.quantum.require import quspin

    monkeypatch.setitem(sys.modules, "quspin", None)

    def run(size, seed, tell):
        quspin()

    entry = registry.Experiment("spreading", "none", run)
    monkeypatch.setattr("repflow.experiments.runner.find_experiment", lambda name: entry)
    found = CliRunner().invoke(app, ["experiment", "spreading", "--out", str(tmp_path)])
    assert found.exit_code == 2
    assert found.stderr.count("\n") == 1
    assert "pip install 'repflow[spins]'" in found.stderr
