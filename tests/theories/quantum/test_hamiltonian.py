"""Hamiltonians of Pauli strings against Kronecker products and QuSpin; the one normalisation."""

import itertools

import numpy as np
import pytest
from tests.theories.quantum.kronecker import string

from repflow import theories as th
from repflow.theories.quantum.hamiltonian import (
    LONGITUDINAL,
    TRANSVERSE,
    SpinHamiltonian,
    generic_matrix,
    ising,
    ising_chain,
    random_hamiltonian,
)


def letters(N, paulis, sites):
    word = ["i"] * N
    for pauli, site in zip(paulis, sites):
        word[site] = pauli
    return "".join(word)


def by_kronecker(hamiltonian):
    return sum(J * string(letters(hamiltonian.N, paulis, sites)) for paulis, sites, J in hamiltonian.terms)


def any_hamiltonian(N=4, terms=25, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(terms):
        order = rng.integers(1, N + 1)
        sites = tuple(int(i) for i in rng.permutation(N)[:order])
        found.append(("".join(rng.choice(list("xyz"), order)), sites, float(rng.normal())))
    return SpinHamiltonian(N, tuple(found))


def test_matrices_are_sums_of_kronecker_products():
    hamiltonian = any_hamiltonian()
    expected = by_kronecker(hamiltonian)
    np.testing.assert_allclose(hamiltonian.dense(), expected, atol=1e-13)
    np.testing.assert_allclose(hamiltonian.sparse().toarray(), expected, atol=1e-13)


def test_quspin_has_the_same_matrix():
    pytest.importorskip("quspin")
    hamiltonian = any_hamiltonian(terms=12, seed=1)
    np.testing.assert_allclose(hamiltonian.operator().toarray(), by_kronecker(hamiltonian), atol=1e-12)


def test_bit_i_set_is_spin_i_down():
    energies = SpinHamiltonian(3, (("z", (0,), 1.0), ("z", (2,), 10.0))).dense().diagonal().real
    assert energies[0b000] == 11
    assert energies[0b001] == 9
    assert energies[0b100] == -9


def test_chain_has_links_and_fields():
    chain = ising_chain(3, J=2.0, g=3.0, h=5.0, periodic=True)
    assert sorted(chain.terms) == sorted(
        [("zz", (0, 1), 2.0), ("zz", (1, 2), 2.0), ("zz", (0, 2), 2.0)]
        + [("x", (i,), 3.0) for i in range(3)]
        + [("z", (i,), 5.0) for i in range(3)]
    )
    assert len(ising_chain(5).terms) == 4 + 5 + 5


def test_site_norms_count_the_terms_that_touch_a_spin():
    hamiltonian = SpinHamiltonian(3, (("zz", (0, 1), 2.0), ("xyz", (2, 1, 0), 3.0), ("x", (1,), 1.0)))
    np.testing.assert_allclose(hamiltonian.site_norms(), [4 + 9, 4 + 9 + 1, 9])


@pytest.mark.parametrize(
    "hamiltonian",
    [
        ising_chain(6),
        ising(9, th.Local((3, 3)).terms),
        random_hamiltonian(th.KLocal(5, 3), 0),
        random_hamiltonian(th.Local((2, 3), periodic=False), 0),
        random_hamiltonian(th.Generic(4), 0),
    ],
)
def test_normalised(hamiltonian):
    normal = hamiltonian.normalised()
    assert normal.site_norms().mean() == pytest.approx(1, rel=1e-12)
    ratios = [after[2] / before[2] for before, after in zip(hamiltonian.terms, normal.terms)]
    assert min(ratios) == pytest.approx(max(ratios), rel=1e-12)


def test_normalised_ring_gives_every_spin_the_same():
    J2 = 1 / (2 + TRANSVERSE**2 + LONGITUDINAL**2)
    ring = ising_chain(8, periodic=True).normalised()
    np.testing.assert_allclose(ring.site_norms(), 1, rtol=1e-12)
    assert ring.terms[0][2] ** 2 == pytest.approx(J2)


def test_random_hamiltonian_has_all_labels_of_every_term():
    family = th.KLocal(4, 3)
    found = random_hamiltonian(family, 3)
    expected = {
        (sites, "".join(word)) for sites in family.terms for word in itertools.product("xyz", repeat=len(sites))
    }
    assert {(sites, paulis) for paulis, sites, _ in found.terms} == expected
    assert len(found.terms) == 6 * 9 + 4 * 27
    assert found == random_hamiltonian(family, 3)
    assert found != random_hamiltonian(family, 4)


def test_translation_invariant_links_share_their_couplings():
    found = random_hamiltonian(th.TranslationInvariant((5,)), 0)
    by_label = {}
    for paulis, _, J in found.terms:
        by_label.setdefault("".join(sorted(paulis)), set()).add(J)
    assert len(by_label) == 6
    assert all(len(values) == 1 for values in by_label.values())


def test_generic_matrix_has_the_stated_variance_on_every_string():
    # Pauli coefficients by traces: 4^N of equal variance, whose sum over those that touch a spin is 1.
    N, draws = 3, 400
    words = ["".join(word) for word in itertools.product("ixyz", repeat=N)]
    strings = np.array([string(word) for word in words])
    found = np.array([generic_matrix(N, seed) for seed in range(draws)])
    np.testing.assert_allclose(found, found.conj().transpose(0, 2, 1), atol=1e-15)
    J = np.einsum("sxy,dyx->ds", strings, found).real / 2**N
    mean_square = (J**2).mean(axis=0)
    expected = 4 / (3 * 4**N)
    assert abs(mean_square / expected - 1).max() < 5 * np.sqrt(2 / draws)
    touching = [i for i, word in enumerate(words) if word[1] != "i"]
    assert mean_square[touching].sum() == pytest.approx(1, abs=5 * np.sqrt(2 / draws / len(touching)))


@pytest.mark.parametrize(
    ("terms", "error", "message"),
    [
        ((("zz", (0,), 1.0),), ValueError, "needs 2 distinct sites"),
        ((("zz", (1, 1), 1.0),), ValueError, "distinct sites"),
        ((("q", (0,), 1.0),), ValueError, "letters x, y, z"),
        ((("z", (3,), 1.0),), ValueError, r"0\.\.2"),
        ((("z", (0,), float("nan")),), ValueError, "finite"),
        ((("z", (0,), 1j),), ValueError, "finite real"),
        (("z",), TypeError, r"terms\[0\]"),
    ],
)
def test_bad_terms(terms, error, message):
    with pytest.raises(error, match=message):
        SpinHamiltonian(3, terms)


def test_bad_sizes():
    with pytest.raises(TypeError, match="whole number"):
        SpinHamiltonian(2.5, ())
    with pytest.raises(ValueError, match="3 or more"):
        ising_chain(2, periodic=True)
    with pytest.raises(ValueError, match="pairs"):
        ising(4, th.KLocal(4, 3).terms)
    with pytest.raises(ValueError, match="cannot be normalised"):
        SpinHamiltonian(2, ()).normalised()
    with pytest.raises(ValueError, match="k must be between"):
        random_hamiltonian(th.KLocal(4, 5), 0)


@pytest.mark.parametrize("make", [lambda chain: chain.dense(), lambda chain: chain.sparse()])
def test_what_does_not_fit_is_refused_with_the_limit(make):
    with pytest.raises(MemoryError, match=r"GiB are free; take fewer spins"):
        make(ising_chain(40))
    with pytest.raises(MemoryError, match=r"2\^30"):
        generic_matrix(30, 0)
