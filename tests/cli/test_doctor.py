"""``repflow doctor``: what it says of this machine, what it keeps to itself, and what it makes of a broken one."""

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import repflow
from repflow.cli import app, environment, self_check
from repflow.extras import PURPOSES


@pytest.fixture(scope="module")
def run():
    runner = CliRunner()
    return lambda *words: runner.invoke(app, ["doctor", *words])


def test_it_says_what_is_here(run):
    shown = run()
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == ""
    for part in (
        f"repflow         {repflow.__version__}",
        f"torch {importlib.metadata.version('torch')}",
        f"{torch.get_num_threads()} threads",
        "device          cpu",
        "extra           spins",
        "check           theory passed",
        "repflow works.",
    ):
        assert part in shown.stdout


def test_extras_have_their_purposes():
    found = {extra["name"]: extra for extra in environment.environment()["extras"]}
    assert {"spins", "test", "dev"} <= set(found)
    for name, extra in found.items():
        assert extra["purpose"] == PURPOSES[name]
        assert extra["installed"] == (not extra["missing"])
    tests = {package["name"]: package for package in found["test"]["packages"]}
    assert tests["pytest"]["installed"] == importlib.metadata.version("pytest")
    assert tests["pytest"]["fits"]


def test_paths_are_told_where_asked_only(run, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/secret/place")
    monkeypatch.setattr(sys, "executable", str(Path.home() / "env" / "python"))
    short, long = run(), run("--verbose")
    assert f"~{Path('/env/python')}" in short.stdout
    for private in (str(Path.home() / "env"), "/secret/place", str(Path(repflow.__file__).parent), str(Path.cwd())):
        assert private not in short.stdout
        assert private in long.stdout
    assert json.loads(run("--verbose", "--json").stdout)["torch_build"]


def test_a_check_that_fails_is_said(run, monkeypatch):
    def broken():
        raise ImportError("no\nsuch library")

    monkeypatch.setitem(self_check.CHECKS, "page", broken)
    monkeypatch.setitem(self_check.CHECKS, "data", lambda: (False, "3 digits"))
    shown = run()
    assert shown.exit_code == 1
    assert "check           page FAILED: ImportError: no such library" in shown.stdout
    assert "check           data FAILED: 3 digits" in shown.stdout
    assert "repflow works." not in shown.stdout
    plain = run("--json")
    assert plain.exit_code == 1
    assert [check["check"] for check in json.loads(plain.stdout)["checks"] if not check["passed"]] == ["data", "page"]


def test_the_theory_check_can_fail(monkeypatch):
    flow = self_check._flow()
    monkeypatch.setattr(self_check, "_flow", lambda: flow)
    assert self_check._theory()[0]
    monkeypatch.setattr(self_check, "WIDTH", 17)
    assert not self_check._theory()[0]


def test_packages_that_are_missing_or_too_old(run, monkeypatch):
    version = importlib.metadata.version

    def other(name):
        if name == "zarr":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "typer" else "0.1" if name == "pandas" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", other)
    shown = run()
    assert shown.exit_code == 1
    lines = [line for line in shown.stdout.splitlines() if "FAILED" in line and line.startswith("package")]
    assert [line.split()[1] for line in lines] == ["pandas", "typer", "zarr"]
    assert "zarr missing" in lines[2]


def test_an_installation_that_is_none(monkeypatch):
    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", none)
    found = environment.environment()
    assert (found["packages"], found["extras"]) == ([], [])


def test_a_torch_that_cannot_be_imported(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(self_check.CHECKS, "theory", lambda: (False, "no torch"))
    for name in ("ensemble", "data", "files", "page"):
        monkeypatch.delitem(self_check.CHECKS, name)
    shown = run()
    assert shown.exit_code == 1
    assert "torch           cannot be imported" in shown.stdout
    assert json.loads(run("--json").stdout)["threads"] is None
