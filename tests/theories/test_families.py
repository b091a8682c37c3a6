"""The four families: counts against enumeration, energies against sums written out, refusals."""

import itertools
import math

import numpy as np
import pytest

from repflow import theories as th
from repflow.theories.spins import pack, unpack

FAMILIES = [
    th.Generic(5),
    th.Generic(5, fields=True),
    th.KLocal(6, 2),
    th.KLocal(6, 3, fields=True),
    th.KLocal(6, 6),
    th.KLocal(4, 1, fields=True),
    th.Local(6),
    th.Local((6,), periodic=False, fields=True),
    th.Local((2, 3)),
    th.Local((3, 3)),
    th.Local((2, 2, 2), fields=True),
    th.Local((1, 5), periodic=False),
    th.TranslationInvariant(7),
    th.TranslationInvariant((3, 2), periodic=False, fields=True),
    th.TranslationInvariant((1,), fields=True),
]


def by_hand(family):
    """All terms of a family, written again as sets of sites that satisfy its definition."""
    least = 1 if family.fields else 2
    if isinstance(family, (th.Generic, th.KLocal)):
        most = family.k if isinstance(family, th.KLocal) else family.N
        return {s for j in range(least, most + 1) for s in itertools.combinations(range(family.N), j)}
    sites = list(itertools.product(*map(range, family.shape)))
    found = {(i,) for i in range(len(sites))} if family.fields else set()
    for (i, a), (j, b) in itertools.combinations(enumerate(sites), 2):
        differing = [axis for axis in range(len(a)) if a[axis] != b[axis]]
        if len(differing) == 1:
            side, apart = family.shape[differing[0]], abs(a[differing[0]] - b[differing[0]])
            if apart == 1 or (family.periodic and side > 2 and apart == side - 1):
                found.add((i, j))
    return found


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_terms_and_counts_by_enumeration(family):
    assert len(family.terms) == len(set(family.terms)) == family.term_count
    assert set(family.terms) == by_hand(family)
    assert len(family.group) == family.term_count
    assert sorted(set(family.group.tolist())) == list(range(family.count))


def test_counts_in_closed_form():
    assert th.Generic(9).count == 2**9 - 1 - 9
    assert th.Generic(9, fields=True).count == 2**9 - 1
    assert th.Generic(300).count == 2**300 - 301
    assert th.KLocal(100, 3).count == math.comb(100, 2) + math.comb(100, 3)
    assert th.KLocal(9, 9).count == th.Generic(9).count
    assert th.Local((5, 7, 3)).count == 3 * 105
    assert th.Local((1000, 1000)).count == 2 * 10**6
    assert th.Local((4, 5), periodic=False).count == 3 * 5 + 4 * 4
    assert th.Local((2, 5)).count == 5 + 10  # a side of two sites has one link, not two
    assert th.TranslationInvariant((50, 50)).count == 1
    assert th.TranslationInvariant((50, 50), fields=True).count == 2


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (th.KLocal(50, 3), th.KLocal(1600, 3)),
        (th.Local((5, 5), periodic=False), th.Local((300, 300), periodic=False)),
        (th.Generic(6), th.Generic(20)),
        (th.TranslationInvariant(6), th.TranslationInvariant(60)),
    ],
)
def test_asymptotic_count(small, large):
    off = [abs(f.count / f.asymptotic_count - 1) for f in (small, large)]
    assert off[1] < 0.01
    assert off[1] <= off[0]


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_energy_is_the_sum_over_terms(family):
    theory = family.random(seed=7)
    s = np.array(list(itertools.product((1, -1), repeat=family.N)))
    wanted = np.zeros(len(s))
    for term, which in zip(family.terms, family.group):
        wanted += theory.parameters[which] * np.prod([s[:, i] for i in term], axis=0)
    np.testing.assert_allclose(theory.energy(s), wanted, atol=1e-12)
    np.testing.assert_allclose(family.features(s) @ theory.parameters, wanted, atol=1e-12)
    np.testing.assert_allclose(theory.energy(s.reshape(2, -1, family.N)), wanted.reshape(2, -1), atol=1e-12)
    np.testing.assert_allclose(theory.values()[pack(s)], wanted, atol=1e-12)


def test_both_ways_to_the_energy_agree():
    theory = th.Generic(6).random(seed=1)
    s = unpack(np.random.default_rng(0).integers(64, size=5000), 6)
    np.testing.assert_allclose(theory.energy(s), np.concatenate([theory.energy(row[None]) for row in s]), atol=1e-11)


def test_log_probabilities():
    theory = th.Local(6, fields=True).random(seed=2)
    E = theory.energy(th.spins(6))
    p = np.exp(-E / 0.7)
    np.testing.assert_allclose(np.exp(theory.log_probabilities(temperature=0.7)), p / p.sum(), rtol=1e-12)


def test_random_is_reproducible_and_gaussian():
    family = th.KLocal(60, 3)
    one, same, other = family.random(5), family.random(5), family.random(6)
    assert np.array_equal(one.parameters, same.parameters)
    assert not np.array_equal(one.parameters, other.parameters)
    scaled = family.random(5, scale=0.1).parameters
    np.testing.assert_allclose(scaled, 0.1 * one.parameters)
    assert abs(one.parameters.mean()) < 5 / math.sqrt(family.count)
    assert abs(one.parameters.var() - 1) < 5 * math.sqrt(2 / family.count)


def test_spins_order():
    s = th.spins(3)
    assert s.shape == (8, 3)
    assert s[0].tolist() == [1, 1, 1]
    assert s[1].tolist() == [-1, 1, 1]
    assert s[6].tolist() == [1, -1, -1]
    assert pack(s).tolist() == list(range(8))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: th.KLocal(5, 6), ValueError, "k must be between 2 and N = 5"),
        (lambda: th.KLocal(5, 1), ValueError, "k must be between 2 and N = 5"),
        (lambda: th.KLocal(5, 2.0), TypeError, "k must be a whole number"),
        (lambda: th.Generic(0), ValueError, "N must be 1 or more"),
        (lambda: th.Generic("9"), TypeError, "N must be a whole number"),
        (lambda: th.Local(()), ValueError, "one side or more"),
        (lambda: th.Local((3, 0)), ValueError, "sides of 1 or more"),
        (lambda: th.Local((3, 2.5)), TypeError, "whole numbers"),
        (lambda: th.Local("33"), TypeError, "shape must be"),
        (lambda: th.TranslationInvariant((1, 1)), ValueError, "no neighbours"),
        (lambda: th.Local(4).theory([1.0, 2.0]), ValueError, r"parameters must have shape \(4,\)"),
        (lambda: th.Local(4).theory([1.0, 2.0, np.nan, 0.0]), ValueError, "finite"),
        (lambda: th.Local(4).random().energy([1, 1, 1]), ValueError, r"shape \(..., 4\)"),
        (lambda: th.Local(4).random().energy([1, 1, 1, 0]), ValueError, r"\+1 or -1"),
        (lambda: th.Local(4).random(scale=0), ValueError, "scale"),
        (lambda: th.Local(4).random(-1), ValueError, "seed"),
        (lambda: th.Local(4).random().log_probabilities(0.0), ValueError, "temperature"),
        (lambda: th.Local((3, 3)).lattice.__class__((3, 3), periodic=False).steps().__next__(), ValueError, "open"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: th.Generic(60).terms,
        lambda: th.KLocal(2000, 5).terms,
        lambda: th.Generic(50).features(np.ones((1, 50))),
        lambda: th.spins(40),
        lambda: th.Local(64).random().values(),
        lambda: th.Local(64).random().couplings(),
    ],
)
def test_what_does_not_fit_is_refused_at_once(call):
    with pytest.raises(MemoryError, match=r"free|limit"):
        call()


def test_large_sparse_theories_need_no_enumeration():
    theory = th.TranslationInvariant((100, 100)).theory([-1.0])
    assert theory.energy(np.ones(10_000)) == pytest.approx(-20_000)
    checkerboard = (-1.0) ** np.add.outer(np.arange(100), np.arange(100)).ravel()
    assert theory.energy(checkerboard) == pytest.approx(20_000)
