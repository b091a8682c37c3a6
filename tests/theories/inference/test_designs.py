"""Which configurations are drawn."""

import numpy as np
import pytest
from scipy.stats import chisquare

from repflow import theories as th
from repflow.theories import inference
from repflow.theories.spins import pack


@pytest.mark.parametrize(("N", "amount"), [(1, 2), (4, 16), (10, 700), (25, 300), (64, 50), (100, 40)])
def test_no_configuration_comes_twice(N, amount):
    spins = inference.random_experiments(N, amount, seed=3)
    assert spins.shape == (amount, N)
    assert set(np.unique(spins)) == {-1, 1}
    assert len({tuple(s) for s in spins.tolist()}) == amount
    np.testing.assert_array_equal(spins, inference.random_experiments(N, amount, seed=3))
    assert not np.array_equal(spins, inference.random_experiments(N, amount, seed=4)) or amount == 2


def test_repeats_where_asked_for():
    spins = inference.random_experiments(3, 100, repeat=True)
    assert len(spins) == 100
    assert len(np.unique(pack(spins))) == 8


@pytest.mark.parametrize("repeat", [False, True])
def test_every_configuration_is_as_likely(repeat):
    first = np.concatenate([pack(inference.random_experiments(4, 3, seed, repeat)) for seed in range(1000)])
    assert chisquare(np.bincount(first, minlength=16)).pvalue > 1e-3


@pytest.mark.parametrize(
    "family", [th.Local((3, 3)), th.KLocal(6, 2), th.Generic(4), th.Local((5, 5), fields=True)], ids=repr
)
def test_independent_experiments_raise_the_rank_by_one_each(family):
    spins = inference.independent_experiments(family, family.count, seed=2)
    rows = family.features(spins)
    assert [np.linalg.matrix_rank(rows[:k]) for k in range(1, len(rows) + 1)] == list(range(1, family.count + 1))


def test_an_experiment_that_tells_nothing_is_left_out():
    """Half of all configurations of this chain have a sum of links of 0."""
    family = th.TranslationInvariant((4,))
    assert all(family.features(inference.independent_experiments(family, 1, seed))[0, 0] != 0 for seed in range(30))
    assert any(family.features(inference.random_experiments(4, 1, seed))[0, 0] == 0 for seed in range(30))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 1), ValueError, "N"),
        ((3, 0), ValueError, "amount"),
        ((3, 9), ValueError, "2\\^3 = 8"),
        ((3, 1.5), TypeError, "amount"),
        ((3, True), TypeError, "amount"),
        ((3, 2, -1), ValueError, "seed"),
    ],
)
def test_bad_amounts_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        inference.random_experiments(*arguments)


def test_more_independent_experiments_than_couplings_are_refused():
    with pytest.raises(ValueError, match="18"):
        inference.independent_experiments(th.Local((3, 3)), 19)
