"""Basis pursuit against all vertices of small linear programs."""

import itertools

import numpy as np
import pytest

from repflow import theories as th
from repflow.blocks import generator
from repflow.theories import inference


def least_by_enumeration(dense, energies):
    """A vertex has at most as many non-zero couplings as experiments: all sets of that many columns are solved."""
    best = np.inf
    for size in range(1, len(dense) + 1):
        for columns in itertools.combinations(range(dense.shape[1]), size):
            part = dense[:, columns]
            solved = np.linalg.lstsq(part, energies, rcond=None)[0]
            if np.abs(part @ solved - energies).max() < 1e-9:
                best = min(best, np.abs(solved).sum())
    return best


@pytest.mark.parametrize("seed", range(12))
def test_absolute_sum_is_the_least_of_all_vertices(seed):
    family = th.KLocal(5, 2)
    truth = family.random(seed)
    spins = inference.random_experiments(5, 1 + seed % 4, seed=seed)
    found = inference.basis_pursuit(family, spins, truth.energy(spins))
    dense = family.features(spins)
    np.testing.assert_allclose(dense @ found.theory.parameters, truth.energy(spins), atol=1e-8)
    assert np.abs(found.theory.parameters).sum() == pytest.approx(least_by_enumeration(dense, truth.energy(spins)))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_couplings_are_found_to_the_last_digits_whatever_their_unit(scale):
    family = th.Generic(8, fields=True)
    random = generator(7)
    J = np.zeros(family.count)
    J[random.choice(family.count, 5, replace=False)] = scale * random.standard_normal(5)
    spins = inference.random_experiments(8, 60, seed=1)
    found = inference.basis_pursuit(family, spins, family.theory(J).energy(spins))
    np.testing.assert_allclose(found.theory.parameters, J, atol=1e-12 * scale)
    assert found.support.tolist() == np.flatnonzero(J).tolist()
    assert found.sparse
    assert np.linalg.matrix_rank(family.features(spins)) == 60  # far from what least squares needs
    assert inference.unseen_error(found.theory, family.theory(J), spins) < 1e-20


def test_too_few_experiments_show():
    family = th.KLocal(10, 2)
    truth = family.random(0)  # nothing sparse
    spins = inference.random_experiments(10, 12, seed=0)
    found = inference.basis_pursuit(family, spins, truth.energy(spins))
    assert len(found.support) == found.experiments == 12
    assert not found.sparse


def test_energies_of_another_family_are_refused():
    truth = th.KLocal(5, 3).random(0)
    spins = th.spins(5)
    with pytest.raises(ValueError, match="energies"):
        inference.basis_pursuit(th.KLocal(5, 2), spins, truth.energy(spins))


def test_no_energy_no_couplings():
    assert inference.basis_pursuit(th.KLocal(4, 2), [[1, 1, -1, 1]], [0.0]).support.size == 0
