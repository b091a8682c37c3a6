"""Tables: numbers whole at any width, text folded; JSON without what is not JSON."""

import json
import math

import numpy as np
import pytest

from repflow.cli.output import print_json, print_table, telling

COLUMNS = ["layer", "n_l", "K_11", "Var G_11/(E G_11)^2", "k_3(G_11)/K^3"]
ROWS = [[layer, 64, 2.8209 * layer, 0.0767123, math.nan] for layer in (1, 2)]


@pytest.mark.parametrize("columns", [10, 40, 80, 200])
def test_numbers_are_whole_at_any_width(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table("title", COLUMNS, ROWS)
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "title"
    assert len({len(line) for line in lines}) == 1
    words = " ".join(lines).split()
    assert {"1", "64", "2.8209", "5.6418", "0.076712", "nan", "k_3(G_11)/K^3"} <= set(words)
    assert "\u2026" not in "".join(words)
    assert ("G_11/(E" in " ".join(lines[1].split())) == (columns >= 80)  # the head is folded where it must be


def test_text_is_folded_to_the_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_table("t", ["name", "claim"], [["[b]a[/b]", "word " * 30], ["x" * 60, "end"]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    text = "".join(lines)
    assert "[b]a[/b]" in text  # no markup
    assert text.count("word") == 30
    assert text.count("x") == 60


def test_an_empty_table(capsys):
    print_table("t", ["a"], [])
    assert "a" in capsys.readouterr().out


def test_json_has_null_for_what_is_not_finite(capsys):
    print_json({"a": [1.0, math.inf, math.nan], "b": np.array([[1, 2]]), "c": np.float64("-inf"), "d": (True, None)})
    plain = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert plain == {"a": [1.0, None, None], "b": [[1, 2]], "c": None, "d": [True, None]}


def test_progress_goes_to_stderr_and_only_where_asked(capsys):
    for progress in (None, False):  # stderr is no terminal here
        with telling(progress) as tell:
            tell("drawing", 0.5)
        assert capsys.readouterr() == ("", "")
    with telling(True) as tell:
        tell("drawing", 0.5)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err != ""
