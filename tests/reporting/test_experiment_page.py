"""The page of an experiment says what its result says, and carries its data."""

import html
import json
import re

import pytest

from repflow.figures import lines
from repflow.reporting.experiment_page import (
    Caption,
    command_of,
    experiment_page,
    flat,
    plain_caption,
    rule_paragraphs,
    value_text,
)
from repflow.reporting.gallery_page import counted

RESULT = {
    "experiment": "toy",
    "claim": "One is < two.",
    "verdict": "disagrees",
    "numbers": {
        "C_W": 1.25,
        "interval": [0.5, -2],
        "parts": [{"p_value": None}, {"p_value": 0.1}],
        "name": "</script>",
    },
    "rule": "First.\n\n    Rule: ``x`` is\n    small.",
    "configuration": {"width": 1024},
    "size": "default",
    "seed": 0,
    "seconds": 2.0,
    "version": "1.2.3",
}
CAPTION = Caption("A toy", "Look at C_W & more.", {"the interval": ("interval",), "missing": ("nothing", 3)})


def page(**changes):
    figure = lines([1, 2], {"a": [1, 2]}, x_title="x", y_title="y")
    return experiment_page({**RESULT, **changes}, 'x,y\n1,"a,</script>"\n2.5,\n', figure, CAPTION)


def embedded(text, name):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.S).group(1))


@pytest.mark.parametrize(
    ("verdict", "tone", "mark"), [("agrees", "good", "✓"), ("disagrees", "bad", "✕"), ("inconclusive", "note", "!")]
)
def test_the_verdict_is_in_a_word_and_a_mark(verdict, tone, mark):
    text = page(verdict=verdict)
    assert f'<span class="verdict {tone}"><span aria-hidden="true">{mark}</span> {verdict}</span>' in text


def test_what_it_says():
    text = page()
    assert "One is &lt; two." in text
    assert "Look at C<sub>W</sub> &amp; more." in text
    assert "Rule: <code>x</code> is small." in text
    assert re.search(r'<span class="value">\[0\.5, −2\]</span><span class="what">the interval</span>', text)
    assert "missing" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)
    for name, value in (("C<sub>W</sub>", "1.25"), ("parts / 2 / p value", "0.1"), ("parts / 1 / p value", "–")):
        assert f"<td>{name}</td><td>{value}</td>" in text
    assert "<dt>width</dt><dd>1,024</dd>" in text


def test_its_data_are_in_it_to_the_letter():
    text = page()
    assert embedded(text, "table-csv") == 'x,y\n1,"a,</script>"\n2.5,\n'
    assert json.loads(embedded(text, "result-json")) == RESULT
    assert '<td class="rf-number">2.5</td>' in text or "<td>2.5</td>" in text


def test_it_refers_to_nothing_outside():
    outside = re.sub(r"<script.*?</script>", "", page(), flags=re.S)
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", outside)
    assert "http" not in html.unescape(outside)


def test_many_numbers_are_folded():
    assert "All 40 numbers" in page(numbers={f"n{k}": k for k in range(40)})


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({}, "repflow experiment toy --out toy/"),
        ({"size": "small", "seed": 4}, "repflow experiment toy --size small --seed 4 --out toy/"),
    ],
)
def test_the_command_that_makes_it_again(changes, command):
    assert command_of({**RESULT, **changes}) == command


def test_rules_are_paragraphs():
    assert rule_paragraphs("One\n    two.\n\n\n    Three.") == ["One two.", "Three."]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (-1234567, "−1,234,567"),
        (10**20, "1e+20"),
        (1 / 3, "0.3333"),
        ({"a": 1, "b": [0.5]}, "a: 1, b: [0.5]"),
        ("1/2", "1/2"),
        (None, "–"),
    ],
)
def test_values(value, text):
    assert value_text(value) == text


def test_flat_keeps_every_number():
    assert list(flat({"a_b": {"c": [1, 2]}, "d": [[1, 2], [3]]})) == [
        ("a b / c", "[1, 2]"),
        ("d / 1", "[1, 2]"),
        ("d / 2", "[3]"),
    ]


def test_an_experiment_without_a_caption_has_its_name():
    assert plain_caption("rg-flow").title == "Rg flow"


def test_verdicts_are_counted():
    entries = [{"verdict": verdict} for verdict in ("agrees", None, "agrees", "inconclusive")]
    assert counted({"experiments": entries}) == {"agrees": 2, "inconclusive": 1, "not run": 1}
