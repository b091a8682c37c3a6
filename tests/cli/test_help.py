"""Help: what is shown, whether its examples are commands, and whether commands that share options describe them alike."""

import shlex
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import repflow
from repflow.cli import app

GROUP = typer.main.get_command(app)
COMMANDS = ("report", "critical", "flow", "sample", "tune", "experiment", "doctor")


@pytest.fixture(scope="module")
def run():
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"})
    return lambda *words: runner.invoke(app, [str(word) for word in words])


def module_of(command):
    return sys.modules[f"repflow.cli.{command}"]


def options(command):
    return {parameter.name: parameter for parameter in GROUP.commands[command].params}


def test_version_and_help(run):
    assert run("--version").stdout == f"repflow {repflow.__version__}\n"
    assert tuple(GROUP.commands) == COMMANDS
    shown = run("--help")
    assert shown.exit_code == 0
    assert all(command in shown.stdout for command in COMMANDS)
    bare = run()
    assert (bare.exit_code, bare.stdout, bare.stderr) == (0, shown.stdout, "")
    assert run("-h").stdout == shown.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_has_examples(run, command):
    shown = run(command, "--help")
    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80
    # A line each, to be copied.
    lines = [line.strip() for line in shown.stdout.split("Examples:")[1].splitlines()]
    assert [line for line in lines if line] == list(module_of(command).EXAMPLES)


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_parsed(command):
    for example in module_of(command).EXAMPLES:
        program, name, *words = shlex.split(example.split(">")[0])
        assert (program, name) == ("repflow", command)
        context = GROUP.commands[command].make_context(command, words)
        if words[:1] != ["run-all"]:  # which has options of its own
            assert set(context.params) == {name for name in options(command) if name != "help"}


def test_flow_sample_and_report_share_their_options():
    shared = [name for name in options("report") if name in options("flow") and name in options("sample")]
    assert {"data", "inputs", "model", "depth", "width", "activation", "init", "c_w", "target", "json"} <= set(shared)
    for name in shared:
        first, *others = (options(command)[name] for command in ("report", "flow", "sample"))
        if name == "out":  # a page, or a file
            continue
        for other in others:
            for attribute in ("opts", "help", "metavar", "default", "show_default", "required", "rich_help_panel"):
                assert getattr(other, attribute) == getattr(first, attribute), (name, attribute)
    for name in ("data", "standardize", "x_key", "y_key", "target", "config", "json"):
        assert options("tune")[name].help == options("flow")[name].help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    for name, parameter in options(command).items():
        if name not in ("context", "help"):
            assert parameter.help, name
    assert "json" in options(command)


def test_help_does_not_import_the_engine():
    heavy = ("torch", "plotly", "pandas", "sklearn", "zarr", "xarray", "scipy", "numpy")
    code = f"import repflow.cli, sys; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
