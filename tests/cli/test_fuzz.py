"""Whatever is typed: no traceback, an exit status of 0, 1 or 2, and one line on stderr where it is 2."""

import tempfile
import warnings
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from repflow.cli import app

WORDS = st.one_of(
    st.sampled_from(
        ["", "0", "1", "2", "-1", "1e400", "nan", "inf", "1.5", "2,3", ",", "2,", "tanh", "relu", "he", "--", "x"]
    ),
    st.integers(-3, 3).map(str),
    st.floats(width=32).map(str),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
)
SMALL = st.integers(1, 3).map(str)
OPTIONS = {
    "--inputs": SMALL,
    "--depth": SMALL,
    "--width": st.sampled_from(["1", "3", "2,2"]),
    "--outputs": SMALL,
    "--activation": st.sampled_from(["tanh", "relu", "identity", "leaky_relu:0.2", "tanh,relu", "sigmoid:2"]),
    "--init": st.sampled_from(["critical", "pytorch", "he", "xavier", "lecun"]),
    "--c-w": st.sampled_from(["0", "1", "2.5", "1e200"]),
    "--c-b": st.sampled_from(["0", "0.1", "1e-300"]),
    "--networks": st.sampled_from(["1", "2", "9"]),
    "--seed": SMALL,
    "--method": st.sampled_from(["gram", "weights"]),
    "--order": st.sampled_from(["0", "1"]),
    "--target": st.just("t"),
    "--x-key": st.just("x"),
}
FLAGS = ("--standardize", "--json", "--tangent", "--no-progress", "--help")


@st.composite
def command_lines(draw):
    command = draw(st.sampled_from(["flow", "sample", "critical", "experiment", "report", "nothing"]))
    words = [command]
    if command in ("critical", "experiment") and draw(st.booleans()):
        words.append(draw(st.one_of(st.sampled_from(["tanh", "softplus", "list"]), WORDS)))
    for name in draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=4, unique=True)):
        words += [name, draw(OPTIONS[name]) if draw(st.integers(0, 3)) else draw(WORDS)]
    words += draw(st.lists(st.sampled_from(FLAGS), max_size=2, unique=True))
    if draw(st.integers(0, 4)) == 0:
        words.insert(draw(st.integers(1, len(words))), draw(WORDS))
    # Small whatever else is said: the first of the defaults would cost seconds.
    defaults = {"flow": ["--depth", "2"], "sample": ["--depth", "2", "--networks", "4"]}.get(command, [])
    return [command, *defaults, *words[1:]]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(words=command_lines())
def test_no_command_line_ends_in_a_traceback(words):
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        # A network of astronomic couplings overflows, and says so.
        warnings.simplefilter("ignore", RuntimeWarning)
        if words[0] == "report":
            # Without data it parses and refuses; the whole command is tested elsewhere.
            words = [*words, "--data", str(Path(directory) / "none.npy"), "--out", str(Path(directory) / "out")]
        result = CliRunner().invoke(app, words)
    if result.exit_code not in (0, 1, 2) or not (result.exception is None or isinstance(result.exception, SystemExit)):
        raise AssertionError(words) from result.exception
    assert "Traceback" not in result.output
    if result.exit_code == 2:
        errors = [line for line in result.stderr.splitlines() if not line.startswith("repflow: warning: ")]
        assert len(errors) == 1
        assert errors[0].startswith("repflow: error: ")
        assert result.stdout == ""
