"""The agreement rule on made-up components."""

from __future__ import annotations

import numpy as np

from repflow.comparison.chi_square import ChiSquare
from repflow.comparison.rule import Components, chi_square_of


def _components(theory, measured, stderr, tolerance):
    arrays = [np.array(values, dtype=float) for values in (theory, measured, stderr, tolerance)]
    index = np.zeros((len(arrays[0]), 2), dtype=np.intp)
    index[:, 1] = np.arange(len(arrays[0]))
    return Components(2, "mean_kernel", index, *arrays, scale=1.0, r=0.1, chi2=ChiSquare(0.0, 0, None))


def test_five_standard_errors_beyond_the_tolerance():
    entry = _components([1, 1, 1], [1.5, 0.39, 1.05], [0.1, 0.1, 0.1], [0.0, 0.1, 0.1])
    assert np.allclose(entry.z, [5, -6.1, 0.5])
    assert np.allclose(entry.z_beyond, [5, -5.1, 0])
    assert not entry.within
    assert entry.worst == 1
    assert _components([1], [1.5], [0.1], [1e-12]).within
    assert not _components([1], [1.5001], [0.1], [0]).within
    assert _components([1], [1.5001], [0.1], [0.001]).within


def test_no_standard_error_means_equal_or_not():
    entry = _components([1, 1, 0], [1 + 1e-14, 1.1, 0], [0, 0, 0], [0, 10, 0])
    assert entry.z.tolist() == [0, np.inf, 0]
    assert entry.z_beyond.tolist() == [
        0,
        np.inf,
        0,
    ]  # a tolerance for higher orders excuses nothing that cannot fluctuate
    assert not entry.within
    assert _components([1], [1.1], [1e-18], [0]).z.tolist() == [np.inf]
    assert _components([1], [0.9], [0], [0]).z.tolist() == [-np.inf]


def test_only_components_with_small_tolerance_enter_the_chi_square():
    stderr, tolerance = np.array([0.1, 0.1, 0.0]), np.array([0.05, 0.2, 0.0])
    result = chi_square_of(np.array([0.2, 9.0, 0.0]), stderr, tolerance, 1.0, np.diag(stderr**2), 1000)
    assert result.dof == 1
    assert np.isclose(result.value, 4.0)


def test_row_is_plain_data():
    row = _components([1, 1], [1.5, 0.39], [0.1, 0.1], [0.0, 0.1]).row()
    assert row["worst_component"] == [0, 1]
    assert row["components"] == 2
    assert row["max_z"] == 6.1 or abs(row["max_z"] - 6.1) < 1e-12
    assert all(type(value) in (int, float, str, bool, list, type(None)) for value in row.values())
