"""Least squares on energies against exact rational arithmetic and sums written out."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from repflow import theories as th
from repflow.blocks import generator
from repflow.theories import inference

FAMILIES = [
    th.TranslationInvariant((2, 3)),
    th.TranslationInvariant((5,), fields=True),
    th.Local((2, 3), periodic=False),
    th.Local((5,), fields=True),
    th.KLocal(5, 2),
    th.KLocal(5, 3, fields=True),
    th.Generic(4),
    th.Generic(4, fields=True),
]


def features(family, spins):
    """Sums over terms of products of spins, one number after the other, as fractions."""
    rows = []
    for s in spins:
        row = [Fraction(0)] * family.count
        for term, group in zip(family.terms, family.group, strict=True):
            row[group] += math.prod(int(s[i]) for i in term)
        rows.append(row)
    return rows


def echelon(rows):
    """Rank and reduced rows by Gauss elimination, exact."""
    rows, rank = [list(row) for row in rows], 0
    for column in range(len(rows[0])):
        pivot = next((k for k in range(rank, len(rows)) if rows[k][column] != 0), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        rows[rank] = [value / rows[rank][column] for value in rows[rank]]
        for k in range(len(rows)):
            if k != rank and rows[k][column] != 0:
                rows[k] = [a - rows[k][column] * b for a, b in zip(rows[k], rows[rank], strict=True)]
        rank += 1
        if rank == len(rows):
            break
    return rank, rows


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_rank_is_that_of_exact_arithmetic(family):
    for k, amount in itertools.product(range(3), {1, 2, family.count // 2 + 1, family.count, family.count + 2}):
        spins = inference.random_experiments(family.N, amount, seed=k, repeat=True)
        found = inference.fit(family, spins, family.random(k).energy(spins))
        rank, _ = echelon(features(family, spins))
        assert found.rank == rank
        assert found.determined == (rank == family.count)
        assert found.consistent
        assert found.exact == found.determined


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_whole_couplings_come_back_exactly_as_the_rational_solution(family):
    truth = generator(3).integers(-5, 6, family.count)
    spins = inference.independent_experiments(family, family.count, seed=1)
    exact = features(family, spins)
    energies = [sum(x * int(J) for x, J in zip(row, truth, strict=True)) for row in exact]
    rank, solved = echelon([[*row, E] for row, E in zip(exact, energies, strict=True)])
    assert rank == family.count
    assert [row[-1] for row in solved] == truth.tolist()
    found = inference.fit(family, spins, [float(E) for E in energies])
    np.testing.assert_allclose(found.theory.parameters, truth, atol=1e-10)
    assert found.exact


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_what_is_left_open_has_least_norm(family):
    truth = family.random(2)
    spins = inference.random_experiments(family.N, max(1, family.count // 2), seed=4)
    dense = np.array(features(family, spins), dtype=np.float64)
    found = inference.fit(family, spins, truth.energy(spins)).theory.parameters
    np.testing.assert_allclose(found, np.linalg.pinv(dense) @ dense @ truth.parameters, atol=1e-9)


def test_error_on_the_unseen_is_the_mean_written_out():
    truth, learned = th.KLocal(5, 2, fields=True).random(0), th.Local((5,)).random(1)
    spins = inference.random_experiments(5, 11, seed=2)
    seen = {tuple(s) for s in spins.tolist()}
    everything = list(itertools.product((1, -1), repeat=5))
    mean = np.mean([truth.energy(s) for s in everything])
    variance = np.mean([(truth.energy(s) - mean) ** 2 for s in everything])
    wrong = [float((learned.energy(s) - truth.energy(s)) ** 2) for s in everything if s not in seen]
    assert len(wrong) == 21
    assert inference.unseen_error(learned, truth, spins) == pytest.approx(np.mean(wrong) / variance)


def test_nothing_unseen_is_nan():
    truth = th.Generic(3).random(0)
    assert math.isnan(inference.unseen_error(truth, truth, th.spins(3)))


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.name != "translation-invariant"], ids=repr)
def test_expected_error_is_the_mean_over_gaussian_couplings(family):
    """For a fixed set of experiments: E |x (1 - P) J|^2 = |x (1 - P)|^2, summed over the unseen, over 2^N unseen count."""
    everything = th.spins(family.N)
    for amount in (1, family.count // 2, family.count - 1):
        order = inference.random_experiments(family.N, 2**family.N, seed=amount)
        seen, unseen = family.features(order[:amount]), family.features(order[amount:])
        left = np.eye(family.count) - np.linalg.pinv(seen) @ seen
        variance = float(np.mean(family.features(everything) ** 2, axis=0).sum())
        exact = float(((unseen @ left) ** 2).sum()) / len(unseen) / variance
        rank = np.linalg.matrix_rank(seen)
        assert inference.expected_unseen_error(family, rank, amount) == pytest.approx(exact, rel=1e-9)


def test_generic_theory_is_not_predicted_until_one_is_left():
    """With all but one configuration seen, the last is known: energies sum to 0. With all but two it is a half known."""
    truth = th.Generic(4, fields=True).random(5)
    order = inference.random_experiments(4, 16, seed=0)
    energies = truth.energy(order)
    one, two = (inference.fit(truth.family, order[:k], energies[:k]).theory.energy(order[k:]) for k in (15, 14))
    np.testing.assert_allclose(one, energies[15:], atol=1e-10)
    np.testing.assert_allclose(two, np.full(2, energies[14:].mean()), atol=1e-10)


def test_another_family_leaves_a_residual():
    truth = th.KLocal(6, 3).random(0)
    spins = inference.random_experiments(6, 50, seed=0)
    found = inference.fit(th.KLocal(6, 2), spins, truth.energy(spins))
    dense = th.KLocal(6, 2).features(spins)
    energies = truth.energy(spins)
    left = energies - dense @ np.linalg.solve(dense.T @ dense, dense.T @ energies)
    assert found.residual == pytest.approx(np.linalg.norm(left) / np.linalg.norm(energies))
    assert found.determined
    assert not found.exact
    assert "residual" in repr(found)


def test_a_family_without_couplings():
    found = inference.fit(th.Local((1,)), [[1], [-1]], [0.0, 0.0])
    assert (found.rank, found.exact) == (0, True)
    assert not inference.fit(th.Local((1,)), [[1], [-1]], [0.0, 1.0]).consistent


@pytest.mark.parametrize(
    ("spins", "energies", "error", "message"),
    [
        ([[1, 1, 1]], [0.0], ValueError, "spins"),
        ([[1, 1, 0, 1]], [0.0], ValueError, "spins"),
        ([1, 1, 1, 1], [0.0], ValueError, "experiments"),
        (np.empty((0, 4), dtype=int), [], ValueError, "one experiment"),
        ([[1, 1, 1, 1]], [0.0, 1.0], ValueError, "energies"),
        ([[1, 1, 1, 1]], [math.nan], ValueError, "finite"),
    ],
)
def test_bad_experiments_are_refused(spins, energies, error, message):
    with pytest.raises(error, match=message):
        inference.fit(th.KLocal(4, 2), spins, energies)
    with pytest.raises(error, match=message):
        inference.basis_pursuit(th.KLocal(4, 2), spins, energies)


def test_what_is_no_family_or_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="family"):
        inference.fit("k-local", [[1]], [0.0])
    with pytest.raises(MemoryError, match="couplings to"):
        inference.fit(th.Generic(40), np.ones((100, 40)), np.ones(100))
    with pytest.raises(ValueError, match="same number of spins"):
        inference.unseen_error(th.Generic(3).random(0), th.Generic(4).random(0), th.spins(4))
    with pytest.raises(ValueError, match="differ"):
        inference.unseen_error(th.Generic(3).random(0), th.Generic(3).theory(np.zeros(4)), th.spins(3))
    with pytest.raises(ValueError, match="rank"):
        inference.expected_unseen_error(th.KLocal(4, 2), 7, 7)
    with pytest.raises(ValueError, match="experiments"):
        inference.expected_unseen_error(th.KLocal(4, 2), 6, 16)
