"""How a command ends: exit statuses of the real program, pipes that close, Ctrl-C, encodings, colour and width."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

CODE = "from repflow.cli import app; app()"
#: Stops the command at the place where the work starts, with a file to say so.
WAITING = """
import pathlib, sys, time
import repflow.criticality as room

def wait(*_, **__):
    pathlib.Path(sys.argv.pop()).touch()
    time.sleep(60)

room.critical = wait
from repflow.cli import app
app(["critical", "tanh"])
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


def run(*words, code=CODE, cwd=None, **environment):
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**plain, **environment},
        cwd=cwd,
        capture_output=True,
        check=False,
        timeout=300,
    )


def on_a_terminal(*words, **environment):
    """What a command shows where stdout and stderr are a terminal."""
    import pty  # of POSIX alone

    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        env={**plain, "TERM": "xterm-256color", **environment},
        stdout=theirs,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # what Linux says at the end
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_statuses(tmp_path):
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, b"")
    small = ["--depth", "6", "--width", "8", "--inputs", "1", "--networks", "64", "--init", "pytorch"]
    failed = run("report", *small, "--fail-if", "not-critical", cwd=tmp_path)
    assert failed.returncode == 1
    assert b"failed: not-critical" in failed.stdout
    assert (tmp_path / "report" / "report.html").exists()  # where --out is, unless given
    wrong = run("flow", "--depth", "none")
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert wrong.stderr.count(b"\n") == 1


def test_ctrl_c_before_a_result(tmp_path):
    started = tmp_path / "started"
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(started)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"repflow: interrupted\n")


@pytest.mark.parametrize("command", ["sample", pytest.param("report", marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_is_complete(tmp_path, command):
    # Ctrl-C after the second block that was drawn.
    code = """
import os, signal
import repflow.ensemble.accumulator as room
absorb, calls = room.Accumulator.absorb, []

def counting(self, *args, **kwargs):
    calls.append(None)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return absorb(self, *args, **kwargs)

room.Accumulator.absorb = counting
from repflow.cli import app
app()
"""
    words = ["--depth", "2", "--width", "4", "--inputs", "1", "--networks", "1000000", "--out", str(tmp_path / "out")]
    ended = run(command, *words, "--json", code=code)
    assert ended.returncode == 130, ended.stderr
    found = json.loads(ended.stdout)
    assert found["interrupted"] is True
    assert 0 < found["networks"] < 1_000_000
    assert ended.stderr == b"repflow: interrupted\n"
    assert (tmp_path / "out").is_dir()


def test_a_pipe_that_closes_is_no_error(tmp_path):
    # More than a pipe holds, so that the command is still writing when the reader leaves; and a reader that leaves
    # before anything is written, to what Rich prints and to what Python does.
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(12, 3)))
    command = f"'{sys.executable}' -c '{CODE}'"
    for words, reader in (
        ("flow --data x.npy --inputs 12 --depth 20 --json --order 0", "head -n 1 > first"),
        ("report --help", "true"),
        ("--version", "true"),
    ):
        line = f"(sleep 0.3; {command} {words} 2> err; echo $? > status) | {reader}"
        subprocess.run(["bash", "-c", line], cwd=tmp_path, check=False, timeout=300)
        assert ((tmp_path / "status").read_text(), (tmp_path / "err").read_text()) == ("141\n", ""), words
    assert (tmp_path / "first").read_text() == "{\n"


@pytest.mark.parametrize(
    ("encoding", "words", "status"),
    [
        ("ascii", ("flow", "--depth", "2", "--inputs", "1"), 0),
        ("cp1252", ("report", "--help"), 0),
        ("ascii", ("critical", "\u03bd"), 2),
    ],
)
def test_pipes_get_no_colour_and_no_letter_that_they_lack(encoding, words, status):
    ended = run(*words, PYTHONIOENCODING=encoding)
    assert ended.returncode == status
    assert b"\x1b" not in ended.stdout + ended.stderr  # a pipe gets no colour
    if status == 0:
        assert ended.stderr == b""
        assert "depth" in ended.stdout.decode(encoding)
    else:
        assert ended.stderr.count(b"\n") == 1


FLOW = ("flow", "--depth", "2", "--inputs", "1", "--no-progress")


def test_a_terminal_gets_colour():
    for words in (("critical", "--help"), FLOW):
        assert "\x1b[" in on_a_terminal(*words)


@pytest.mark.slow
def test_no_color_is_obeyed():
    for words in (("critical", "--help"), FLOW):
        codes = re.findall(r"\x1b\[([\d;]*)m", on_a_terminal(*words, NO_COLOR="1"))
        assert all(part in {"", *"012345"} for code in codes for part in code.split(";")), (
            codes
        )  # bold, dim and the like


@pytest.mark.slow
def test_progress_is_silent_in_pipes_and_seen_where_asked():
    words = ("sample", "--depth", "2", "--inputs", "1", "--networks", "2000")
    assert run(*words).stderr == b""
    assert run(*words, "--progress").stderr != b""
