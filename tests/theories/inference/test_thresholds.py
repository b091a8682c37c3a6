"""The smallest numbers of experiments against going through all of them."""

import numpy as np
import pytest
from scipy.optimize import linprog

from repflow import theories as th
from repflow.blocks import generator
from repflow.theories import inference
from repflow.theories.inference.designs import draw
from repflow.theories.inference.thresholds import _first


@pytest.mark.parametrize("most", [1, 2, 7, 40])
def test_first_number_that_works(most):
    for first in range(1, most + 1):
        for guess in (0, 1, 5, most, 2 * most):
            tried = []
            assert _first(lambda n: tried.append(n) or n >= first, guess, most) == first  # noqa: B023
            assert all(1 <= n <= most for n in tried)
    with pytest.raises(ArithmeticError, match="determine"):
        _first(lambda n: False, 3, most)


@pytest.mark.parametrize(
    "family", [th.Local((3, 3)), th.KLocal(5, 2, fields=True), th.TranslationInvariant((4,)), th.Generic(4)], ids=repr
)
def test_experiments_needed_are_those_of_full_rank(family):
    waste = 0
    for seed in range(20):
        found = inference.experiments_needed(family, seed)
        random = generator(seed)
        random.standard_normal(family.count)
        rows = family.features(draw(family.N, 2**family.N, random))
        assert np.linalg.matrix_rank(rows[: found.experiments]) == family.count
        assert found.experiments == 1 or np.linalg.matrix_rank(rows[: found.experiments - 1]) == family.count - 1
        assert found.independent == family.count
        assert found.without_last == family.count - 1
        waste += found.experiments - family.count
    assert waste > 0 or family.name == "generic"


def test_large_families_need_hardly_more_than_their_couplings():
    needed = [inference.experiments_needed(th.Local((6, 6)), seed).experiments for seed in range(5)]
    assert max(needed) <= 74


def other_weight(dense, energies, J):
    """The largest absolute sum outside the true support among couplings as small as the true ones: 0 if there is none."""
    count = len(J)
    off = np.tile(J == 0, 2).astype(float)
    found = linprog(
        -off,
        A_eq=np.hstack([dense, -dense]),
        b_eq=energies,
        A_ub=np.ones((1, 2 * count)),
        b_ub=[np.abs(J).sum() * (1 + 1e-9)],
        bounds=(0, None),
    )
    return -found.fun


@pytest.mark.parametrize(("family", "nonzero"), [(th.KLocal(8, 2), 2), (th.Generic(5, fields=True), 3)], ids=repr)
def test_sparse_experiments_needed_leave_no_other_answer(family, nonzero):
    for seed in range(5):
        found = inference.sparse_experiments_needed(family, nonzero, seed)
        random = generator(seed)
        J = np.zeros(family.count)
        J[random.choice(family.count, nonzero, replace=False)] = random.standard_normal(nonzero)
        spins = draw(family.N, 2**family.N, random)
        energies = family.theory(J).energy(spins)
        dense = family.features(spins)
        assert other_weight(dense[: found - 1], energies[: found - 1], J) > 1e-3
        for k in range(found, min(found + 8, 2**family.N)):
            assert other_weight(dense[:k], energies[:k], J) < 1e-6
            got = inference.basis_pursuit(family, spins[:k], energies[:k])
            np.testing.assert_allclose(got.theory.parameters, J, atol=1e-9)


@pytest.mark.parametrize("nonzero", [0, 6, 2.0])
def test_bad_numbers_of_couplings_are_refused(nonzero):
    with pytest.raises((ValueError, TypeError), match="nonzero"):
        inference.sparse_experiments_needed(th.KLocal(5, 2), nonzero)


def test_no_coupling_is_refused():
    with pytest.raises(ValueError, match="coupling"):
        inference.experiments_needed(th.Local((1,)))
