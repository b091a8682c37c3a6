"""The chi-square: its distribution, and what it does with components that are tied to each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from repflow.comparison.chi_square import chi_square


def _trial(rng, samples, mixing):
    draws = rng.standard_normal((samples, mixing.shape[1])) @ mixing.T
    return draws.mean(axis=0), np.cov(draws.T).reshape(len(mixing), -1) / samples


@pytest.mark.parametrize(("components", "samples"), [(5, 60), (5, 50), (8, 40), (1, 30)])
def test_p_values_are_uniform_under_the_theory(components, samples):
    rng = np.random.default_rng(components)
    mixing = np.linalg.qr(rng.standard_normal((components, components)))[0] * np.arange(1.0, components + 1)
    found = [chi_square(*_trial(rng, samples, mixing), samples) for _ in range(400)]
    expected = min(components, samples // 10)
    assert {result.dof for result in found} == {expected}
    if (
        expected == components
    ):  # chosen components bias the statistic a little, so the law is exact for all of them only
        assert kstest([result.p_value for result in found], "uniform").pvalue > 0.01
    else:
        assert 0.4 < np.mean([result.p_value for result in found]) < 0.6


def test_a_shift_is_seen():
    rng = np.random.default_rng(0)
    mean, covariance = _trial(rng, 200, np.eye(4))
    shifted = chi_square(mean + 0.5, covariance, 200)
    assert shifted.p_value is not None
    assert shifted.p_value < 1e-6
    assert shifted.value == pytest.approx((mean + 0.5) @ np.linalg.solve(covariance, mean + 0.5))


def test_components_that_repeat_count_once():
    rng = np.random.default_rng(1)
    mean, covariance = _trial(rng, 100, np.eye(2))
    mixing = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
    once = chi_square(mean, covariance, 100)
    many = chi_square(mixing @ mean, mixing @ covariance @ mixing.T, 100)
    assert (many.dof, once.dof) == (2, 2)
    assert many.value == pytest.approx(once.value, rel=1e-6)


def test_nothing_to_test_has_no_p_value():
    assert chi_square(np.zeros(0), np.zeros((0, 0)), 100).p_value is None
    assert chi_square(np.zeros(2), np.eye(2), 9).p_value is None
