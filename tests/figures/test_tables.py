"""Tables as HTML."""

import re

import numpy as np
import pytest

from repflow.figures import table_html


def cells(html, tag="td"):
    return re.findall(rf"<{tag}(?: [^>]*)?>(.*?)</{tag}>", html)


def test_numbers_have_the_digits_asked_and_a_real_minus():
    html = table_html(["v"], [[-1.23456789e-7], [np.float64(1234.567)], [np.int64(-7)], [10**12], [0.0]])
    assert cells(html) == ["−1.235e−07", "1235", "−7", "1000000000000", "0"]
    assert cells(table_html(["v"], [[1.23456789]], digits=7)) == ["1.234568"]


def test_what_is_not_a_number():
    html = table_html(["v"], [[None], [float("nan")], [float("inf")], [-np.inf], [True], ["<script>"]])
    assert cells(html) == ["–", "NaN", "∞", "−∞", "True", "&lt;script&gt;"]


def test_only_columns_of_numbers_are_right_aligned():
    html = table_html(["name", "n"], [["a", 1], ["b", None]])
    assert html.count("rf-number") == 3
    assert '<th scope="col" class="rf-number">n</th>' in html


def test_caption_and_headings_are_escaped():
    html = table_html(["a & b"], [], caption="x < y")
    assert cells(html, "caption") == ["x &lt; y"]
    assert cells(html, "th") == ["a &amp; b"]


def test_ragged_rows():
    with pytest.raises(ValueError, match=r"rows\[1\] has 1 cells, there are 2 columns"):
        table_html(["a", "b"], [[1, 2], [1]])
