"""Families of labelings: members are what they are said to be, and as many as their parameters say."""

import itertools
import math

import numpy as np
import pytest

from repflow import theories as th
from repflow.theories.labels import AnyLabels, OneProduct, QuadraticForm, SignOfEnergy, TranslationInvariantLabels

FAMILIES = [
    OneProduct(5, 1, 1, "pixel"),
    OneProduct(5, 3, 5, "parity"),
    SignOfEnergy(th.KLocal(5, 2), "2-local"),
    TranslationInvariantLabels((5,)),
    QuadraticForm(5),
    AnyLabels(5),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_labels_are_signs_of_either_kind(family):
    rng = np.random.default_rng(0)
    members = np.array([family.draw(rng) for _ in range(600)])
    assert members.shape == (600, 32)
    assert (np.abs(members) == 1).all()
    # Image by image +1 and -1 are equally probable.
    assert np.abs(members.mean(axis=0)).max() < 5 / math.sqrt(600)


@pytest.mark.parametrize(("least", "most"), [(1, 1), (2, 3), (4, 4)])
def test_products_are_one_coupling_and_all_of_them_occur(least, most):
    family, rng = OneProduct(4, least, most, "product"), np.random.default_rng(1)
    images = th.spins(4)
    wanted = {
        tuple(sign * images[:, list(subset)].prod(axis=1, dtype=int))
        for size in range(least, most + 1)
        for subset in itertools.combinations(range(4), size)
        for sign in (1, -1)
    }
    drawn = [tuple(family.draw(rng).tolist()) for _ in range(40 * len(wanted))]
    assert set(drawn) == wanted
    assert family.parameters == math.ceil(math.log2(len(wanted)))


def test_sign_of_an_energy():
    family = SignOfEnergy(th.Local((2, 2), periodic=False), "links")
    assert family.parameters == 4
    labels = family.draw(np.random.default_rng(2))
    J = np.random.default_rng(2).standard_normal(4)
    s = th.spins(4)
    energy = J[0] * s[:, 0] * s[:, 1] + J[1] * s[:, 0] * s[:, 2] + J[2] * s[:, 1] * s[:, 3] + J[3] * s[:, 2] * s[:, 3]
    np.testing.assert_array_equal(labels, np.sign(energy))


@pytest.mark.parametrize("shape", [(3, 3), (5,), (6,), (2, 4), (1, 3)])
def test_translation_invariant_labels(shape):
    family, rng = TranslationInvariantLabels(shape), np.random.default_rng(3)
    N = math.prod(shape)
    site = np.arange(N).reshape(shape)
    images = {tuple(row): index for index, row in enumerate(th.spins(N).tolist())}
    shifts = list(itertools.product(*(range(side) for side in shape)))

    def translates(image):
        grid = np.array(image)[site]
        return {images[tuple(np.roll(grid, shift, tuple(range(len(shape)))).ravel())] for shift in shifts}

    orbits = {frozenset(translates(image)) for image in images}
    assert family.parameters == len(orbits) == len(set(family.orbits.tolist()))
    members = np.array([family.draw(rng) for _ in range(64)])
    assert all((members[:, list(orbit)] == members[:, [min(orbit)]]).all() for orbit in orbits)
    # Nothing else is shared: the labels of different orbits are different bits.
    assert len({tuple(members[:, min(orbit)]) for orbit in orbits}) == len(orbits)


def test_nine_pixels_have_64_orbits():
    assert TranslationInvariantLabels((3, 3)).parameters == 64


@pytest.mark.parametrize("N", [2, 3, 4, 5, 9])
def test_quadratic_forms_of_highest_rank(N):
    family, rng = QuadraticForm(N), np.random.default_rng(4)
    assert family.parameters == 1 + N + N * (N - 1) // 2
    rank = N - N % 2
    for _ in range(20):
        labels = family.draw(rng)
        J = th.couplings(labels)
        there = np.abs(J) > 1e-12
        assert there.sum() == 2**rank
        np.testing.assert_allclose(np.abs(J[there]), 2.0 ** (-rank / 2), rtol=1e-12)
        # Its polynomial, by the Moebius transform over GF(2), has degree 2.
        polynomial = (labels < 0).astype(int).reshape((2,) * N)
        for axis in range(N):
            low, high = np.split(polynomial, 2, axis=axis)
            polynomial = np.concatenate([low, (low + high) % 2], axis=axis)
        order = np.array([bin(index).count("1") for index in range(2**N)])
        assert order[polynomial.ravel() == 1].max() == 2


def test_any_labels_are_independent_bits():
    assert AnyLabels(4).parameters == 16
    rng = np.random.default_rng(5)
    members = np.array([AnyLabels(4).draw(rng) for _ in range(3000)]).astype(float)
    correlation = members.T @ members / 3000
    assert np.abs(correlation - np.eye(16)).max() < 5 / math.sqrt(3000)


@pytest.mark.parametrize(("least", "most"), [(0, 1), (3, 2), (1, 5)])
def test_products_of_impossible_sizes_are_refused(least, most):
    with pytest.raises(ValueError, match="least and most"):
        OneProduct(4, least, most, "product")


def test_quadratic_forms_need_two_pixels():
    with pytest.raises(ValueError, match="2 or more"):
        QuadraticForm(1)
