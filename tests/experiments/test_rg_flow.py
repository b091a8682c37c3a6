"""The rg-flow experiment: memory and exponents on made-up numbers, the step against one that is wrong, a small run."""

import math
from dataclasses import replace

import numpy as np
import pytest

from repflow.experiments import run_experiment
from repflow.experiments.rg_flow import layer_step
from repflow.experiments.rg_flow.digits import octave_exponents
from repflow.experiments.rg_flow.experiment import KEPT, OFF_KEPT, judge, judge_digits, memory_rate
from repflow.experiments.rg_flow.layer_step import rg_step
from repflow.experiments.rg_flow.one_input import Running, power, regression

CHI = math.exp(-1 / 5)


def run(name, growth, memory, kept=KEPT, relative=0.01, chi=None):
    """r = l^growth/n and m = (l/16)^memory, or chi^(l - 16)."""
    h = np.array(kept, dtype=np.float64)
    m = ((h + 1) / 17) ** memory if chi is None else chi ** (h - 16)
    r, zero = h**growth / 100, np.zeros(len(h))
    return Running(name, 100, h.astype(np.int64), 1 / h, r, r, relative * r, zero, zero, zero, m, relative * m, m, 16)


GOOD = {
    "relu": run("relu", 1.0, 0.0),
    "tanh": run("tanh", 1.0, -1.0),
    "off": run("off", 0.0, 0.0, OFF_KEPT, chi=CHI),
}


def judged(**changes):
    runs = GOOD | changes
    return judge(runs["relu"], runs["tanh"], runs["off"], CHI)


def test_rule_agrees():
    verdicts, numbers = judged()
    assert set(verdicts.values()) == {"agrees"}
    assert numbers["off"]["xi_measured"] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("changes", "part", "verdict"),
    [
        ({"relu": run("relu", 1.3, 0.0)}, "relu: growth of r", "disagrees"),
        ({"relu": run("relu", 1.1, 0.0)}, "relu: growth of r", "inconclusive"),
        ({"tanh": run("tanh", 1.0, -0.5)}, "tanh: memory of the kernel", "disagrees"),
        ({"tanh": run("tanh", 1.0, -1.0, relative=0.1)}, "tanh: memory of the kernel", "inconclusive"),
        ({"off": run("off", 1.0, 0.0, OFF_KEPT, chi=CHI)}, "off: growth of r", "disagrees"),
        ({"off": run("off", 0.0, 0.0, OFF_KEPT, chi=CHI**0.5)}, "correlation length", "disagrees"),
        ({"off": run("off", 0.0, 0.0, OFF_KEPT, 0.05, chi=CHI**0.92)}, "correlation length", "inconclusive"),
    ],
)
def test_rule(changes, part, verdict):
    verdicts, _ = judged(**changes)
    assert verdicts[part] == verdict


def test_rule_on_the_digits():
    row = {"activation": "tanh", "coupling": "vertex", "over_octave": 1.2, "measured": 1.21, "stderr": 0.01}
    rows = [row, {**row, "coupling": "norms", "measured": 1.5}, {**row, "coupling": "directions", "stderr": 0.1}]
    rows.append({**row, "coupling": "A", "measured": None, "stderr": None})
    verdicts, shown = judge_digits(rows)
    assert list(verdicts.values()) == ["agrees", "disagrees", "inconclusive"]
    assert "interval" not in shown[3]


def test_memory_rate_weighs_by_error():
    noisy = replace(GOOD["off"], memory_stderr=np.where(GOOD["off"].hidden > 20, 1.0, 0.001))
    rate, error = memory_rate(noisy)
    assert rate == pytest.approx(0.2)
    assert error < 0.01


def test_regression_takes_noise_out_and_keeps_the_slope():
    generator = np.random.default_rng(0)
    x, noise = generator.standard_normal((2, 20_000))
    y = 0.3 * x + 2.0 * noise + 0.1 * generator.standard_normal(20_000)
    plain, without = regression(y, x), regression(y, x, noise)
    assert abs(plain[0] - 0.3) < 4 * plain[1]
    assert abs(without[0] - 0.3) < 4 * without[1]
    assert without[1] < 0.1 * plain[1]
    assert plain[1] == pytest.approx(2.0 / math.sqrt(20_000), rel=0.05)


def test_power_of_ends():
    value, error = power(np.array([2.0, 32.0]), np.array([0.02, 0.32]), np.array([1.0, 4.0]))
    assert value == pytest.approx(2.0)
    assert error == pytest.approx(0.01 * math.sqrt(2) / math.log(4))


def test_octave_exponents_of_known_matrices():
    """Two layers of Wishart-like matrices with known mean and spread."""
    generator = np.random.default_rng(2)
    scales = np.array([[1.0, 2.0], [1.0, 1.5]])  # K_aa in the two layers
    cosines, spreads = (0.5, 0.75), (0.1, 0.2)
    drawn = np.empty((2, 40_000, 2, 2))
    for layer in range(2):
        factor = 1.0 + spreads[layer] * generator.standard_normal(40_000)
        K = np.diag(scales[layer])
        K[0, 1] = K[1, 0] = cosines[layer] * math.sqrt(K[0, 0] * K[1, 1])
        drawn[layer] = factor[:, None, None] * K
    found = octave_exponents(drawn)
    for name, exact in (
        ("vertex", 2.0),
        ("norms", math.log2(math.log(1.5) / math.log(2))),
        ("directions", -1.0),
    ):
        value, error = found[name]
        assert abs(value - exact) <= 5 * error + 1e-9
    assert 0 < found["vertex"][1] < 0.05


def test_one_step_agrees_and_a_wrong_step_is_seen(monkeypatch):
    found = rg_step(6, 5, 40_000, (1, 2))
    assert found["p_value"] > 1e-3
    for name in ("mean", "variance", "third cumulant"):
        assert found[name]["integrated"] == pytest.approx(found[name]["sampled"], abs=5 * found[name]["stderr"])
    right = layer_step.moments_of
    # a new layer's own fluctuation ten per cent too large
    monkeypatch.setattr(layer_step, "moments_of", lambda *args: right(*args) * np.array([1.0, 1.1, 1.0]))
    assert rg_step(6, 5, 40_000, (1, 2))["variance"]["z"] < found["variance"]["z"] - 3.0
    monkeypatch.setattr(layer_step, "moments_of", lambda *args: right(*args) * np.array([1.02, 1.0, 1.0]))
    assert rg_step(6, 5, 40_000, (1, 2))["p_value"] < 1e-3


@pytest.mark.slow
def test_small_run(tmp_path):
    result = run_experiment("rg-flow", tmp_path / "a", size="small", seed=1)
    assert result["verdict"] in ("agrees", "inconclusive")
    by_name = {(r["activation"], r["coupling"]): r for r in result["numbers"]["digits"]}
    assert by_name["tanh", "vertex"]["verdict"] == "relevant"
    assert by_name["tanh", "norms"]["verdict"] == "irrelevant"
    assert by_name["relu", "kernel_correction"]["verdict"] == "vanishes"
    assert by_name["relu", "norms"]["verdict"] == "marginal"
    again = run_experiment("rg-flow", tmp_path / "b", size="small", seed=1)
    assert again["numbers"] == result["numbers"]
