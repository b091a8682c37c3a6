"""The scripts of examples/ run, and say what their own docstrings promise."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ROW = re.compile(r"layer +(\d+) +(-?[\d.]+) +\+- ([\d.]+) +\(standard error ([\d.]+)\)")


def run(name: str, *arguments: str) -> str:
    """What a script prints; it has to succeed without a word on stderr."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fluctuations(text: str, heading: str) -> list[tuple[int, float, float, float]]:
    """(layer, mean, standard deviation, standard error) of the rows below a heading."""
    below = text.split(f"{heading}: ")[1].splitlines()[1:]
    rows = []
    for line in below:
        match = ROW.search(line)
        if match is None:
            break
        rows.append((int(match[1]), *(float(match[i]) for i in (2, 3, 4))))
    return rows


def check_fluctuations(text: str, depth: int) -> None:
    for heading in ("mean of G_aa", "class contrast"):
        rows = fluctuations(text, heading)
        assert [row[0] for row in rows] == list(range(2, depth + 1))
        for _, mean, deviation, error in rows:
            # The kernel of tanh is positive, classes differ in it, and it fluctuates by less than itself.
            assert 0 < deviation < mean
            assert 0 < error < 0.1 * deviation


def test_kernel_fluctuation_small():
    arguments = ("--inputs", "24", "--depth", "4", "--samples", "2000")
    check_fluctuations(run("kernel_fluctuation.py", *arguments), 4)


@pytest.mark.slow
def test_kernel_fluctuation_of_a_thousand_digits():
    text = run("kernel_fluctuation.py")
    check_fluctuations(text, 10)
    # At the second layer the mean of G_aa is <tanh^2> over the data.
    assert fluctuations(text, "mean of G_aa")[0][1] == pytest.approx(0.3930, abs=5e-4)


def test_custom_activation():
    text = run("custom_activation.py", "--networks", "2000")
    assert "points where it is not smooth: (1.0,)" in text
    assert "K*=0" in text
    assert "theory agrees with the ensemble" in text


@pytest.mark.slow
def test_tune_model_small():
    text = run("tune_model.py", "--hidden", "4", "--width", "32", "--steps", "40")
    losses = [float(loss) for loss in re.findall(r"default, rate .* loss (\S+)", text)]
    assert len(losses) == 5
    best = min(loss for loss in losses if math.isfinite(loss))  # the highest rate may diverge
    plan = re.search(r"plan, lr = 1.0 +loss ([\d.]+) +right (\d+)%", text)
    assert plan is not None
    # One run at the predicted rate, against the best of five.
    assert float(plan[1]) < 0.8 * best


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("kernel_fluctuation.py", ("--inputs", "5"), "--inputs must be 11 or more"),
        ("tune_model.py", ("--hidden", "0"), "--hidden must be 1 or more"),
        ("tune_model.py", ("--activation", "swish"), "invalid choice: 'swish'"),
        ("custom_activation.py", ("--networks", "1"), "--networks must be 2 or more"),
    ],
)
def test_wrong_options_are_named(name, arguments, message):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "failed"),
    [
        pytest.param(("--networks", "200"), 0, None, marks=pytest.mark.slow),
        (("--networks", "200", "--width", "64", "--depth", "10"), 1, "untrusted"),
        pytest.param(
            ("--networks", "200", "--activation", "relu", "--init", "pytorch"),
            1,
            "not-critical",
            marks=pytest.mark.slow,
        ),
        (("--networks", "none"), 2, None),
    ],
)
def test_ci_check(tmp_path, arguments, status, failed):
    # The command, wherever repflow is imported from.
    command = tmp_path / "bin" / "repflow"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c 'from repflow.cli import app; app()' \"$@\"\n")
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", str(EXAMPLES / "ci_check.sh"), *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert re.findall(r"^failed: (.*)$", done.stdout, re.M) == ([failed] if failed else [])
    assert (tmp_path / "report" / "report.html").exists() == (status != 2)


def test_ci_check_without_repflow_says_so(tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    done = subprocess.run(
        [shutil.which("bash"), str(EXAMPLES / "ci_check.sh")],
        cwd=tmp_path,
        env={"PATH": str(empty)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("repflow is not on the PATH")
