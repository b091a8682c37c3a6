import numpy as np
import pytest

from repflow.activation import as_activation
from repflow.criticality import best_compromise, chi_parallel, chi_perpendicular, correlation_length, kernel_map


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "monomial:2", "monomial:3"])
def test_no_couplings_on_a_grid_do_better(name):
    best = best_compromise(as_activation(name))
    score = min(best.xi_parallel, best.xi_perpendicular)
    K = np.geomspace(1e-2, 1e2, 200)[:, None]
    square = kernel_map(name, K, 1.0, 0.0)
    weight = np.linspace(0.005, 1.0, 400)[None, :] * K / square  # all C_W with C_b >= 0
    parallel = weight * chi_parallel(name, K, 1.0)
    perpendicular = weight * chi_perpendicular(name, K, 1.0)
    lengths = np.minimum(correlation_length(parallel), correlation_length(perpendicular))
    lengths[np.abs(parallel) > 0.99] = 0.0
    assert lengths.max() <= score * (1 + 1e-9)
    assert lengths.max() >= 0.97 * score  # and the grid comes close


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "monomial:3"])
def test_it_is_a_stable_fixed_point(name):
    best = best_compromise(as_activation(name))
    assert best.C_b >= 0
    assert kernel_map(name, best.K_star, best.C_W, best.C_b) == pytest.approx(best.K_star, rel=1e-12)
    assert abs(best.chi_parallel) <= 0.99 + 1e-12


def test_what_limits_it():
    assert best_compromise(as_activation("sigmoid")).limited_by == "balance"
    assert best_compromise(as_activation("monomial:2")).limited_by == "stability"
    assert best_compromise(as_activation("monomial:2")).chi_perpendicular == pytest.approx(0.99 * 2 / 3)
    assert best_compromise(as_activation("softplus")).limited_by == "range"
    nothing = best_compromise(as_activation("perceptron"))
    assert (nothing.xi_parallel, nothing.xi_perpendicular) == (0.0, 0.0)
