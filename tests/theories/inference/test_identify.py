"""Which family is picked, and when none is."""

import numpy as np
import pytest

from repflow import theories as th
from repflow.theories import inference

FOUR = [
    th.Generic(9, fields=True),
    th.TranslationInvariant((3, 3), fields=True),
    th.KLocal(9, 2, fields=True),
    th.Local((3, 3), fields=True),
]
EVEN = [th.TranslationInvariant((3, 3)), th.Local((3, 3)), th.KLocal(9, 2)]


@pytest.mark.parametrize("truth", FOUR, ids=lambda family: family.name)
def test_the_true_family_is_picked_from_twice_as_many_experiments_as_couplings(truth):
    for seed in range(10):
        theory = truth.random(seed)
        spins = inference.random_experiments(9, 2 * truth.count, seed, repeat=True)
        found = inference.identify(FOUR, spins, theory.energy(spins))
        assert found.family is truth
        assert [fit.theory.family.count for fit in found.fits] == [2, 27, 45, 511]
        assert found.fit.determined == (found.fit.rank == truth.count)
        if found.fit.determined:  # few experiments may show the class and leave a coupling open
            np.testing.assert_allclose(found.fit.theory.parameters, theory.parameters, atol=1e-9)


@pytest.mark.parametrize("truth", FOUR, ids=lambda family: family.name)
def test_a_wrong_family_is_never_picked_however_few_the_experiments(truth):
    decided = 0
    for seed in range(40):
        theory = truth.random(seed)
        spins = inference.random_experiments(9, 1 + seed * min(truth.count, 60) // 20, seed)
        found = inference.identify(FOUR, spins, theory.energy(spins))
        assert found.family in (truth, None)
        decided += found.family is truth
    assert decided > 0


def test_as_many_free_couplings_as_experiments_prove_nothing():
    theory = th.KLocal(9, 2, fields=True).random(0)
    spins = inference.independent_experiments(FOUR[3], 27, seed=0)
    found = inference.identify(FOUR, spins, theory.energy(spins))
    assert found.fits[1].exact  # local fits, though it is wrong
    assert found.family is None
    assert found.fit is None
    assert "untested" in found.reason


def test_turning_all_spins_is_no_test_of_even_families():
    theory = th.KLocal(9, 2).random(0)
    spins = inference.independent_experiments(EVEN[1], 18, seed=0)
    spins = np.concatenate([spins, -spins])
    found = inference.identify(EVEN, spins, theory.energy(spins))
    assert found.fits[1].exact
    assert found.fits[1].experiments == 36
    assert found.family is None


def test_the_same_configuration_again_is_no_test():
    theory = th.KLocal(9, 2).random(0)
    spins = np.tile(inference.independent_experiments(EVEN[1], 18, seed=0), (3, 1))
    found = inference.identify(EVEN, spins, theory.energy(spins))
    assert found.family is None
    assert {fit.experiments for fit in found.fits} == {18}


def test_vanishing_energies_identify_the_class_and_not_the_coupling():
    """All links of this chain sum to 0 in these configurations; a theory of another coupling per link would show."""
    families = [th.TranslationInvariant((4,)), th.Local((4,)), th.KLocal(4, 2)]
    spins = [[1, 1, -1, -1], [1, -1, -1, 1], [1, 1, 1, -1]]
    found = inference.identify(families, spins, [0.0, 0.0, 0.0])
    assert found.family is families[0]
    assert not found.fit.determined


def test_nothing_is_picked_where_nothing_fits_or_two_do():
    theory = th.KLocal(6, 4).random(0)
    spins = th.spins(6)
    found = inference.identify([th.KLocal(6, 2), th.Local((6,))], spins, theory.energy(spins))
    assert (found.family, found.reason) == (None, "no candidate gives these energies")
    chain = th.Local((6,), periodic=False).random(0)
    found = inference.identify([th.Local((6,)), th.Local((6, 1)), th.KLocal(6, 2)], spins, chain.energy(spins))
    assert found.family is None
    assert "two candidates" in found.reason


def test_bad_arguments_are_refused():
    spins = [[1, 1, 1], [1, 1, 1]]
    two = [th.KLocal(3, 2), th.Generic(3)]
    with pytest.raises(ValueError, match="two or more"):
        inference.identify(two[:1], spins, [0.0, 0.0])
    with pytest.raises(ValueError, match="contradicts"):
        inference.identify(two, spins, [0.0, 1.0])
    with pytest.raises(ValueError, match="spins"):
        inference.identify([*two, th.Generic(4)], spins, [0.0, 0.0])
    with pytest.raises(TypeError, match="family"):
        inference.identify([*two, "local"], spins, [0.0, 0.0])
