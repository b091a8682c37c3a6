"""Names written down for completion are those of the rooms; mistyped ones are suggested; shells get them without torch."""

import os
import re
import subprocess
import sys

import pytest

from repflow.activation import activation_names, as_activation
from repflow.cli import names
from repflow.cli.report import CHECKS
from repflow.experiments import experiments


def test_names_are_those_of_the_rooms():
    assert tuple(names.ACTIVATIONS) == activation_names()
    assert all(as_activation(alias).name not in names.ALIASES for alias in names.ALIASES)
    assert tuple(entry.name for entry in experiments()) == names.EXPERIMENTS
    assert tuple(names.complete_checks("")) == CHECKS


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("geluu", "gelu"), ("tahn", "tanh"), ("ReLU", "relu"), ("leakyrelu:0.1", "leaky_relu"), ("soft-plus", "softplus")],
)
def test_a_mistyped_activation_is_suggested(typed, meant):
    with pytest.raises(ValueError, match=rf"did you mean .*'{meant}'"):
        names.check_activations(typed)


def test_names_far_from_all_are_answered_with_the_list():
    with pytest.raises(ValueError, match="activation 'qqq' is unknown; known are abs, arctan, .*, tanh"):
        names.check_activations("tanh, qqq")
    assert names.check_activations("tanh, swish,leaky_relu:0.2") == ["tanh", "swish", "leaky_relu:0.2"]
    with pytest.raises(ValueError, match="did you mean 'rg-flow'"):
        names.check_name("experiment", "RG_flow", names.EXPERIMENTS)


def test_activations_complete_the_last_of_a_list():
    assert [name for name, _ in names.complete_activation("tanh,gel")] == ["tanh,gelu", "tanh,gelu_tanh"]
    assert names.complete_checks("untrusted,n") == ["untrusted,not-critical"]


def test_data_completes_digits_and_files_that_can_be_read(tmp_path, monkeypatch):
    for name in ("a.npy", "b.csv", "notes.txt", "digits.npz"):
        (tmp_path / name).write_text("")
    (tmp_path / "c.npz").mkdir()
    monkeypatch.chdir(tmp_path)
    assert names.complete_data("") == ["digits", "a.npy", "b.csv", "digits.npz"]
    assert names.complete_data("dig") == ["digits", "digits.npz"]
    assert names.complete_data(f"{tmp_path}/a") == [f"{tmp_path}/a.npy"]
    assert names.complete_data("nowhere/x") == []


# The words up to the cursor, and what must be offered.
LINES = [
    (["cri"], ["critical"]),
    (["critical", "gel"], ["gelu", "gelu_tanh"]),
    (["experiment", "r"], ["representation-learning", "rg-flow", "run-all"]),
    (["flow", "--init", "x"], ["xavier"]),
    (["report", "--method", ""], ["gram", "weights"]),
    (["sample", "--activation", "soft"], ["softplus", "softsign"]),
    (["report", "--data", "dig"], ["digits"]),
    (["report", "--fail-if", "un"], ["untrusted"]),
    (["tune", "m.py:f", "--loss", "c"], ["cross_entropy"]),
    (["flow", "--dep"], ["--depth"]),
]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("words", "offered"), LINES, ids=[" ".join(words) for words, _ in LINES])
def test_shells_are_answered(shell, words, offered, tmp_path):
    line = ["repflow", *words]
    asked = {
        "bash": {"COMP_WORDS": "\n".join(line), "COMP_CWORD": str(len(words))},
        "zsh": {"_TYPER_COMPLETE_ARGS": " ".join(line)},
        "fish": {"_TYPER_COMPLETE_ARGS": " ".join(line), "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    code = (
        "import sys\nfrom repflow.cli import app\ntry:\n    app()\nfinally:\n"
        "    print([name for name in ('torch', 'numpy') if name in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "_REPFLOW_COMPLETE": f"complete_{shell}", **asked},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr.strip() == "[]"  # answered without the engine
    if shell == "zsh":  # "value":"help" or "value", one a line
        assert sorted(re.findall(r'^(?:.*\(\()?"([^"]+)"', found.stdout, re.M)) == sorted(offered)
    else:
        assert sorted(line.split("\t")[0] for line in found.stdout.splitlines()) == sorted(offered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_installed(shell, tmp_path):
    code = "from repflow.cli import app; app()"
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "USERPROFILE": str(tmp_path),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }

    def run(option):
        return subprocess.run(
            [sys.executable, "-c", code, option, shell], env=environment, capture_output=True, text=True, check=False
        )

    shown = run("--show-completion")
    assert shown.returncode == 0
    assert f"_REPFLOW_COMPLETE=complete_{shell}" in shown.stdout
    installed = run("--install-completion")
    assert installed.returncode == 0, installed.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_REPFLOW_COMPLETE" in path.read_text(encoding="utf-8") for path in files)
