import re
from pathlib import Path

import pytest

from repflow.activation import activation_names
from repflow.criticality.table import main, table

DOCS = Path(__file__).parents[2] / "docs" / "activations.md"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def test_the_page_in_docs_is_what_the_command_gives(tmp_path):
    assert main([str(tmp_path / "page.md")]) == 0
    fresh = (tmp_path / "page.md").read_text(encoding="utf-8")
    stored = DOCS.read_text(encoding="utf-8")
    assert NUMBER.sub("#", fresh) == NUMBER.sub("#", stored)
    # the last digit may differ from one processor to the next
    new, old = ([float(item) for item in NUMBER.findall(text)] for text in (fresh, stored))
    assert new == pytest.approx(old, rel=1e-3)


def test_every_registered_activation_is_in_it():
    page = table()
    for name in activation_names():
        assert re.search(rf"\| `{name}[`:]", page), name


def test_chosen_names_and_usage(capsys):
    assert "`tanh`" in table(["tanh"])
    assert "`gelu`" not in table(["tanh"])
    assert main(["a", "b"]) == 2
    assert "usage" in capsys.readouterr().err
