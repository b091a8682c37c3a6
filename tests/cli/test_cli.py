"""The command line: one-line errors, exit statuses, configuration files, JSON, and what ends up on the disk."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import repflow
from repflow.cli import app

QUICK = ["--networks", "64", "--depth", "3", "--width", "8", "--inputs", "2", "--activation", "tanh", "--no-progress"]


@pytest.fixture(scope="module")
def run():
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(word) for word in words])


def assert_one_line(result, *parts):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("repflow: error: ")
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["repot"], ["repot"]),
        (["flo"], ["flo", "flow"]),
        (["flow", "--dept", "3"], ["--dept", "--depth"]),
        (["critical"], ["ACTIVATION"]),
        (["experiment"], ["NAME|list"]),
        (["report", "--data", "digits", "--out", "OUT", "--depth", "deep"], ["--depth", "'deep'"]),
        (["report", "--data", "digits", "--out", "OUT", "--depth", "0"], ["--depth", "'0'"]),
        (["report", "--data", "digits", "--out", "OUT", "--networks", "0"], ["--networks", "'0'"]),
        (["report", "--data", "digits", "--out", "OUT", "--networks", "1"], ["networks", "1"]),
        (["report", "--data", "digits", "--out", "OUT", "--width", "8,x"], ["--width", "8,x"]),
        (["report", "--data", "digits", "--out", "OUT", "--width", "8,8", "--depth", "4"], ["--width", "--depth"]),
        (["report", "--data", "digits", "--out", "OUT", "--activation", "nope"], ["activation", "nope"]),
        (["report", "--data", "digits", "--out", "OUT", "--c-w", "-1"], ["C_W", "-1"]),
        (["report", "--data", "digits", "--out", "OUT", "--c-w", "nan"], ["C_W", "nan"]),
        (["report", "--data", "digits", "--out", "OUT", "--c-w", "1", "--init", "he"], ["--init", "--c-w"]),
        (["report", "--data", "digits", "--out", "OUT", "--init", "magic"], ["--init", "'magic'", "critical"]),
        (["report", "--data", "digits", "--out", "OUT", "--fail-if", "ugly"], ["--fail-if", "ugly"]),
        (["report", "--data", "nowhere.npy", "--out", "OUT"], ["--data 'nowhere.npy'", "no such file"]),
        (["report", "--data", "nowhere.txt", "--out", "OUT"], ["--data 'nowhere.txt'", ".npy", ".parquet"]),
        (["flow", "--data", "digits", "--target", "label"], ["--target", "labels"]),
        (["report", "--data", "digits", "--out", "OUT", "--config", "nowhere.yaml"], ["nowhere.yaml"]),
        (["flow", "--inputs", "2000"], ["--inputs", "2000"]),
        (["flow", "--out", "OUT/file/\0"], ["--out", "null"]),
        (["critical", "nope"], ["nope", "tanh"]),
        (["critical", "geluu"], ["'geluu'", "did you mean 'gelu'"]),
        (["critical", "GELU"], ["did you mean 'gelu'?"]),
        (["critical", "tanh,relu"], ["ACTIVATION", "one"]),
        (["flow", "--differentials"], ["--tangent"]),
        (["sample", "--differentials"], ["--tangent"]),
        (["flow", "--data", "https://example.org/x.csv"], ["https://example.org/x.csv", "address"]),
        (["critical", "tanh", "--order", "1"], ["--width"]),
        (["sample", "--activation", "tahn"], ["'tahn'", "did you mean 'tanh'"]),
        (["experiment", "nope", "--out", "OUT"], ["nope", "criticality"]),
        (["experiment", "run_all", "--out", "OUT"], ["did you mean 'run-all'"]),
        (["experiment", "rgflow", "--out", "OUT"], ["'rgflow'", "did you mean 'rg-flow'"]),
    ],
)
def test_errors_are_one_line_and_write_nothing(run, tmp_path, words, parts):
    out = tmp_path / "out"
    assert_one_line(run(*(str(out) if word == "OUT" else word for word in words)), *parts)
    assert not out.exists()


def test_output_is_checked_before_the_work(run, tmp_path):
    file = tmp_path / "file"
    file.write_text("taken", encoding="utf-8")
    for command in (["report", "--data", "digits"], ["experiment", "criticality"]):
        assert_one_line(run(*command, "--out", file / "below"), str(file))
    assert file.read_text() == "taken"


def test_data_with_nan_is_named(run, tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1.0, np.nan]]))
    assert_one_line(run("flow", "--data", tmp_path / "x.npy"), "x.npy", "nan")


def test_report_writes_page_json_and_results(run, tmp_path):
    result = run("report", "--data", "digits", "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith("report.html")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.zarr",
        "ensemble.zarr",
        "flow.zarr",
        "report.html",
        "report.json",
    ]
    loaded = repflow.load(tmp_path / "out" / "report.json")
    assert loaded.networks == 64
    assert loaded.provenance["configuration"]["width"] == "8"
    assert len(repflow.load(tmp_path / "out" / "flow.zarr")) == 3


@pytest.mark.parametrize(
    ("words", "failed"),
    [
        (["--init", "pytorch", "--depth", "6"], ["not-critical"]),
        (["--width", "2", "--depth", "6", "--activation", "relu"], ["untrusted"]),
        (["--width", "32", "--depth", "3"], []),
    ],
)
def test_fail_if(run, tmp_path, words, failed):
    base = ["report", "--data", "digits", "--out", tmp_path, *QUICK, *words, "--json"]
    result = run(*base, "--fail-if", "untrusted,not-critical")
    assert result.exit_code == (1 if failed else 0)
    assert json.loads(result.stdout)["failed"] == failed
    assert run(*base).exit_code == 0


def test_config_file_is_overridden_by_the_command_line(run, tmp_path):
    config = tmp_path / "options.yaml"
    config.write_text(
        "depth: 4\nwidth: [6, 7, 8]\nactivation: tanh\ninputs: 1\ninit: he\njson: true\n", encoding="utf-8"
    )
    plain = json.loads(run("flow", "--config", config).stdout)
    assert [layer["n_out"] for layer in plain["layers"]] == [6, 7, 8, 10]
    assert plain["network"]["layers"][1]["C_W"] == 2.0
    plain = json.loads(run("flow", "--config", config, "--width", "5", "--depth", "3", "--c-w", "1.5").stdout)
    assert [layer["n_out"] for layer in plain["layers"]] == [5, 5, 10]
    assert plain["network"]["layers"][1]["C_W"] == 1.5


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("depht: 4", ["depht", "depth"]),
        ("- 1", ["option"]),
        ("depth: [", ["YAML"]),
        ("json: 3", ["json"]),
        ("depth: true", ["depth"]),
        ("depth: {a: 1}", ["depth"]),
        ("depth: deep", ["--depth"]),
        ("init: he\nc-w: 1.0", ["--init"]),
    ],
)
def test_config_errors_name_the_key(run, tmp_path, text, parts):
    config = tmp_path / "options.yaml"
    config.write_text(text, encoding="utf-8")
    assert_one_line(run("flow", "--config", config), *parts)


def test_own_data_and_outputs(run, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", a=rng.normal(size=(5, 3)), b=np.arange(5) % 2)
    plain = json.loads(
        run("flow", "--data", tmp_path / "d.npz", "--x-key", "a", "--y-key", "b", "--depth", "2", "--json").stdout
    )
    assert plain["network"]["layers"][-1]["n_out"] == 2
    assert len(plain["layers"][0]["kernel"]) == 4
    wide = run("flow", "--data", tmp_path / "d.npz", "--x-key", "a", "--outputs", "7", "--depth", "2", "--json")
    assert json.loads(wide.stdout)["network"]["layers"][-1]["n_out"] == 7


def test_results_are_saved(run, tmp_path):
    assert run("flow", "--inputs", "1", "--depth", "2", "--out", tmp_path / "f.json").exit_code == 0
    assert run("sample", "--inputs", "1", "--depth", "2", "--networks", "8", "--out", tmp_path / "e").exit_code == 0
    assert len(repflow.load(tmp_path / "f.json")) == 2
    assert repflow.load(tmp_path / "e").networks == 8


def test_strict_experiment(run, tmp_path, monkeypatch):
    import repflow.experiments as room

    for verdict, status in (("agrees", 0), ("inconclusive", 1), ("disagrees", 1)):
        result = {"experiment": "e", "claim": "c", "verdict": verdict, "seconds": 0.0, "numbers": {"a": 1.0}}
        monkeypatch.setattr(room, "run_experiment", lambda *_, result=result, **__: result)
        assert run("experiment", "sparsity", "--out", tmp_path).exit_code == 0
        assert run("experiment", "sparsity", "--out", tmp_path, "--strict").exit_code == status


def test_interruption_is_one_word_and_its_own_status(run, monkeypatch):
    import repflow.criticality as room

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "critical", interrupted)
    result = run("critical", "tanh")
    assert (result.exit_code, result.stderr) == (130, "repflow: interrupted\n")


def test_defects_keep_their_traceback(run, monkeypatch):
    import repflow.criticality as room

    def broken(*_, **__):
        raise RuntimeError("a defect")

    monkeypatch.setattr(room, "critical", broken)
    assert isinstance(run("critical", "tanh").exception, RuntimeError)


def test_the_tangent_kernel_from_both_sides(run):
    problem = ("--inputs", "1", "--depth", "2", "--width", "8", "--activation", "tanh", "--tangent", "--json")
    theory = json.loads(run("flow", *problem).stdout)["layers"][-1]
    assert {"ntk", "mean_ntk", "A", "F", "P", "U"} <= set(theory)
    assert "P" not in json.loads(run("flow", *problem, "--no-differentials").stdout)["layers"][-1]
    drawn = json.loads(run("sample", *problem, "--networks", "4000", "--differentials").stdout)["layers"][-1]
    for name in ("mean_ntk", "B", "Q"):
        measured, error, expected = (
            np.ravel(found[key])[0] for found, key in ((drawn, name), (drawn, f"{name}_error"), (theory, name))
        )
        assert abs(measured - expected) < 6 * error + 0.1 * abs(expected)
    assert "E H_11" in run("flow", *problem[:-1]).stdout
    assert_one_line(run("sample", *problem, "--method", "gram", "--networks", "10"), "tangent", "weights")
