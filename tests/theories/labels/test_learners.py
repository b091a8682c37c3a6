"""Learners: functions of their training sets, and each against an independent computation."""

import itertools

import numpy as np
import pytest

from repflow import theories as th
from repflow.theories.labels import (
    Couplings,
    Linear,
    Memorisation,
    NearestNeighbour,
    Network,
    Parity,
    Quadratic,
    SupportVectors,
    Tree,
    completions,
)
from repflow.theories.labels.standard import translations

LEARNERS = [
    NearestNeighbour(),
    NearestNeighbour((2, 3)),
    Linear(),
    Tree(),
    SupportVectors(),
    Network(),
    Memorisation(),
    Couplings(th.KLocal(6, 2), "pairs"),
    Parity(),
    Quadratic(),
]
IMAGES = th.spins(6)


def names(learner):
    return learner.name


def some_sets(count, sizes=(2, 5, 20, 40), seed=0):
    rng = np.random.default_rng(seed)
    partial = np.zeros((count, 64), dtype=np.int8)
    for k, row in enumerate(partial):
        chosen = rng.permutation(64)[: sizes[k % len(sizes)]]
        row[chosen] = rng.choice([-1, 1], len(chosen))
    return partial


@pytest.mark.parametrize("learner", LEARNERS, ids=names)
def test_order_and_company_of_a_training_set_make_no_difference(learner):
    rng = np.random.default_rng(1)
    partial = some_sets(12)
    together = completions(learner, IMAGES, partial)
    for known, row in zip(partial, together):
        index = rng.permutation(np.flatnonzero(known))
        alone = learner.predict(IMAGES[index], known[index], IMAGES)
        np.testing.assert_array_equal(alone, row)
        # A test image is labelled by itself, too.
        one = int(rng.integers(64))
        assert learner.predict(IMAGES[index], known[index], IMAGES[[one]])[0] == row[one]


@pytest.mark.parametrize("learner", LEARNERS, ids=names)
def test_training_sets_of_one_class_and_none(learner):
    for sign in (1, -1):
        known = np.zeros((1, 64), dtype=np.int8)
        known[0, [3, 17, 30]] = sign
        found = completions(learner, IMAGES, known)
        assert set(np.unique(found)) <= {-1, 1}
        np.testing.assert_array_equal(found, completions(learner, IMAGES, known))
    empty = learner.predict(np.empty((0, 6)), np.empty(0), IMAGES)
    np.testing.assert_array_equal(empty, np.ones(64))


@pytest.mark.parametrize("learner", [Linear(), Tree(), SupportVectors(), NearestNeighbour(), Memorisation()], ids=names)
def test_a_single_class_is_predicted(learner):
    assert (learner.predict(IMAGES[[1, 5]], [-1, -1], IMAGES) == -1).all()


def nearest_by_hand(image, train, labels, moves):
    shells = {}
    for other, label in zip(train, labels):
        reach = min(int((image != other[moved]).sum()) for moved in moves)
        shells[reach] = shells.get(reach, 0) + int(label)
    return next((1 if shells[reach] > 0 else -1 for reach in sorted(shells) if shells[reach]), 1)


@pytest.mark.parametrize("shape", [None, (6,), (2, 3)])
def test_nearest_neighbour_image_by_image(shape):
    moves = [np.arange(6)]
    if shape is not None:
        site = np.arange(6).reshape(shape)
        shifts = itertools.product(*(range(side) for side in shape))
        moves = [np.roll(site, shift, tuple(range(len(shape)))).ravel() for shift in shifts]
    partial = some_sets(8)
    found = completions(NearestNeighbour(shape), IMAGES, partial)
    for known, row in zip(partial, found):
        index = np.flatnonzero(known)
        wanted = [nearest_by_hand(image, IMAGES[index], known[index], moves) for image in IMAGES]
        np.testing.assert_array_equal(row, wanted)


@pytest.mark.parametrize("shape", [(5,), (3, 3), (2, 3), (1, 4), (2, 2, 3)])
def test_translations_are_all_shifts(shape):
    site = np.arange(np.prod(shape)).reshape(shape)
    shifts = itertools.product(*(range(side) for side in shape))
    wanted = {tuple(np.roll(site, shift, tuple(range(len(shape)))).ravel()) for shift in shifts}
    found = translations(shape)
    assert {tuple(row) for row in found.tolist()} == wanted
    assert len(found) == len(wanted)


def test_one_parity_by_trying_all():
    partial = some_sets(8, sizes=(6, 9, 12, 30))
    found = completions(Parity(), IMAGES, partial)
    subsets = [list(s) for size in range(7) for s in itertools.combinations(range(6), size)]
    for known, row in zip(partial, found):
        index = np.flatnonzero(known)
        scores = {}
        for number, subset in enumerate(subsets):
            for sign in (1, -1):
                labels = sign * IMAGES[:, subset].prod(axis=1, dtype=int)
                scores[number, sign] = int((labels[index] == known[index]).sum())
        best = max(scores.values())
        votes = sum(
            sign * IMAGES[:, subsets[number]].prod(axis=1, dtype=int)
            for (number, sign), score in scores.items()
            if score == best
        )
        np.testing.assert_array_equal(row, np.where(votes >= 0, 1, -1))


def quadratic_polynomials(n):
    """Labels of all images under every polynomial of degree 2 over GF(2)."""
    bits = (1 - th.spins(n).astype(int)) // 2
    terms = [np.ones(2**n, dtype=int), *bits.T, *(bits[:, i] * bits[:, j] for i in range(n) for j in range(i))]
    for coefficients in itertools.product((0, 1), repeat=len(terms)):
        yield 1 - 2 * (sum(c * term for c, term in zip(coefficients, terms)) % 2)


def test_quadratic_form_among_all_polynomials():
    everything = np.array(list(quadratic_polynomials(3)))
    assert len({tuple(row) for row in everything}) == 2**7
    rng = np.random.default_rng(3)
    images = th.spins(3)
    for known in rng.choice([-1, 0, 1], (60, 8)).astype(np.int8):
        found = completions(Quadratic(), images, known[None])[0]
        assert (everything == found).all(axis=1).any()  # it is such a polynomial,
        there = known != 0
        if (everything[:, there] == known[there]).all(axis=1).any():
            np.testing.assert_array_equal(found[there], known[there])  # and fits where one does


def test_quadratic_form_is_recovered_from_enough_images():
    rng = np.random.default_rng(4)
    images = th.spins(5)
    bits = (1 - images.astype(int)) // 2
    labels = 1 - 2 * ((bits[:, 0] * bits[:, 3] + bits[:, 1] * bits[:, 2] + bits[:, 4] + 1) % 2)
    for _ in range(5):
        known = labels.copy()
        known[rng.permutation(32)[28:]] = 0  # 28 equations for 16 unknowns
        np.testing.assert_array_equal(completions(Quadratic(), images, known[None])[0], labels)


def test_couplings_are_those_of_ridge_regression():
    from sklearn.linear_model import Ridge

    family = th.Local((2, 3), periodic=False)
    rng = np.random.default_rng(5)
    partial = some_sets(6)
    found = completions(Couplings(family, "links", ridge=0.7), IMAGES, partial)
    features = np.stack([IMAGES[:, i] * IMAGES[:, j] for i, j in family.terms], axis=1).astype(float)
    for known, row in zip(partial, found):
        index = rng.permutation(np.flatnonzero(known))
        score = Ridge(alpha=0.7, fit_intercept=False).fit(features[index], known[index]).predict(features)
        clear = np.abs(score) > 1e-9
        np.testing.assert_array_equal(row[clear], np.sign(score)[clear])
        assert (row[~clear] == 1).all()


def test_linear_and_support_vectors_learn_a_pixel_with_scikit_learns_classes():
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    known = some_sets(1, sizes=(30,))[0]
    index = np.flatnonzero(known)
    x = IMAGES.astype(float)
    for learner, model in ((Linear(), LogisticRegression(tol=1e-10)), (SupportVectors(), SVC(C=10, gamma=1 / 6))):
        score = model.fit(x[index], known[index]).decision_function(x)
        clear = np.abs(score) > 1e-5
        assert clear.any()
        found = learner.predict(IMAGES[index], known[index], IMAGES)
        np.testing.assert_array_equal(found[clear], np.sign(score)[clear])
        assert (completions(learner, IMAGES, IMAGES[None, :, 2]) == IMAGES[:, 2]).all()


def test_memorisation_and_majority():
    found = Memorisation().predict(IMAGES[[0, 1, 2]], [1, -1, -1], IMAGES)
    np.testing.assert_array_equal(found[:3], [1, -1, -1])
    assert (found[3:] == -1).all()


def test_network_fits_any_labels_and_starts_from_its_seed():
    partial = some_sets(20, sizes=(64,))
    np.testing.assert_array_equal(completions(Network(), IMAGES, partial), partial)
    few = some_sets(20, sizes=(10,))
    assert (completions(Network(seed=1), IMAGES, few) != completions(Network(), IMAGES, few)).any()


def test_network_against_the_same_training_step_by_step():
    """One fit by hand: NumPy gradients and Adam's formulas (D. P. Kingma and J. Ba, 2014, algorithm 1)."""
    from repflow.blocks import generator

    learner = Network(width=5, steps=4, rate=0.1, seed=2)
    known = some_sets(1, sizes=(9,))[0]
    index = np.flatnonzero(known)
    x, y = IMAGES[index].astype(float), known[index].astype(float)
    draws = generator(2)
    W = draws.standard_normal((6, 5)) / np.sqrt(6)
    weights = [W, np.zeros(5), draws.standard_normal(5) / np.sqrt(5), np.zeros(())]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(1, 5):
        W, b, v, c = weights
        h = np.tanh(x @ W + b)
        slope = -y / (1 + np.exp(y * (h @ v + c))) / len(y)
        back = slope[:, None] * v * (1 - h**2)
        gradients = [x.T @ back, back.sum(axis=0), h.T @ slope, slope.sum()]
        for k, gradient in enumerate(gradients):
            first[k] = 0.9 * first[k] + 0.1 * gradient
            second[k] = 0.999 * second[k] + 0.001 * gradient**2
            mean, square = first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step)
            weights[k] = weights[k] - 0.1 * mean / (np.sqrt(square) + 1e-8)
    W, b, v, c = weights
    wanted = np.tanh(IMAGES @ W + b) @ v + c
    assert np.abs(wanted).min() > 1e-6
    np.testing.assert_array_equal(learner.predict(x, y, IMAGES), np.sign(wanted))


class Constant:
    """A learner from elsewhere: a name and predict, nothing else."""

    name = "constant"

    def __init__(self, label):
        self.label = label

    def predict(self, train_x, train_y, test_x):
        return np.full(len(test_x), self.label)


def test_any_object_with_a_name_and_predict_is_a_learner():
    assert (completions(Constant(-1), IMAGES, some_sets(2)) == -1).all()
    with pytest.raises(ValueError, match="constant.*must return labels"):
        completions(Constant(0), IMAGES, some_sets(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGES[:2], [1], IMAGES), "train_y must have shape"),
        ((IMAGES[:2], [1, 0], IMAGES), "train_y must hold labels"),
        ((IMAGES[:2, :3], [1, -1], IMAGES), "train_x has 3 pixels"),
        ((IMAGES[:2] * 2, [1, -1], IMAGES), "train_x must have pixels"),
        ((IMAGES[:2], [1, -1], IMAGES[0]), "test_x must have shape"),
    ],
)
@pytest.mark.parametrize("learner", [Memorisation(), Linear()], ids=names)
def test_wrong_tasks_are_refused(learner, arguments, message):
    with pytest.raises(ValueError, match=message):
        learner.predict(*arguments)


def test_wrong_partial_labelings_and_settings_are_refused():
    with pytest.raises(ValueError, match="64 columns"):
        completions(Memorisation(), IMAGES[:10], some_sets(1))
    with pytest.raises(ValueError, match="partial must hold"):
        completions(Memorisation(), IMAGES, 2 * some_sets(1))
    with pytest.raises(ValueError, match="partial must have shape"):
        completions(Memorisation(), IMAGES, some_sets(1)[0])
    with pytest.raises(ValueError, match="tile"):
        completions(NearestNeighbour((4, 2)), IMAGES, some_sets(1))
    with pytest.raises(ValueError, match="width"):
        Network(width=0)
    with pytest.raises(ValueError, match="rate"):
        Network(rate=float("nan"))
    with pytest.raises(ValueError, match="ridge"):
        Couplings(th.KLocal(6, 2), "pairs", ridge=0.0)
    with pytest.raises(MemoryError, match="parities"):
        Parity().predict(np.ones((1, 45)), [1], np.ones((1, 45)))
