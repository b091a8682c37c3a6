"""Counting: weights against listed pairs of units, and how the numbers of spins and of weights grow."""

import itertools
import math

import pytest

from repflow.theories import Generic, KLocal, Local, TranslationInvariant
from repflow.theories.counting import WIRINGS, layer_count, spin_curves


def test_weights_of_a_layer_are_pairs_of_units():
    """Counted by listing the pairs on a small periodic chain: 6 sites, field of 3, two channels in, one out."""
    sites, field, into, out = 6, 3, 2, 1
    pairs = [
        (o, c, i, d)
        for o, c, i, d in itertools.product(range(sites), range(out), range(sites), range(into))
        if (i - o + 1) % sites < field
    ]
    displacements = {(c, d, (i - o) % sites) for o, c, i, d in pairs}
    assert layer_count("fully connected", sites, into, sites, out, field, biases=False) == sites**2 * into * out
    assert layer_count("locally connected", sites, into, sites, out, field, biases=False) == len(pairs)
    assert layer_count("convolutional", sites, into, sites, out, field, biases=False) == len(displacements)
    assert [layer_count(w, sites, into, sites, out, field) for w in WIRINGS] == [72 + 6, 36 + 6, 6 + 1]


def test_weights_grow_as_pairs_links_and_not_at_all():
    """On larger lattices: sites squared, sites, constant; as couplings of 2-local, local and uniform spins do."""
    slopes = []
    for wiring in WIRINGS:
        small, large = (layer_count(wiring, s, 3, s, 4, 9, biases=False) for s in (100, 400))
        slopes.append(math.log(large / small, 4))
    spins = []
    for family in (lambda s: KLocal(s * s, 2), lambda s: Local((s, s)), lambda s: TranslationInvariant((s, s))):
        spins.append(math.log(family(2000).count / family(1000).count, 4))
    assert slopes == pytest.approx([2.0, 1.0, 0.0])
    assert spins == pytest.approx(slopes, abs=1e-5)


def test_curves_have_the_families_counts():
    sizes = [2, 3, 4, 9, 16]
    curves = {curve.name: curve for curve in spin_curves(sizes)}
    assert curves["generic"].count == tuple(Generic(N, fields=True).count for N in sizes) == (3, 7, 15, 511, 65535)
    assert (curves["4-local"].size, curves["4-local"].count[0]) == ((4, 9, 16), 11)
    assert curves["local, square lattice"].size == (4, 9, 16)
    assert curves["local, square lattice"].count == (4, 18, 32)
    assert curves["translation invariant"].count == (1, 1, 1)
    assert {curve.kind for curve in curves.values()} == {"spins"}


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: layer_count("convolutional", 4.0, 1, 4, 1, 2), TypeError, "sites_in must be a whole number"),
        (lambda: layer_count("dense", 4, 1, 4, 1, 2), ValueError, "wiring must be one of"),
        (lambda: layer_count("convolutional", 4, 1, 4, 1, 9), ValueError, "field must be at most"),
        (lambda: layer_count("convolutional", 4, 0, 4, 1, 2), ValueError, "channels_in must be 1 or more"),
        (lambda: spin_curves([1]), ValueError, "N must be 2 or more"),
    ],
)
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
