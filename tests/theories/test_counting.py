"""Counting: formulas against enumerated orbits of indices, and against the arrays that flow computes."""

import itertools
import math

import numpy as np
import pytest

import repflow as rf
from repflow.theories import Generic, KLocal, Local, TranslationInvariant
from repflow.theories.counting import (
    WIRINGS,
    OutputDistribution,
    distinct,
    layer_count,
    output_curves,
    spin_curves,
)


def orbits_of_pairs(N, j):
    """Index tuples (a1 b1 ... a_{j+1} b_{j+1}) up to exchange within each pair and of whole pairs, by listing them all."""
    found = set()
    for index in itertools.product(range(N), repeat=2 * j + 2):
        pairs = [tuple(sorted(index[2 * i : 2 * i + 2])) for i in range(j + 1)]
        found.add(tuple(sorted(pairs)))
    return len(found)


def orbits_by_group(N, j):
    """The same by letting the generators of the group act and joining what they connect: nothing is sorted."""
    indices = list(itertools.product(range(N), repeat=2 * j + 2))
    parent = {index: index for index in indices}

    def root(index):
        while parent[index] != index:
            index = parent[index]
        return index

    for index in indices:
        for i in range(j + 1):
            image = list(index)
            image[2 * i], image[2 * i + 1] = image[2 * i + 1], image[2 * i]
            parent[root(tuple(image))] = root(index)
        for i in range(j):
            image = list(index)
            image[2 * i : 2 * i + 2], image[2 * i + 2 : 2 * i + 4] = (
                index[2 * i + 2 : 2 * i + 4],
                index[2 * i : 2 * i + 2],
            )
            parent[root(tuple(image))] = root(index)
    return sum(parent[index] == index for index in indices)


@pytest.mark.parametrize(("N", "j"), [(1, 0), (4, 0), (1, 1), (3, 1), (5, 1), (3, 2), (4, 2), (3, 3), (2, 4)])
def test_components_are_orbits_of_the_indices(N, j):
    expected = orbits_of_pairs(N, j)
    assert OutputDistribution(N, j).components(j) == expected
    if N ** (2 * j + 2) < 5000:
        assert orbits_by_group(N, j) == expected


@pytest.mark.parametrize(("N", "j"), [(4, 0), (3, 1), (5, 1), (3, 2), (3, 3)])
def test_one_output_sees_what_is_symmetric_in_all_inputs(N, j):
    orbits = {tuple(sorted(index)) for index in itertools.product(range(N), repeat=2 * j + 2)}
    assert OutputDistribution(N, j, outputs=1).components(j) == len(orbits)


def test_couplings_of_all_orders_add_up():
    theory = OutputDistribution(4, 2)
    assert theory.count == 10 + 55 + 220
    assert OutputDistribution(4, 2, outputs=3).count == theory.count
    assert OutputDistribution(4, 2, outputs=1).count == 10 + 35 + 84


@pytest.mark.parametrize("outputs", [None, 1])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_growth_is_twice_the_order_plus_two(order, outputs):
    """N^(2k+2), with the stated coefficient: not N^k."""
    N = 10**7
    here, twice = OutputDistribution(N, order, outputs), OutputDistribution(2 * N, order, outputs)
    assert math.log2(twice.count / here.count) == pytest.approx(2 * order + 2, abs=1e-5)
    assert here.count / here.asymptotic_count == pytest.approx(1.0, abs=1e-4)
    power, coefficient = here.scaling.removeprefix("N^").split("/")
    assert (int(power), N ** int(power) / int(coefficient)) == (2 * order + 2, pytest.approx(here.asymptotic_count))


@pytest.mark.parametrize("N", [1, 2, 3, 4])
def test_flow_has_as_many_different_numbers(N):
    """Random inputs and several layers, so that nothing is equal by accident or by the order-one shape of layer two."""
    x = np.random.default_rng(N).normal(size=(N, 7))
    network = rf.mlp([7, 20, 30, 25, 3], activation="gelu", C_W=1.3, C_b=0.2)
    last = rf.flow(network, x, order=1)[-1]
    assert distinct(last.kernel) == OutputDistribution(N, 0).components(0)
    assert distinct(last.vertex) == OutputDistribution(N, 1).components(1)
    if N > 1:
        vertex = last.vertex.numpy()
        # Not symmetric in all four inputs: what a single output would see has fewer.
        apart = np.abs(vertex - vertex.transpose(0, 2, 1, 3)).max()
        assert apart > 1e-3 * np.abs(vertex).max()
        assert OutputDistribution(N, 1, outputs=1).components(1) < distinct(last.vertex)


@pytest.mark.parametrize("N", [1, 2, 3])
def test_third_cumulant_of_real_networks_has_the_six_point_count(N):
    """Central third moments of the Gram matrices of 200 networks, tanh, two hidden layers of 6: all N^6 of them."""
    rng = np.random.default_rng(N)
    x = rng.normal(size=(N, 5))
    first = np.tanh(np.einsum("rij,aj->rai", rng.normal(size=(200, 6, 5)), x))
    second = np.tanh(np.einsum("rij,raj->rai", rng.normal(size=(200, 6, 6)), first))
    gram = np.einsum("rai,rbi->rab", second, second) / 6
    gram -= gram.mean(axis=0)
    cumulant = np.einsum("rab,rcd,ref->abcdef", gram, gram, gram) / 200
    assert cumulant.size == N**6
    assert distinct(cumulant) == OutputDistribution(N, 2).components(2)


def test_what_one_output_sees_of_the_vertex():
    """The connected four-point function of one output is V summed over its three pairings."""
    x = np.random.default_rng(0).normal(size=(4, 7))
    vertex = rf.flow(rf.mlp([7, 20, 30, 1], activation="tanh", C_W=1.3, C_b=0.2), x, order=1)[-1].vertex.numpy()
    four_point = vertex + vertex.transpose(0, 2, 1, 3) + vertex.transpose(0, 3, 2, 1)
    assert distinct(four_point) == OutputDistribution(4, 1, outputs=1).components(1) == 35


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
    curves = {curve.name: curve for curve in [*spin_curves(sizes), *output_curves(sizes)]}
    assert curves["generic"].count == tuple(Generic(N, fields=True).count for N in sizes) == (3, 7, 15, 511, 65535)
    assert (curves["4-local"].size, curves["4-local"].count[0]) == ((4, 9, 16), 11)
    assert curves["local, square lattice"].size == (4, 9, 16)
    assert curves["local, square lattice"].count == (4, 18, 32)
    assert curves["translation invariant"].count == (1, 1, 1)
    assert curves["infinite width"].count == (3, 6, 10, 45, 136)
    assert curves["order 1/n"].count[1] == 6 + 21
    assert {curve.kind for curve in curves.values()} == {"spins", "outputs"}


def test_distinct_forgives_rounding_alone():
    assert distinct([1.0, 1.0 + 1e-14, 2.0, 2.0 + 1e-6]) == 3
    with pytest.raises(ValueError, match="finite"):
        distinct([])
    with pytest.raises(ValueError, match="finite"):
        distinct([1.0, math.nan])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: OutputDistribution(0, 1), ValueError, "N must be 1 or more"),
        (lambda: OutputDistribution(2.5, 1), TypeError, "N must be a whole number"),
        (lambda: OutputDistribution(2, -1), ValueError, "order must be 0 or more"),
        (lambda: OutputDistribution(2, 2, outputs=2), ValueError, "outputs must be 1, or order"),
        (lambda: layer_count("dense", 4, 1, 4, 1, 2), ValueError, "wiring must be one of"),
        (lambda: layer_count("convolutional", 4, 1, 4, 1, 9), ValueError, "field must be at most"),
        (lambda: layer_count("convolutional", 4, 0, 4, 1, 2), ValueError, "channels_in must be 1 or more"),
        (lambda: spin_curves([1]), ValueError, "N must be 2 or more"),
    ],
)
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
