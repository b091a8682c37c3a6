"""examples/tune_model.py: a deep network that the defaults do not train, trained at lr = 1.0."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "tune_model.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("--hidden", "30", "--activation", "tanh"),
        ("--hidden", "30", "--activation", "tanh", "--optimizer", "adam"),
        ("--hidden", "10", "--activation", "relu", "--width", "128"),
    ],
    ids=" ".join,
)
def test_the_defaults_learn_nothing_and_the_plan_does(arguments):
    command = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    defaults = [float(loss) for loss in re.findall(r"default, rate .* loss ([\d.]+)", done.stdout)]
    (planned,) = (float(loss) for loss in re.findall(r"plan, lr = 1.0 +loss ([\d.]+)", done.stdout))
    assert min(defaults) > 0.4  # 0.45 is no learning
    assert planned < 0.25
