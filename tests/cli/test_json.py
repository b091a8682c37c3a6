"""``--json``: every command prints one object with the keys that docs/command-line.md lists, and nothing else."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import repflow
from repflow.cli import app
from repflow.experiments import experiments

DOCS = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
MODEL = "from torch import nn\nmodel = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10))\n"
SMALL = ["--inputs", "1", "--depth", "2", "--width", "8", "--activation", "tanh"]


def documented():
    """Keys by command, and by kind of entry, of the tables under "JSON"."""
    section = DOCS.read_text(encoding="utf-8").split("\n## JSON\n")[1].split("\n## ")[0]
    found = {}
    for line in section.splitlines():
        cells = line.strip("|").split(" | ")
        if line.startswith("| ") and len(cells) == 2:
            found[cells[0].replace("`", "").strip()] = re.findall(r"`([A-Za-z_]+)`", cells[1])
    return found


@pytest.fixture(scope="module")
def keys():
    return documented()


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        result = CliRunner().invoke(app, [*words, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout, parse_constant=pytest.fail)

    return run


def test_report(parsed, keys):
    plain = parsed("report", *SMALL, "--networks", "64")
    assert list(plain) == keys["report"]
    assert plain["criticality"]["depth"] == 2
    assert plain["failed"] == []
    assert Path("report/report.json").exists()


def test_critical(parsed, keys):
    plain = parsed("critical", "relu")
    assert sorted(plain) == sorted(keys["critical"])
    assert plain["C_W"] == pytest.approx(2.0)
    assert plain["xi_parallel"] is None  # infinite
    assert list(parsed("critical", "sigmoid", "--order", "1", "--width", "9")) == list(plain)


def test_flow(parsed, keys):
    plain = parsed("flow", *SMALL, "--tangent", "--order", "2")
    assert list(plain) == keys["flow"]
    assert [layer["layer"] for layer in plain["layers"]] == [1, 2]
    asked = {name for name in keys["layer of flow"] if name not in ("differentials", "tangent")}
    assert asked <= set(plain["layers"][-1])
    assert set(parsed("flow", *SMALL, "--order", "0")["layers"][0]) == {"layer", "n_in", "n_out", "kernel"}
    assert repflow.Network.from_dict(plain["network"]).depth == plain["configuration"]["depth"] == 2


def test_sample(parsed, keys):
    plain = parsed("sample", *SMALL, "--networks", "8", "--tangent", "--differentials")
    assert list(plain) == keys["sample"]
    assert (plain["networks"], plain["interrupted"], plain["configuration"]["method"]) == (8, False, "weights")
    statistics = [name for name in keys["layer of sample"] if name not in ("layer", "_error")]
    assert set(plain["layers"][-1]) == {"layer", *statistics, *(f"{name}_error" for name in statistics)}
    assert parsed("sample", *SMALL, "--networks", "8")["configuration"]["method"] == "gram"


def test_tune(parsed, keys, tmp_path):
    (tmp_path / "json_model.py").write_text(MODEL, encoding="utf-8")
    plain = parsed("tune", "json_model.py:model", "--data", "digits", "--inputs", "16")
    assert list(plain) == keys["tune"]
    assert [row["parameter"] for row in plain["parameters"]] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert Path(plain["files"]["plan"]) == Path("plan/plan.json")


def test_experiment(parsed, keys):
    plain = parsed("experiment", "criticality", "--size", "small")
    assert list(plain) == keys["experiment"]
    assert plain == json.loads(Path("criticality/result.json").read_text(encoding="utf-8"))
    assert all(Path("criticality", file).exists() for file in plain["files"].values())


def test_experiment_list(parsed, keys):
    plain = parsed("experiment", "list")
    assert list(plain) == keys["experiment list"][:1]
    assert [list(entry) for entry in plain["experiments"]] == [keys["experiment list"][1:]] * len(experiments())


def test_doctor(parsed, keys):
    plain = parsed("doctor")
    assert sorted(plain) == sorted(keys["doctor"])
    assert plain["works"] is True
