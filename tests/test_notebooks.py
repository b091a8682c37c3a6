"""The notebooks run from top to bottom, and their results are what their text says."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


def run(name: str, **choices: Any) -> dict[str, Any]:
    """Execute a notebook, with other values of its sliders and menus where given, and return what it defines."""
    spec = importlib.util.spec_from_file_location(f"notebook_{name}", ROOT / "notebooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # results name their activations by module
    spec.loader.exec_module(module)
    _, defined = module.app.run(defs={key: SimpleNamespace(value=value) for key, value in choices.items()})
    return dict(defined) | vars(module)


def test_notebooks_are_well_formed():
    assert len(NOTEBOOKS) == 4
    command = [sys.executable, "-m", "marimo", "check", "--strict", *map(str, NOTEBOOKS)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_files_that_a_notebook_names_exist(path):
    named = re.findall(r"\b(?:docs|src|examples)/[\w/-]+\.\w+", path.read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_page_names_every_notebook():
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert {path.name for path in NOTEBOOKS} == set(re.findall(r"\(\.\./notebooks/(\w+\.py)\)", page))


@pytest.mark.slow
def test_the_page_runs_a_notebook_from_python(monkeypatch, capsys):
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    block = re.search(r"```py\n(.*?)```", page, re.DOTALL)
    assert block is not None
    monkeypatch.chdir(ROOT)
    exec(compile(block[1], "notebooks.md", "exec"), {})
    assert "half-stable" in capsys.readouterr().out


# One test a notebook, so that workers that run tests side by side do not run a notebook twice.


@pytest.mark.slow
def test_tune_a_model():
    found = run("tune_a_model")
    last = found["last"]
    default, plan = min(map(last, found["default_losses"].values())), last(found["plan_losses"])
    assert default > 2.2, "log 10 = 2.303 is ten equal probabilities: PyTorch's default learns nothing"
    assert plan < 0.5 * default
    assert last(found["adam_plan"]) < 0.5 * last(found["adam_default"]), "lr = 1.0 serves Adam too"

    assert found["check"].problems == ()
    assert "skipped" in {problem.kind for problem in found["found"].problems}, "the group that was lost is found"
    assert found["seeds"][64] > 3 * found["seeds"][256] > 0, "the number of seeds falls as 1/n"

    assert found["residual_plan"].measured
    ends = {name: last(losses) for name, losses in found["residual_losses"].items()}
    plan = ends.pop("plan, lr = 1.0")
    assert plan < 0.7 * min(ends.values())


@pytest.mark.slow
def test_check_a_theory_term():
    found = run("check_a_theory_term")
    agreement = found["agreement"]
    assert agreement[1].agrees
    assert agreement[2].agrees
    assert found["two_widths"].agrees

    worst = {
        order: max(row["max_z"] for row in comparison.rows if row["quantity"] == "kernel_covariance")
        for order, comparison in agreement.items()
    }
    assert worst[1] > 10, "the ensemble sees order 2"
    assert worst[2] < worst[1] / 4, "and order 2 accounts for it"

    # Each order is steeper by one power of n, against the exact law.
    np.testing.assert_allclose(found["mean_slopes"], [-1, -2, -3], atol=0.2)
    np.testing.assert_allclose(found["variance_slopes"], [-1, -2], atol=0.2)


@pytest.mark.slow
def test_check_a_theory_term_with_other_choices():
    other = run("check_a_theory_term", activation="relu", width=64, depth=3, networks=2_000)
    assert other["agreement"][1].agrees
    assert np.isnan(other["mean_slopes"]).all(), "the mean of relu has no corrections: there is no slope to fit"


@pytest.mark.slow
def test_add_an_activation():
    found = run("add_an_activation")
    activations, critical, curves = (found[name] for name in ("activations", "critical", "curves"))
    assert {name: sigma.kinks for name, sigma in activations.items()} == {"snake": (), "leaky tanh": (1.0,), "erf": ()}
    assert not activations["erf"].differentiable, "SciPy is out of reach of automatic differentiation"
    assert critical["erf"].C_W == pytest.approx(np.pi / 4, rel=1e-8)
    assert critical["leaky tanh"].C_W == pytest.approx(1.0, rel=1e-8)
    assert [one.universality_class for one in critical.values()] == ["half-stable", "K*=0", "K*=0"]

    assert curves["snake, critical"][-1] == pytest.approx(curves["snake, critical"][0], rel=0.1)
    for name in activations:
        assert curves[f"{name}, pytorch"][-1] < 0.2 * curves[f"{name}, critical"][-1], name
        assert found["agreement"][name].agrees, name

    assert len(found["refused"]) == 5
    assert "not elementwise" in found["refused"][0]
    assert not found["plan"].measured, "tune reads the activation out of the model"
    assert found["same"], "a file gives the same vertex back"
    assert "no longer has the values" in found["another"]


def test_find_the_critical_line():
    found = run("find_the_critical_line")
    critical, plane, C_W, C_b = (found[name] for name in ("critical", "plane", "C_W_axis", "C_b_axis"))
    assert (critical.C_W, critical.C_b) == pytest.approx((1.0, 0.0), abs=1e-12)
    row, column = np.unravel_index(found["depth_scale"].argmax(), found["depth_scale"].shape)
    assert (C_W[row], C_b[column]) == pytest.approx((1.0, 0.0), abs=1e-12), "the depth scale is largest there"
    assert (plane.chi_perpendicular[C_W < 0.99, 0] < 1).all()
    assert (plane.chi_perpendicular[C_W > 1.01, 0] > 1).all()
    assert (plane.chi_parallel <= 1 + 1e-6).all()

    for kind, curves in found["predicted"].items():
        for name, predicted in curves.items():
            measured, error = found["measured"][kind][name]
            # 5%: corrections of order 1/n at width 512 over 24 layers.
            assert (np.abs(measured - predicted) <= 5 * error + 0.05 * predicted).all(), (kind, name)

    assert found["shifted"].C_W == pytest.approx(1 + 2 / (3 * 32))
    kept, drifts = found["ratios"]["shifted couplings"], found["ratios"]["couplings of infinite width"]
    assert kept[-1] == pytest.approx(kept[8], rel=0.04), "the power law is kept"
    assert drifts[-1] < 0.85 * drifts[8]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_find_the_critical_line_with_other_choices(activation):
    other = run("find_the_critical_line", activation=activation, width=128)
    growth = [other["predicted"][kind]["critical"][-1] for kind in ("norm", "direction")]
    assert growth == pytest.approx([1.0, 1.0], rel=1e-3), "from the first layer on K is at its fixed point"
