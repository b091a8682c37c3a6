"""docs/third-party.md says what the library says of the modules."""

import re
from pathlib import Path

import pytest
from tests.third_party.survey import rows_of, survey
from tests.third_party.zoo import ZOO

PAGE = Path(__file__).resolve().parents[2] / "docs" / "third-party.md"
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


def cells(line):
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_the_page_has_every_module():
    held = rows_of(PAGE.read_text(encoding="utf-8"))
    assert list(held) == [other.name for other in ZOO]
    assert [cells(line)[0] for line in held.values()] == [other.package for other in ZOO]


@pytest.mark.slow
@pytest.mark.parametrize("other", ZOO, ids=lambda other: other.name)
def test_the_page_says_what_is_found(other):
    held, found = (cells(line) for line in (rows_of(PAGE.read_text(encoding="utf-8"))[other.name], survey(other)))
    *counts, z, rates, branches, before, after = held
    assert found[:-5] == counts
    assert (found[-4], found[-3]) == (rates, branches)
    for a, b in zip(NUMBER.findall(found[-5]), NUMBER.findall(z), strict=True):
        assert float(a) == pytest.approx(float(b), rel=0.05, abs=0.11)
    assert float(found[-2]) == pytest.approx(float(before), rel=0.02)
    # Rounding grows over the steps, most where the loss is small.
    assert float(after) / 2 <= float(found[-1]) <= 2 * float(after)
