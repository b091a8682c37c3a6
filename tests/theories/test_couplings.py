"""Couplings of a function: the transform against sums written out, sparsity, and which family they belong to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import repflow as rf
from repflow import theories as th


def by_sums(values):
    """J_S = 2^-N sum_x f(x) (-1)^|S & x|, one sum for each subset."""
    size = len(values)
    sign = np.array([[(-1) ** bin(S & x).count("1") for x in range(size)] for S in range(size)])
    return sign @ values / size


@pytest.mark.parametrize("N", [0, 1, 2, 5, 8])
def test_transform_against_sums(N):
    f = np.random.default_rng(N).standard_normal(2**N)
    np.testing.assert_allclose(th.couplings(f), by_sums(f), atol=1e-13)


@settings(max_examples=30, deadline=None)
@given(N=st.integers(0, 10), seed=st.integers(0, 2**32 - 1))
def test_there_and_back(N, seed):
    f = np.random.default_rng(seed).standard_normal(2**N)
    np.testing.assert_allclose(th.values(th.couplings(f)), f, atol=1e-12)
    assert np.sum(th.couplings(f) ** 2) == pytest.approx(np.mean(f**2))  # Parseval


def test_bits_name_the_spins():
    s = th.spins(4)
    f = 2.0 + 3.0 * s[:, 0] - 5.0 * s[:, 1] * s[:, 3]
    J = th.couplings(f)
    assert J[0] == pytest.approx(2)
    assert J[0b0001] == pytest.approx(3)
    assert J[0b1010] == pytest.approx(-5)
    assert np.count_nonzero(np.abs(J) > 1e-12) == 3


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        (th.Generic(6), None),
        (th.Generic(6), (2, 3)),
        (th.KLocal(6, 2), (2, 3)),
        (th.KLocal(6, 3), None),
        (th.KLocal(6, 4, fields=True), 6),
        (th.KLocal(6, 1, fields=True), None),
        (th.Local((2, 3)), (2, 3)),
        (th.Local((3, 3), periodic=False), (3, 3)),
        (th.Local((8,), fields=True), 8),
        (th.TranslationInvariant((3, 3)), (3, 3)),
        (th.TranslationInvariant(7, periodic=False), 7),
        (th.TranslationInvariant((4, 2), fields=True), (4, 2)),
    ],
    ids=repr,
)
def test_classify_finds_the_family_that_drew_the_couplings(family, shape):
    for seed in range(3):
        found = th.classify(family.random(seed).couplings() * 1e-3, shape)
        assert found.family == family
        assert found.parameters == family.count
        assert found.nonzero == family.term_count


def test_classify_by_hand():
    s = th.spins(6)
    chain = sum(s[:, i] * s[:, (i + 1) % 6] for i in range(6))
    assert th.classify(th.couplings(chain), 6).name == "translation-invariant"
    assert th.classify(th.couplings(chain), (2, 3)).name == "k-local"  # another lattice, other neighbours
    assert th.classify(th.couplings(chain)).name == "k-local"  # no lattice, no neighbours
    further = th.classify(th.couplings(sum(s[:, i] * s[:, (i + 2) % 6] for i in range(6))), 6)
    assert further.name == "k-local"
    assert further.invariant is True
    assert th.classify(th.couplings(s[:, 0] * s[:, 1]), 6).invariant is False
    parity = th.classify(th.couplings(s.prod(axis=1)), 6)
    assert (parity.name, parity.nonzero, parity.order, parity.invariant) == ("generic", 1, 6, True)
    constant = th.classify(th.couplings(np.ones(64)), 6)
    assert (constant.nonzero, constant.order) == (0, 0)
    assert "36" not in str(parity)


def test_tolerance_decides_what_is_zero():
    J = th.Local(6).random(0).couplings()
    J[0b111] = 1e-6
    assert th.classify(J, 6).name == "k-local"
    assert th.classify(J, 6, tolerance=1e-3).name == "local"


def test_decomposition_of_labels_of_nine_pixels():
    s = th.spins(9)
    parity = th.decompose(s.prod(axis=1), (3, 3))
    assert parity.nonzero == 1
    assert parity.participation_ratio == pytest.approx(1)
    assert parity.weight_by_order.tolist() == pytest.approx([0] * 9 + [1])
    majority = th.decompose(np.sign(s.sum(axis=1)), (3, 3))
    assert majority.weight_by_order[::2] == pytest.approx(np.zeros(5), abs=1e-15)  # an odd function
    assert majority.couplings[1] == pytest.approx(70 / 256)  # C(8, 4)/2^8: one vote decides
    at_random = th.decompose(np.random.default_rng(0).choice([-1.0, 1.0], 512))
    assert at_random.participation_ratio == pytest.approx(512 / 3, rel=0.15)  # of Gaussian couplings
    assert at_random.classification.name == "generic"
    table = majority.table("dict")
    assert [row["couplings"] for row in table] == [9, 36, 84, 126, 126, 84, 36, 9, 1]
    assert sum(row["share of the variance"] for row in table) == pytest.approx(1)
    assert majority.table("markdown").startswith("|")
    assert "<table" in majority._repr_html_()


def test_truncation_is_the_nearest_of_low_order():
    f = np.random.default_rng(3).standard_normal(64)
    features = np.concatenate([np.ones((64, 1)), th.KLocal(6, 2, fields=True).features(th.spins(6))], axis=1)
    fitted = features @ np.linalg.lstsq(features, f, rcond=None)[0]
    np.testing.assert_allclose(th.decompose(f).truncated(2), fitted, atol=1e-12)


def test_log_probability_has_the_couplings_of_its_energy():
    theory = th.KLocal(6, 3, fields=True).random(1)
    J = th.couplings(theory.log_probabilities())
    np.testing.assert_allclose(-J[1:], theory.couplings()[1:], atol=1e-12)


@pytest.mark.parametrize("name", ["d.json", "d"])
def test_decomposition_is_saved(tmp_path, name):
    found = th.decompose(np.arange(16.0) ** 2, (2, 2), tolerance=1e-6)
    found.save(tmp_path / name)
    back = rf.load(tmp_path / name)
    assert np.array_equal(back.couplings, found.couplings)
    assert (back.shape, back.tolerance) == ((2, 2), 1e-6)
    assert repr(back) == repr(found)
    assert found.to_xarray()["couplings"].dims == ("subset",)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: th.couplings(np.ones(6)), "2\\^N numbers"),
        (lambda: th.couplings(np.ones((4, 4))), "one axis"),
        (lambda: th.couplings([]), "2\\^N numbers"),
        (lambda: th.values([1.0, np.inf]), "finite"),
        (lambda: th.classify(np.ones(64), (3, 3)), "9 sites and does not tile 6 spins"),
        (lambda: th.decompose(np.ones(64), (4, 2)), "8 sites and does not tile 6 spins"),
        (lambda: th.classify(np.ones(64), tolerance=1.0), "tolerance"),
        (lambda: th.classify([1.0]), "one spin or more"),
        (lambda: th.decompose(np.ones(8)).truncated(-1), "order"),
        (lambda: th.decompose(np.ones(8)).table("latex"), "format"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
