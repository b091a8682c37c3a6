"""Averages over all labelings, against loops in rational numbers; and accuracies of labelings drawn."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from repflow import theories as th
from repflow.theories.labels import (
    AnyLabels,
    Couplings,
    Linear,
    Memorisation,
    NearestNeighbour,
    Network,
    OneProduct,
    Parity,
    Quadratic,
    SupportVectors,
    TranslationInvariantLabels,
    Tree,
    accuracies,
    exact_average,
)
from repflow.theories.labels.averages import count_hits, partial_labelings


def learners(N, steps=60):
    return [
        NearestNeighbour(),
        Linear(),
        Tree(),
        SupportVectors(),
        Network(steps=steps),
        Memorisation(),
        Couplings(th.KLocal(N, 2), "pairs"),
        NearestNeighbour((N,)),
        Parity(),
        Quadratic(),
    ]


def by_loops(learner, N):
    """Accuracy for every labeling and split, by calling the learner for each; {(labeling, split): Fraction}."""
    images = th.spins(N)
    found = {}
    for labeling in itertools.product((1, -1), repeat=len(images)):
        for split in itertools.product((False, True), repeat=len(images)):
            train, test = np.flatnonzero(split), np.flatnonzero(np.logical_not(split))
            if len(test) == 0:
                continue
            y = np.array(labeling)
            guess = learner.predict(images[train], y[train], images[test])
            found[labeling, split] = Fraction(int((guess == y[test]).sum()), len(test))
    return found


@pytest.mark.parametrize("learner", learners(2, steps=4), ids=lambda learner: learner.name)
def test_two_pixels_by_loops(learner):
    wanted, found = by_loops(learner, 2), exact_average(learner, 2)
    assert found.fits == 3**4
    for m in range(4):
        of_size = {key: value for key, value in wanted.items() if sum(key[1]) == m}
        assert found.by_size[m] == sum(of_size.values()) / len(of_size) == Fraction(1, 2)
        for row, labeling in enumerate(itertools.product((1, -1), repeat=4)):
            # by_labeling counts in bits, image 0 lowest; product has image 0 first.
            index = sum(1 << i for i, label in enumerate(labeling) if label == -1)
            mine = [value for (y, _), value in of_size.items() if y == labeling]
            assert found.by_labeling(m)[index] == sum(mine) / len(mine), row
    splits = list(itertools.product((False, True), repeat=4))[:-1]
    for split in splits:
        index = sum(1 << i for i, there in enumerate(split) if there)
        mine = [value for (_, other), value in wanted.items() if other == split]
        assert found.by_split[index] == sum(mine) / len(mine) == Fraction(1, 2)


@pytest.mark.parametrize(
    "learner", [one for one in learners(3) if hasattr(one, "complete")], ids=lambda learner: learner.name
)
def test_three_pixels_average_to_one_half_exactly(learner):
    found = exact_average(learner, 3)
    assert found.fits == 6561
    assert found.by_size == [Fraction(1, 2)] * 8
    assert found.by_split == [Fraction(1, 2)] * 255
    # Not because every labeling is at 1/2: it is an average.
    assert min(found.by_labeling(4)) < Fraction(2, 5) < Fraction(3, 5) < max(found.by_labeling(4))


@pytest.mark.slow
@pytest.mark.parametrize("learner", [Linear(), Tree(), SupportVectors()], ids=lambda learner: learner.name)
def test_three_pixels_average_to_one_half_exactly_fit_by_fit(learner):
    found = exact_average(learner, 3)
    assert found.by_size == [Fraction(1, 2)] * 8
    assert found.by_split == [Fraction(1, 2)] * 255


def test_three_pixels_by_loops_on_some_labelings():
    images, learner = th.spins(3), NearestNeighbour((3,))
    found = exact_average(learner, 3)
    for index in (0, 5, 77, 130, 255):
        y = 1 - 2 * (index >> np.arange(8) & 1)
        for split in (0, 1, 6, 100, 254):
            train = split >> np.arange(8) & 1 == 1
            guess = learner.predict(images[train], y[train], images[~train])
            assert found.hits[index, split] == (guess == y[~train]).sum()


def test_partial_labelings_are_all_there():
    sets = partial_labelings(4)
    assert {tuple(row) for row in sets.tolist()} == set(itertools.product((0, 1, -1), repeat=4))
    assert sets[1 + 2 * 3].tolist() == [1, -1, 0, 0]


def test_any_table_of_predictions_averages_to_one_half_and_a_look_at_the_answer_does_not():
    rng = np.random.default_rng(0)
    table = rng.choice([-1, 1], (3**4, 4)).astype(np.int8)
    assert 2 * count_hits(table).sum() == 4 * 16 * 8  # half of all pairs of an image and a set without it
    hits = count_hits(table)
    # The labels off the training set decide what is right: those of one labeling alone don't average out.
    assert len({int(row.sum()) for row in hits}) > 1


def test_exact_average_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"at most 3 pixels, got 4.*accuracies"):
        exact_average(Memorisation(), 4)
    with pytest.raises(ValueError, match="N must be 1 or more"):
        exact_average(Memorisation(), 0)
    with pytest.raises(ValueError, match="0 to 3 training images"):
        exact_average(Memorisation(), 2).by_labeling(4)


def test_labelings_drawn_average_to_one_half_with_the_spread_of_fair_coins():
    found = accuracies(AnyLabels(7), [NearestNeighbour(), Memorisation(), Parity()], 7, 28, 4000, seed=1)
    assert found.shape == (3, 4000)
    # Given its training set a labeling is 100 fair coins: a binomial share.
    error = 0.05 / np.sqrt(4000)
    assert (np.abs(found.mean(axis=1) - 0.5) < 5 * error).all()
    np.testing.assert_allclose(found.std(axis=1, ddof=1), 0.05, rtol=5 / np.sqrt(2 * 4000))


def test_draws_depend_on_seed_and_stream_alone():
    def run(learner, draws=5, **arguments):
        return accuracies(AnyLabels(5), [learner], 5, 10, draws, **arguments)

    one = run(Memorisation(), seed=3)
    np.testing.assert_array_equal(one, run(Memorisation(), seed=3))
    np.testing.assert_array_equal(one[:, :3], run(Memorisation(), draws=3, seed=3))
    assert (one != run(Memorisation(), seed=4)).any()
    assert (one != run(Memorisation(), seed=3, stream=1)).any()


def test_accuracy_is_off_the_training_set_of_what_was_drawn():
    class Spy:
        name = "spy"

        def __init__(self):
            self.sizes, self.right = [], []

        def predict(self, train_x, train_y, test_x):
            # The label of a single pixel is known from one image.
            pixel = np.abs((train_x * np.asarray(train_y)[:, None]).sum(axis=0)).argmax()
            self.sizes.append(len(train_y))
            return test_x[:, pixel] * np.sign(train_x[:, pixel] @ train_y)

    spy = Spy()
    found = accuracies(OneProduct(4, 1, 1, "pixel"), [spy, Memorisation()], 4, 12, 6, seed=0)
    assert spy.sizes == [12] * 6
    np.testing.assert_array_equal(found[0], np.ones(6))
    # Of 8 and 8 labels, 12 in the training set, memorisation is right on the majority of the other 4.
    assert set(np.unique(found[1])) <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_structure_is_what_makes_the_difference():
    """The same learner on the same number of images: over all labelings chance, over those of its family not."""
    learner = NearestNeighbour((2, 3))
    everything = accuracies(AnyLabels(6), [learner], 6, 32, 400, seed=0)[0]
    family = accuracies(TranslationInvariantLabels((2, 3)), [learner], 6, 32, 400, seed=0)[0]
    assert abs(everything.mean() - 0.5) < 5 * everything.std() / 20
    assert family.mean() > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [({"m": 32}, "m must be from 0 to"), ({"draws": 1}, "draws must be 2 or more"), ({"N": 4, "m": 3}, "2\\^N = 16")],
)
def test_impossible_draws_are_refused(change, message):
    arguments = {"N": 5, "m": 10, "draws": 4, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        accuracies(AnyLabels(5), [Memorisation()], **arguments)
