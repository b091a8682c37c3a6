"""The growth of the tensors with depth, against the recursions solved to leading order."""

import pytest
from asymptotics import CASES, HEAD, known_values, rows


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_coefficients_tend_to_their_closed_forms(case):
    assert HEAD[3:] == ("coefficient of l", "change in the last octave", "closed form")
    depth = 64
    found = {row[0]: row for row in rows(case, depth)[2:]}
    assert set("VABDF") < set(found)
    assert ("U" in found) == (case.activation != "relu")
    largest = max(abs(value) for value in known_values(case).values())
    for name, row in found.items():
        coefficient, closed = float(row[3]), float(row[5])
        exact = case.activation in ("identity", "relu")
        # K* = 0: what is left falls as log(l)/l
        assert coefficient == pytest.approx(closed, rel=2e-3 if exact else 0.15, abs=2e-3 * largest), name
