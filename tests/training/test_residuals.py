"""Sums over steps against the loops that they stand for."""

import numpy as np
import pytest

from repflow.training.residuals import step_sums


def problem(n=4, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n, n))
    return a @ a.T / n, b @ b.T / n


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 20])
def test_doubling_is_the_loop(steps):
    ntk, covariance = problem()
    rate, n = 0.6, len(ntk)
    sums = step_sums(ntk, covariance, rate, steps)
    powers = [np.linalg.matrix_power(np.eye(n) - rate * ntk / n, t) for t in range(steps + 1)]
    zero = np.zeros((n, n))
    single = sum(powers[:steps], zero) / n
    ordered = sum((powers[t] @ covariance @ powers[u] for t in range(steps) for u in range(t)), zero) / n**2
    both = sum((powers[t] @ covariance @ powers[u] for t in range(steps) for u in range(steps)), zero) / n**2
    np.testing.assert_allclose(sums.of_outputs(), single, atol=1e-13)
    np.testing.assert_allclose(sums.of_ordered_pairs(covariance), ordered, atol=1e-13)
    np.testing.assert_allclose(sums.of_pairs(covariance), both, atol=1e-13)
    assert sums.remaining(covariance) == pytest.approx(np.trace(powers[steps] @ covariance @ powers[steps]))


def test_the_end_is_where_many_steps_lead():
    ntk, covariance = problem()
    end, many = (step_sums(ntk, covariance, 0.6, steps) for steps in (None, 3_000_000))
    np.testing.assert_allclose(end.of_outputs(), many.of_outputs(), rtol=1e-9)
    np.testing.assert_allclose(end.of_ordered_pairs(covariance), many.of_ordered_pairs(covariance), rtol=1e-9)
    # Everything is learnt: sum_t M^t/B = (eta Theta)^-1.
    np.testing.assert_allclose(end.of_outputs() @ ntk * 0.6, np.eye(4), atol=1e-9)


def test_directions_with_nothing_to_learn_do_not_move():
    ntk = np.array([[1.0, 1.0], [1.0, 1.0]])
    end = step_sums(ntk, np.ones((2, 2)), 0.5, None)
    np.testing.assert_allclose(end.of_pairs(np.ones((2, 2))), np.ones((2, 2)), atol=1e-12)  # 1/(eta mean)^2 / 4


def test_training_without_an_end():
    ntk = np.array([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match="singular"):
        step_sums(ntk, np.eye(2), 0.5, None)
    with pytest.raises(ValueError, match="edge of stability"):
        step_sums(np.eye(2), np.eye(2), 4.0, None)
    assert np.isfinite(step_sums(np.eye(2), np.eye(2), 4.1, 10).ordered).all()
