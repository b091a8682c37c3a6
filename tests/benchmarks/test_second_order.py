"""The agreement of order 2 with chains, on a few of them: the rule holds for the theory and not for another one."""

import numpy as np
import pytest
import second_order
from second_order import CASES, cumulants_of, run, sums_of

BLOCKS = 250


@pytest.fixture(autouse=True)
def _few_blocks(monkeypatch):
    monkeypatch.setattr(second_order, "BLOCKS", BLOCKS)


@pytest.mark.parametrize("case", [CASES[0], CASES[3]], ids=lambda case: case.name)
def test_a_few_chains_agree(case):
    found = run(case, 100 * BLOCKS, 5, None)
    assert found["trusted"]
    assert found["agrees"], found["worst"]
    assert found["components"] == 83 * len(case.shape)


def test_chains_of_another_activation_do_not(monkeypatch):
    monkeypatch.setitem(second_order.SIGNALS, "tanh", lambda z: np.tanh(1.03 * z))
    found = run(CASES[0], 100 * BLOCKS, 5, None)
    assert not found["agrees"]


def test_blocks_are_kept(tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 4))
    path = tmp_path / "chains.npz"
    first = second_order.measured(CASES[4], x, 4, 2 * BLOCKS, 1, path)
    again = second_order.measured(CASES[4], x, 4, 2 * BLOCKS, 1, path)
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ValueError, match="another configuration"):
        second_order.measured(CASES[4], x, 4, 2 * BLOCKS, 2, path)


def test_cumulants_from_sums():
    """Against NumPy's covariance and the third central moment."""
    values = np.random.default_rng(1).gamma(2.0, size=(500, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    centre = np.array([1.0, 2.0])
    found = cumulants_of(sums_of(values, centre), centre, 500)
    np.testing.assert_allclose(found[:2], values.mean(0))
    np.testing.assert_allclose(found[2:6].reshape(2, 2), np.cov(values.T))
    d = values - values.mean(0)
    third = np.einsum("ci,cj,ck->ijk", d, d, d) * 500 / (499 * 498)
    np.testing.assert_allclose(found[6:].reshape(2, 2, 2), third)
