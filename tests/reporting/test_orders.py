"""Which order to trust, and how many couplings: in the report's words, table, page and files."""

import json
import math

import numpy as np
import pytest

import repflow as rf
from repflow.comparison import OrderError, WhichOrder, which_order
from repflow.reporting.orders import assess_orders, order_rows, order_sentence
from repflow.reporting.result import Report


def test_orders_are_those_of_the_input_that_fluctuates_most(small_report):
    x = small_report.results["flow"].x.numpy()
    a = small_report.fluctuation.input_index
    assert small_report.orders == which_order(small_report.network, x[a : a + 1])
    card = next(card for card in small_report.cards() if card.question == "Can theory be trusted here?")
    assert order_sentence(small_report.orders) in card.sentences
    assert small_report.orders.aspect_ratio == pytest.approx(3 / 24)
    assert small_report.orders.enough("variance") == 1


def made_up(*limits):
    entries = [
        OrderError(statistic, order, error, limit, "next terms", limit != 0.5)
        for (statistic, order, error), limit in zip(
            [
                ("mean", 0, 0.002),
                ("mean", 1, 0.0),
                ("variance", 0, 1.0),
                ("variance", 1, 0.4),
                ("variance", 2, math.inf),
            ],
            limits,
            strict=True,
        )
    ]
    return WhichOrder(tuple(entries), 0.3, 0.1, 7)


def test_sentences():
    assert order_sentence(made_up(1, 2, 0, 0.31, 0.5)) == (
        "To 10%: order 0 is enough for the mean kernel, order 1 is enough for its variance."
    )
    assert order_sentence(made_up(0.1, 0.4, 0, 0.1, 0.2)) == (
        "To 10%: order 1 is enough for the mean kernel, no order up to 2 is enough for its variance (order 2 errs by above 100%)."
    )


def test_rows():
    assert order_rows(made_up(math.inf, 2, 0, 0.31, 0.5)) == [
        ("mean kernel", 0, "0.2%", "∞"),
        ("mean kernel", 1, "0", "2"),
        ("variance of the kernel", 1, "40.0%", "0.31"),
        ("variance of the kernel", 2, "above 100%", "~0.5"),
    ]
    assert order_rows(None) == []


def test_no_series_no_orders():
    """Nine cubes overflow, and one layer has no corrections."""
    network = rf.mlp([4, *[8] * 9, 2], activation="monomial:3", C_W=5.0, C_b=1.0)
    assert assess_orders(network, np.ones(4)) is None
    assert assess_orders(rf.mlp([4, 2], activation="tanh", C_W=1.0, C_b=0.0), np.ones(4)) is None


def test_page_has_both_tables(small_report):
    html = small_report.to_html()
    for text in ("How many couplings", "Where each order stops being enough", "N<sup>6</sup>/48", "to order 2"):
        assert text in html
    # Three inputs: 6, 21 and 56 components.
    assert small_report.counts["order_2"] == 56
    assert html.count('<td class="rf-number">56</td>') >= 1


def test_reports_of_earlier_versions_have_a_page(small_report, tmp_path):
    """Without orders, and with the counts that they had."""
    path = small_report.save(tmp_path / "report.json")
    data = json.loads(path.read_text())
    text = json.dumps(data)
    assert '"orders"' in text
    loaded = rf.load(path)
    payload = loaded._payload()
    payload.meta.pop("orders")
    payload.meta["counts"] = {"inputs": 3, "general": 8, "gaussian": 9, "nearly_gaussian": 81, "parameters": 1000}
    earlier = Report._from_payload(payload, None)
    assert earlier.orders is None
    html = earlier.to_html()
    assert "How many couplings" in html
    assert "Where each order stops being enough" not in html
    assert "To 10%" not in earlier.summary()
