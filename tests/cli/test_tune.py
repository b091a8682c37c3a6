"""``repflow tune`` and ``repflow report --model``: a person's own file, what is written, and what is said of mistakes."""

import json
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import repflow
from repflow.cli import app

MODEL = """
import helper
import torch
from torch import nn

print("said by the file")


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, helper.OUTPUTS))


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

    def forward(self, x):
        return self.body(x)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x):
        x = self.first(x)
        return self.head(torch.relu(x + self.second(torch.relu(x))))


def raising():
    raise RuntimeError("no such\\nluck")


def leaving():
    raise SystemExit(7)


def number():
    return 3


def needy(width):
    return None


ready = make_model()
three = 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "own_model.py").write_text(MODEL)
    (tmp_path / "helper.py").write_text("OUTPUTS = 10\n")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "model.txt").write_text("")
    return tmp_path / "own_model.py"


@pytest.fixture
def run():
    """Runs a command; afterwards the files' modules are gone, and their directory is not importable any more."""
    path = list(sys.path)
    runner = CliRunner()
    yield lambda *words: runner.invoke(app, [str(word) for word in words])
    sys.path[:] = path
    for name in [
        name for name in sys.modules if name.removeprefix("repflow_model_") in ("own_model", "broken", "helper")
    ]:
        del sys.modules[name]


def test_tune_writes_a_plan_and_a_page(run, file, tmp_path):
    out = tmp_path / "out"
    result = run("tune", f"{file}:make_model", "--data", "digits", "--out", out, "--loss", "cross_entropy")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["plan.html", "plan.json"]
    plan = repflow.load(out / "plan.json")
    assert plan.loss == "cross_entropy"
    assert result.stdout.startswith("parameter")
    assert "0.weight   input weight" in result.stdout
    assert "said by the file" in result.stderr
    assert result.stdout.rstrip().endswith("plan.html")
    page = (out / "plan.html").read_text()
    for part in ("4.weight", "plan.initialize_(model)", "torch.optim.SGD", "Learning rates", "1797 handwritten digits"):
        assert part in page
    assert "http://" not in page.replace("http://www.w3.org", "").split("<main>")[1].split("<script")[0]


def test_the_plan_is_that_of_the_library(run, file, tmp_path):
    run("tune", f"{file}:make_model", "--data", "digits", "--out", tmp_path / "out", "--scaling", "0.5", "--json")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        *(part for n in (64, 32) for part in (torch.nn.Linear(n, 32), torch.nn.Tanh())), torch.nn.Linear(32, 10)
    )
    data = repflow.data.load_data("digits", inputs=1797)
    plan = repflow.tune(model, torch.tensor(data.x, dtype=torch.float32), data.y, scaling=0.5)
    saved = repflow.load(tmp_path / "out" / "plan.json")
    assert [entry.sgd for entry in saved.parameters] == [entry.sgd for entry in plan.parameters]
    assert saved.scaling == 0.5


def test_json_is_all_on_stdout(run, file, tmp_path):
    result = run(
        "tune", f"{file}:make_model", "--data", "digits", "--out", tmp_path / "out", "--json", "--optimizer", "adam"
    )
    plain = json.loads(result.stdout)
    assert [row["parameter"] for row in plain["parameters"]][:2] == ["0.weight", "0.bias"]
    assert plain["summary"]["scaling"] == repflow.load(plain["files"]["plan"]).scaling
    assert "torch.optim.Adam(" in (tmp_path / "out" / "plan.html").read_text()


def test_a_table_for_a_person(run, file, tmp_path):
    from repflow.cli import tune

    result = run("tune", f"{file}:ready", "--data", "digits", "--out", tmp_path / "out")
    assert "\u2502" not in result.stdout  # a pipe gets no boxes
    header, cells = tune._rich(repflow.load(tmp_path / "out" / "plan.json"))
    assert len(cells) == 6
    assert all(len(row) == len(header) for row in cells)


def test_files_of_data_and_shapes(run, file, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(50, 64)), y=np.arange(50) % 10)
    words = ["tune", f"{file}:Images", "--data", tmp_path / "data.npz", "--out", tmp_path / "out"]
    assert run(*words, "--shape", "1,8,8").exit_code == 0
    assert "all 50 rows" in (tmp_path / "out" / "plan.html").read_text()
    wrong = run(*words, "--shape", "1,8,9")
    assert wrong.exit_code == 2
    assert "72" in wrong.stderr


def test_a_model_that_is_no_chain(run, file, tmp_path):
    words = [f"{file}:Residual", "--data", "digits", "--out", tmp_path / "out"]
    result = run("tune", *words, "--optimizer", "adam")
    assert result.exit_code == 0, result.output
    assert repflow.load(tmp_path / "out" / "plan.json").measured
    assert "second.weight" in (tmp_path / "out" / "plan.html").read_text()
    refused = run("report", "--model", *words)
    assert refused.exit_code == 2
    assert "no chain" in refused.stderr.splitlines()[-1] or "not a chain" in refused.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("own_model.py", ["FILE.py:FUNCTION"]),
        ("own_model.py:not a name", ["FILE.py:FUNCTION"]),
        ("nowhere.py:make_model", ["nowhere.py", "no such file"]),
        ("own_model:make_model", ["no such file", "own_model.py:make_model'?"]),
        ("model.txt:make_model", ["model.txt", "Python file"]),
        ("broken.py:make_model", ["broken.py", "nothing_of_that_name"]),
        ("own_model.py:absent", ["absent", "make_model"]),
        ("own_model.py:raising", ["raising()", "RuntimeError: no such"]),
        ("own_model.py:leaving", ["leaving()", "SystemExit: 7"]),
        ("own_model.py:number", ["number()", "nn.Module", "int"]),
        ("own_model.py:three", ["three", "int"]),
        ("own_model.py:needy", ["needy()", "width"]),
    ],
)
def test_mistakes_are_one_line(run, file, tmp_path, spec, parts):
    for command in (["tune", tmp_path / spec], ["report", "--model", tmp_path / spec]):
        result = run(*command, "--data", "digits", "--out", tmp_path / "out")
        assert result.exit_code == 2
        assert result.stdout == ""
        lines = [line for line in result.stderr.splitlines() if line != "said by the file"]
        assert len(lines) == 1
        assert lines[0].startswith("repflow: error: ")
        for part in parts:
            assert part in lines[0]
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--data", "nowhere.npz"], "nowhere.npz"),
        (["--data", "digits", "--scaling", "3"], "scaling"),
        (["--data", "digits", "--loss", "hinge"], "--loss"),
        (["--data", "digits", "--optimizer", "lion"], "--optimizer"),
        (["--data", "digits", "--inputs", "5000"], "5000"),
        (["--data", "digits", "--shape", "1,x"], "--shape"),
        ([], "--data"),
    ],
)
def test_wrong_options_of_tune(run, file, tmp_path, words, part):
    result = run("tune", f"{file}:make_model", *words, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert part in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_out_is_checked_before_the_file_is_run(run, file, tmp_path):
    (tmp_path / "taken").write_text("")
    result = run("tune", f"{file}:make_model", "--data", "digits", "--out", tmp_path / "taken")
    assert result.exit_code == 2
    assert "said by the file" not in result.stderr


QUICK = ["--networks", "64", "--inputs", "2", "--no-progress", "--json"]


def test_report_of_a_model(run, file, tmp_path):
    words = ["report", "--data", "digits", "--model", f"{file}:make_model", "--out", tmp_path / "out", *QUICK]
    plain = json.loads(run(*words).stdout)
    assert plain["criticality"]["depth"] == 3
    assert plain["provenance"]["configuration"]["width"] == "32,32"
    assert plain["provenance"]["configuration"]["activation"] == "tanh"
    assert "weights are" in plain["provenance"]["configuration"]["couplings"]
    saved = repflow.load(tmp_path / "out" / "report.json")
    torch.manual_seed(0)
    first = torch.nn.Linear(64, 32)
    assert saved.network.layers[0].C_W == pytest.approx(64 * float((first.weight.detach() ** 2).mean()), rel=1e-5)
    critical = json.loads(run(*words, "--init", "critical").stdout)
    assert critical["criticality"]["critical"]
    assert repflow.load(tmp_path / "out" / "report.json").network.layers[1].C_W == 1.0


@pytest.mark.parametrize("words", [["--width", "8"], ["--depth", "3"], ["--activation", "relu"], ["--outputs", "3"]])
def test_report_of_a_model_has_its_own_sizes(run, file, tmp_path, words):
    result = run(
        "report", "--data", "digits", "--model", f"{file}:make_model", "--out", tmp_path / "out", *words, *QUICK
    )
    assert result.exit_code == 2
    assert words[0] in result.stderr


def test_report_of_a_model_needs_data_of_its_size(run, file, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    result = run("report", "--data", tmp_path / "x.npy", "--model", f"{file}:ready", "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 2
    assert "64 inputs" in result.stderr.splitlines()[-1]
