"""Maximum pseudolikelihood against sums over states, scikit-learn's logistic regression, and repeated samples."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import chisquare

from repflow import theories as th
from repflow.theories import inference
from repflow.theories.inference.inverse_ising import Conditionals

FAMILIES = [
    th.Local((5,), fields=True),
    th.TranslationInvariant((2, 3), fields=True),
    th.KLocal(4, 3),
    th.TranslationInvariant((5,)),
]


def log_pseudolikelihood(theory, spins):
    """From the Boltzmann weights of a configuration and of it with one spin turned."""
    total = 0.0
    for s in np.asarray(spins, dtype=int):
        for i in range(len(s)):
            turned = s.copy()
            turned[i] *= -1
            here, there = np.exp(-theory.energy(s)), np.exp(-theory.energy(turned))
            total += np.log(here / (here + there))
    return total / len(spins)


def conditionals(family, spins):
    return Conditionals(family, np.asarray(spins), np.full(len(spins), 1 / len(spins)))


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_value_and_derivatives(family):
    theory = family.random(1, scale=0.5)
    spins = inference.random_experiments(family.N, 12, seed=0, repeat=True)
    parts = conditionals(family, spins)
    value, gradient = parts.value(theory.parameters)
    assert value == pytest.approx(-log_pseudolikelihood(theory, spins))
    h = 1e-5
    steps = [h * row for row in np.eye(family.count)]
    slope = [(parts.value(theory.parameters + d)[0] - parts.value(theory.parameters - d)[0]) / (2 * h) for d in steps]
    np.testing.assert_allclose(gradient, slope, atol=1e-8)
    hessian, square = parts.curvature(theory.parameters)
    bend = [(parts.value(theory.parameters + d)[1] - parts.value(theory.parameters - d)[1]) / (2 * h) for d in steps]
    np.testing.assert_allclose(hessian, bend, atol=1e-8)
    each = np.array([conditionals(family, [s]).value(theory.parameters)[1] for s in spins])
    np.testing.assert_allclose(square, each.T @ each / len(spins), atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES[:3], ids=repr)
def test_optimum_is_that_of_logistic_regression(family):
    """Rows: what a coupling adds to E(s) - E(s with spin i turned), by differences of features; no intercept."""
    from sklearn.linear_model import LogisticRegression

    spins = inference.boltzmann_samples(family.random(3, scale=0.4), 400, seed=1).astype(int)
    rows, answers = [], []
    for i in range(family.N):
        up, down = spins.copy(), spins.copy()
        up[:, i], down[:, i] = 1, -1
        rows.append(family.features(down) - family.features(up))  # log odds of spin up: E(down) - E(up)
        answers.append(spins[:, i])
    peer = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000)
    peer.fit(np.concatenate(rows), np.concatenate(answers))
    found = inference.pseudolikelihood(family, spins)
    np.testing.assert_allclose(found.theory.parameters, peer.coef_[0], atol=1e-5)


def test_optimum_of_one_coupling_by_search():
    family = th.TranslationInvariant((4,))
    spins = inference.boltzmann_samples(family.theory([0.3]), 40, seed=2)
    best = minimize_scalar(lambda J: -log_pseudolikelihood(family.theory([J]), spins), bounds=(-1, 1), method="bounded")
    assert inference.pseudolikelihood(family, spins).theory.parameters[0] == pytest.approx(best.x, abs=1e-5)


def test_infinite_samples_give_the_couplings_back():
    """The true couplings are the optimum over the Boltzmann distribution itself."""
    theory = th.KLocal(4, 3, fields=True).random(0, scale=0.5)
    parts = Conditionals(theory.family, th.spins(4), np.exp(theory.log_probabilities()))
    np.testing.assert_allclose(parts.value(theory.parameters)[1], 0.0, atol=1e-14)


def test_samples_have_the_boltzmann_distribution():
    theory = th.Local((4,), fields=True).random(1, scale=0.5)
    energies = [
        sum(J * np.prod([s[i] for i in term]) for term, J in zip(theory.family.terms, theory.parameters, strict=True))
        for s in th.spins(4)
    ]
    weight = np.exp(-np.array(energies))
    samples = inference.boltzmann_samples(theory, 20_000, seed=0)
    index = (samples < 0) @ (1 << np.arange(4))
    assert chisquare(np.bincount(index, minlength=16), 20_000 * weight / weight.sum()).pvalue > 1e-3
    np.testing.assert_array_equal(samples[:50], inference.boltzmann_samples(theory, 50, seed=0))


def test_covariance_is_that_of_repeated_samples():
    theory = th.Local((4,), fields=True).random(2, scale=0.4)
    expected = inference.pseudolikelihood_covariance(theory)
    samples, repeats = 2000, 200
    found = [
        inference.pseudolikelihood(theory.family, inference.boltzmann_samples(theory, samples, seed))
        for seed in range(repeats)
    ]
    error = np.array([each.theory.parameters - theory.parameters for each in found])
    measured = samples * error.T @ error / repeats
    spread = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / repeats)
    assert (np.abs(measured - expected) < 5 * spread).all()
    np.testing.assert_allclose(
        np.mean([samples * each.covariance for each in found], axis=0), expected, rtol=0.1, atol=0.1
    )
    np.testing.assert_allclose(found[0].stderr, np.sqrt(np.diag(found[0].covariance)))


def test_sharing_a_coupling_divides_the_variance_by_the_links():
    """Links of an open chain are independent: the ratio is that of one of them to their mean."""
    N, J = 8, 0.3
    shared, local = th.TranslationInvariant((N,), periodic=False), th.Local((N,), periodic=False)
    one = inference.pseudolikelihood_covariance(shared.theory([J]))[0, 0]
    each = np.trace(inference.pseudolikelihood_covariance(local.theory(np.full(N - 1, J)))) / (N - 1)
    assert each / one == pytest.approx(N - 1, rel=0.1)


def test_many_spins_need_no_sum_over_states():
    """Links of a long open chain, tanh(J) on average each."""
    N, J = 80, -0.4
    random = np.random.default_rng(0)
    links = np.where(random.random((4000, N - 1)) < (1 + np.tanh(-J)) / 2, 1, -1)
    spins = np.concatenate([np.ones((4000, 1), dtype=int), np.cumprod(links, axis=1)], axis=1)
    found = inference.pseudolikelihood(th.Local((N,), periodic=False), spins)
    z = (found.theory.parameters - J) / found.stderr
    assert np.abs(z).max() < 5
    assert 0.6 < np.mean(z**2) < 1.5


def test_same_samples_in_another_order_are_the_same():
    theory = th.Local((5,)).random(0, scale=0.5)
    spins = inference.boltzmann_samples(theory, 300, seed=0)
    one, two = (inference.pseudolikelihood(theory.family, lot) for lot in (spins, spins[::-1]))
    np.testing.assert_array_equal(one.theory.parameters, two.theory.parameters)


@pytest.mark.parametrize(
    ("family", "samples"),
    [
        (th.Local((4,)), np.ones((50, 4))),
        (th.Local((3,), fields=True), list(itertools.product((1, -1), (1, -1), (1,)))),
        (th.KLocal(6, 3), inference.random_experiments(6, 5)),
    ],
    ids=["ordered", "one spin never turns", "fewer than couplings"],
)
def test_samples_without_a_maximum_are_refused(family, samples):
    with pytest.raises(ValueError, match="more samples"):
        inference.pseudolikelihood(family, samples)


def test_strong_couplings_that_have_a_maximum_are_not_refused():
    """One sample in 3,000 against the field."""
    samples = np.ones((3000, 1))
    samples[0] = -1
    found = inference.pseudolikelihood(th.TranslationInvariant((1,), fields=True), samples)
    assert found.theory.parameters[0] == pytest.approx(-0.5 * np.log(2999), abs=1e-4)


def test_bad_samples_are_refused():
    family = th.Local((4,))
    for samples in (np.ones(4), np.ones((2, 5)), np.zeros((2, 4)), np.empty((0, 4))):
        with pytest.raises(ValueError, match=r"samples|spins"):
            inference.pseudolikelihood(family, samples)
    with pytest.raises(TypeError, match="family"):
        inference.pseudolikelihood(4, np.ones((2, 4)))
    with pytest.raises(ValueError, match="coupling"):
        inference.pseudolikelihood(th.Local((1,)), np.ones((2, 1)))
    with pytest.raises(ValueError, match="amount"):
        inference.boltzmann_samples(family.random(0), 0)
    with pytest.raises(MemoryError, match="limit"):
        inference.boltzmann_samples(th.Local((8, 8)).random(0), 10)
