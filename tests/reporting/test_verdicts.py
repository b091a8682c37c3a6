"""Fluctuations, advice, and the words they are put in."""

import math

import numpy as np
import pytest

import repflow as rf
from repflow.reporting.density import gaussian_density, nearly_gaussian_density
from repflow.reporting.evidence import coupling_counts
from repflow.reporting.fluctuations import assess_fluctuations, band_of, relative_variance
from repflow.reporting.output import check_directory, finite
from repflow.reporting.words import number, percent


@pytest.mark.parametrize(
    ("ratio", "name"),
    [
        (0, "frozen"),
        (0.0199, "frozen"),
        (0.02, "working"),
        (0.299, "working"),
        (0.3, "untrusted"),
        (0.99, "untrusted"),
        (1.0, "chaotic"),
        (50, "chaotic"),
        (math.inf, "chaotic"),
    ],
)
def test_bands(ratio, name):
    assert band_of(ratio).name == name


def test_relative_variance_of_vanishing_kernels():
    found = relative_variance(np.array([2.0, 0.0, 1.0]), np.array([2.0, 0.0, 0.0]))
    assert found.tolist() == [0.5, 0.0, math.inf]


def test_fluctuations_take_the_input_where_they_are_largest():
    ratios, measured = np.array([0.04, 0.09]), (np.array([0.05, 0.16]), np.array([0.01, 0.008]))
    verdict = assess_fluctuations(ratios, measured, nu=5.0, aspect_ratio=0.02)
    assert verdict.input_index == 1
    assert verdict.predicted == pytest.approx(0.3)
    assert verdict.measured == pytest.approx(0.4)
    assert verdict.measured_error == pytest.approx(0.008 / 0.8)
    assert verdict.universal == pytest.approx(0.1)
    assert verdict.trusted


def test_densities_are_normalised_with_their_moments():
    z = np.linspace(-40, 40, 80_001)
    step = z[1] - z[0]
    plain, nearly = gaussian_density(z, 2.0), nearly_gaussian_density(z, 2.0, 0.3)
    for density in (plain, nearly):
        assert density.sum() * step == pytest.approx(1.0)
        assert (z**2 * density).sum() * step == pytest.approx(2.0)
    assert (z**4 * nearly).sum() * step / 4.0 - 3.0 == pytest.approx(0.3)


def test_coupling_counts():
    assert coupling_counts(4, 100) == {
        "inputs": 4,
        "general": 16,
        "order_0": 10,
        "order_1": 55,
        "order_2": 220,
        "parameters": 100,
    }
    assert coupling_counts(2000, 1)["general"] == 2**2000


def test_numbers_for_reading():
    assert [number(value) for value in (0.0, 0.02, 1234.0, 1e-9, math.inf)] == ["0", "0.02", "1234", "1e-09", "∞"]
    assert percent(0.123) == "12.3%"
    assert percent(2.0) == "200%"
    assert percent(0.0003) == "0.03%"
    assert percent(0.0) == "0.0%"


def test_finite_is_strict_json():
    assert finite({"a": np.float64(math.inf), "b": (1, np.int64(2), math.nan), "c": np.array([1.0, -math.inf])}) == {
        "a": None,
        "b": [1, 2, None],
        "c": [1.0, None],
    }


def test_check_directory_leaves_nothing(tmp_path):
    check_directory(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        check_directory(tmp_path / "file")
    with pytest.raises(OSError, match="not a directory"):
        check_directory(tmp_path / "file" / "below")
    with pytest.raises(OSError, match="path"):
        check_directory("a\0b", "path")


def advice_of(**network):
    x = np.eye(2, 6) * 2.0
    report = rf.report(rf.mlp(**network, x=x), x, networks=50, progress=False)
    return report, report.cards()[3]


def test_advice_for_habits_that_let_signals_fade():
    report, card = advice_of(widths=[6, *[40] * 5, 3], activation="relu", init="pytorch")
    advice = report.advice
    assert advice.changes_couplings
    assert advice.C_W[1:] == pytest.approx([2.0] * 5)
    assert advice.C_b == pytest.approx([0.0] * 6)
    assert advice.weight_std[1] == pytest.approx(math.sqrt(2 / 40))
    assert report.failures == ("untrusted", "not-critical") or report.failures == ("not-critical",)
    assert "couplings" in card.answer


def test_advice_for_networks_too_deep_for_their_width():
    report, card = advice_of(widths=[6, *[8] * 5, 3], activation="relu", init="he")
    advice = report.advice
    assert not advice.changes_couplings  # the first layer's scale is free
    assert advice.ratio == pytest.approx((1 + 5 / 8) ** 5 - 1, rel=1.0)
    wider = rf.flow(rf.mlp([6, *advice.hidden_widths, 3], activation="relu", init="he"), np.eye(1, 6), order=1)
    assert wider[-1].relative_fluctuation <= 0.3
    shallower = rf.flow(rf.mlp([6, *[8] * (advice.depth - 1), 3], "relu", init="he"), np.eye(1, 6), order=1)
    assert shallower[-1].relative_fluctuation <= 0.3
    assert "width" in card.answer
    assert str(advice.hidden_widths[0]) in " ".join(card.sentences)


def test_advice_where_nothing_is_to_be_changed():
    report, card = advice_of(widths=[6, 32, 32, 3], activation="tanh", init="critical")
    assert card.answer == "Nothing"
    assert report.failures == ()


@pytest.mark.filterwarnings("ignore:activation 'sigmoid'")
def test_advice_without_a_critical_point_says_so():
    report, card = advice_of(widths=[6, 32, 32, 32, 3], activation="sigmoid", init="critical")
    assert not report.advice.critical
    assert "no critical point" in " ".join(card.sentences)
    assert "another activation" in " ".join(card.sentences)
    assert report.failures == ("not-critical",)


def test_order_1_is_said_to_fail_where_it_does():
    report, _ = advice_of(widths=[6, *[4] * 6, 3], activation="relu", init="he")
    assert report.fluctuation.band == "chaotic"
    assert "not to be trusted" in report.agreement["sentence"]
    assert "untrusted" in report.failures
