"""The section on representation learning: what it says, where it cannot, and that it comes back from a file."""

import numpy as np
import pytest

import repflow as rf
from repflow.data import load_data
from repflow.reporting.learning import (
    LearningVerdict,
    assess_learning,
    learning_card,
    learning_chart,
    learning_rows,
    spread_rows,
)


def network(activation="tanh", width=64, depth=3, outputs=10):
    return rf.mlp([64, *[width] * (depth - 1), outputs], activation=activation, init="critical")


def test_numbers_are_those_of_the_prediction():
    data = load_data("digits", inputs=6)
    net = network(width=5000)
    verdict = assess_learning(net, data.x, data.y)
    rows = list(verdict.inputs)
    assert rows == [0, 1, 2, 3]
    assert verdict.targets == "labels"
    found = rf.representation_learning(net, data.x[rows], data.y[rows])
    assert verdict.kernels == pytest.approx(found.relative_kernel_change)
    assert verdict.ntk == pytest.approx(found.relative_ntk_change)
    assert verdict.learning_rate == pytest.approx(verdict.edge / 2)
    assert verdict.regime == "frozen"
    assert "frozen" in learning_card(verdict).answer
    assert [row[0] for row in learning_rows(verdict)] == ["kernel of layer 1", "kernel of layer 2", "NTK at the output"]
    assert len(learning_chart(verdict).figure.data[0].y) == 3
    assert LearningVerdict.from_dict(verdict.to_dict()) == verdict


def test_width_decides_what_it_says():
    data = load_data("digits", inputs=3)
    regimes = [assess_learning(network(width=n), data.x, data.y).regime for n in (64, 300, 20_000)]
    assert regimes == ["beyond order 1", "moving", "frozen"]


def test_kinks_get_a_reason_and_a_page():
    data = load_data("digits", inputs=3)
    verdict = assess_learning(network("relu"), data.x, data.y)
    assert verdict.regime is None
    assert "kink" in verdict.reason
    assert learning_chart(verdict) is None
    assert learning_rows(verdict) == []
    report = rf.report(network("relu", width=16), data.x, networks=50, progress=False)
    assert "Not predicted" in report.to_html()


def test_a_single_layer_has_no_features():
    assert "single layer" in assess_learning(network(depth=1), np.ones((2, 64))).reason


def test_equal_inputs_with_unequal_targets_are_trained_for_a_number_of_steps():
    x = np.ones((2, 64))
    verdict = assess_learning(network(outputs=1), x, np.array([1.0, -1.0]))
    assert verdict.steps == 1000
    assert verdict.loss_after == pytest.approx(0.5)


def test_labels_that_do_not_fit_the_outputs_are_left_out():
    data = load_data("digits", inputs=6)
    assert assess_learning(network(outputs=2), data.x, data.y).targets == "random balanced labels"
    assert assess_learning(network(outputs=2), data.x).targets == "random balanced labels"


def test_rows_are_spread_over_the_classes():
    assert spread_rows(np.array([0, 0, 0, 1, 1, 2, 2]), 7) == (0, 1, 3, 5)
    assert spread_rows(None, 100) == (0, 33, 66, 99)
    assert spread_rows(np.linspace(0, 1, 3), 3) == (0, 1, 2)


def test_report_holds_it_and_gives_it_back(small_report):
    assert small_report.learning is not None
    loaded = rf.Report.from_json(small_report.to_json())
    assert loaded.learning == small_report.learning
    html = small_report.to_html()
    assert "Representation learning" in html
    assert "How much will features move?" in html
