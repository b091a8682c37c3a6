"""The report as a whole: its numbers, its files, and what it refuses."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest

import repflow as rf
from repflow.reporting.page import copyable


def test_numbers_are_those_of_the_flow_and_the_ensemble(small_report):
    flow, ensemble = small_report.results["flow"], small_report.results["ensemble"]
    arrays = small_report.evidence.arrays
    np.testing.assert_array_equal(arrays["kernel/order1"][-1], flow[-1].mean_kernel().numpy())
    np.testing.assert_array_equal(arrays["kernel/ensemble"][2], ensemble[3].mean_kernel())
    assert small_report.fluctuation.ratio == pytest.approx(flow[-1].relative_fluctuation)
    a = small_report.fluctuation.input_index
    spread = np.sqrt(ensemble[-1].kernel_covariance()[a, a, a, a]) / ensemble[-1].mean_kernel()[a, a]
    assert small_report.fluctuation.measured == pytest.approx(spread)
    assert abs(small_report.fluctuation.measured - small_report.fluctuation.predicted) < 0.1
    assert small_report.agreement["agrees"]
    assert small_report.counts["parameters"] == small_report.network.n_parameters


def test_save_writes_whole_files_and_replaces_an_earlier_report(small_report, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        assert small_report.save(tmp_path) == tmp_path / "report.html"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"notes.txt", "report.html", "report.json", "flow.zarr", "ensemble.zarr", "comparison.zarr"}
    loaded = rf.load(tmp_path / "report.json")
    assert isinstance(loaded, rf.Report)
    assert loaded.to_dict() == small_report.to_dict()
    assert loaded.summary() == small_report.summary()
    assert loaded.to_html() == small_report.to_html()
    assert isinstance(rf.load(tmp_path / "ensemble.zarr"), rf.Ensemble)


@pytest.mark.parametrize("name", ["report.html", "flow.zarr", "comparison.zarr"])
def test_what_repflow_did_not_write_is_left_alone(small_report, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("")
    with pytest.raises(OSError, match=name):
        small_report.save(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_single_files(small_report, tmp_path):
    small_report.save(tmp_path / "only.html")
    small_report.save(tmp_path / "only.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["only.html", "only.json"]


def test_plain_data_is_strict_json(small_report):
    text = json.dumps(small_report.to_dict(), allow_nan=False)
    plain = json.loads(text)
    assert plain["criticality"]["critical"] is True
    assert plain["criticality"]["xi_parallel"] is None  # infinite
    assert plain["headline"] == small_report.headline


def test_page_needs_nothing_but_itself(small_report):
    html = small_report.to_html()
    tags = re.findall(r"<(?:script|link|img|iframe)[^>]*>", html)
    assert not [tag for tag in tags if re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:|//)", tag)]
    for text in ("Is it critical for this depth?", "Numbers to copy", "Provenance", "three digits", "0.02", "0.3"):
        assert text in html
    assert html.count('class="rf-figure"') == 11


def test_words_from_users_are_escaped():
    network = rf.mlp([3, 4, 2], activation="tanh", C_W=1.0, C_b=0.0)
    report = rf.report(network, np.eye(1, 3), networks=20, progress=False, data="<script>alert(1)</script>")
    assert "<script>alert" not in report.to_html()
    assert "<script>alert" not in report._repr_html_()


def test_code_to_copy_runs_and_sets_the_advised_scale(small_report):
    import torch

    torch.manual_seed(0)
    widths = small_report.network.widths
    model = torch.nn.Sequential(*(torch.nn.Linear(a, b) for a, b in pairwise(widths)))
    exec(copyable(small_report), {"model": model, "torch": torch})
    for layer, std in zip(model, small_report.advice.weight_std):
        assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.2)
        assert float(layer.bias.detach().abs().max()) == 0.0


def test_shown_in_notebooks_and_consoles(small_report):
    assert small_report.headline in small_report._repr_html_()
    assert repr(small_report).startswith("Report(")
    assert "Can theory be trusted here?" in small_report.summary()


@pytest.mark.parametrize("widths", [[3, 2], [3, 1, 2], [3, 5, 1]])
def test_small_networks_have_a_page(widths):
    report = rf.report(
        rf.mlp(widths, activation="gelu", C_W=1.0, C_b=0.1), np.zeros((2, 3)), networks=10, progress=False
    )
    assert "</html>" in report.to_html()


def test_wrong_arguments():
    network = rf.mlp([3, 4, 2], activation="tanh", C_W=1.0, C_b=0.0)
    with pytest.raises(TypeError, match="network"):
        rf.report("net", np.eye(1, 3))
    with pytest.raises(ValueError, match="x"):
        rf.report(network, np.eye(1, 4))
    for networks in (0, 1, 2.5, True):
        with pytest.raises(ValueError, match="networks"):
            rf.report(network, np.eye(1, 3), networks=networks)
