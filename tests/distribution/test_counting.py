"""Couplings counted: formulas against orbits of indices, ranks of polynomials, and the arrays that flows hold."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import repflow as rf
from repflow.distribution import GramCumulants, NeuralDistribution, couplings_count, distinct_entries, inputs_within


def orbits(N, j):
    """Index tuples (a1 b1 ... a_{j+1} b_{j+1}) joined by exchange within a pair and of neighbouring pairs: union-find."""
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
            image = index[: 2 * i] + index[2 * i + 2 : 2 * i + 4] + index[2 * i : 2 * i + 2] + index[2 * i + 4 :]
            parent[root(image)] = root(index)
    return sum(parent[index] == index for index in indices)


def independent_polynomials(N, m, degree):
    """Rank of all monomials of a degree in the entries of sum_i z_i z_i^T, evaluated at random z of m neurons."""
    pairs = list(itertools.combinations_with_replacement(range(N), 2))
    monomials = list(itertools.combinations_with_replacement(range(len(pairs)), degree))
    z = np.random.default_rng(N + m).normal(size=(2 * len(monomials) + 10, m, N))
    M = np.einsum("sia,sib->sab", z, z)
    entries = np.stack([M[:, a, b] for a, b in pairs], axis=1)
    values = np.stack([np.prod(entries[:, list(mono)], axis=1) for mono in monomials], axis=1)
    values /= np.linalg.norm(values, axis=0)
    return np.linalg.matrix_rank(values, tol=1e-9 * np.linalg.norm(values, 2))


@pytest.mark.parametrize(("N", "j"), [(1, 0), (1, 2), (5, 0), (2, 1), (4, 1), (5, 1), (2, 2), (3, 2), (2, 3)])
def test_components_are_orbits_of_the_indices(N, j):
    assert couplings_count(N, j).by_order[-1] == orbits(N, j)


@pytest.mark.parametrize(
    ("N", "m", "j"), [(3, 1, 1), (4, 1, 1), (3, 2, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (3, 3, 2), (3, 2, 3), (2, 2, 3)]
)
def test_couplings_of_few_neurons_are_independent_polynomials(N, m, j):
    """Two neurons on three inputs lose the determinant of M alone: 55 of 56 sextic couplings."""
    assert couplings_count(N, j, neurons=m).by_order[-1] == independent_polynomials(N, m, j + 1)


@pytest.mark.parametrize("N", [1, 2, 5, 9])
def test_one_neuron_is_symmetric_in_all_inputs_and_many_see_everything(N):
    one = couplings_count(N, 4, neurons=1)
    assert one.by_order == tuple(math.comb(N + 2 * j + 1, 2 * j + 2) for j in range(5))
    # Enough neurons: the sum over all partitions is the whole symmetric power, a theorem that (2) has to reproduce.
    every = couplings_count(N, 4)
    assert couplings_count(N, 4, neurons=5) == every.__class__(N, 4, 5, every.by_order)
    fewer = [couplings_count(N, 4, neurons=m).by_order for m in (1, 2, 3, 4, 5)]
    assert all(a <= b for low, high in itertools.pairwise(fewer) for a, b in zip(low, high, strict=True))


def test_what_a_count_says():
    count = couplings_count(4, 2)
    assert (count.by_order, count.total, count.general) == ((10, 55, 220), 285, 16)
    assert count.entries == (16, 256, 4096)
    assert count.scaling == ("N^2/2", "N^4/8", "N^6/48")
    assert couplings_count(4, 2, neurons=1).scaling == ("N^2/2", "N^4/24", "N^6/720")
    assert couplings_count(4, 3, neurons=3).scaling[-1] == "13 N^8/5760"
    assert str(count) == "4 inputs: 10 at order 0, 55 at order 1, 220 at order 2"


@pytest.mark.parametrize("neurons", [None, 1, 2])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_growth_is_twice_the_order_plus_two(order, neurons):
    """N^(2k+2), with the stated coefficient; not N^k."""
    N = 10**8
    here, twice = (couplings_count(n, order, neurons) for n in (N, 2 * N))
    assert math.log2(twice.total / here.total) == pytest.approx(2 * order + 2, abs=1e-6)
    assert float(here.by_order[-1] / (here.coefficients[-1] * Fraction(N) ** (2 * order + 2))) == pytest.approx(
        1, abs=1e-6
    )


@pytest.mark.parametrize("order", [0, 1, 2, None])
@pytest.mark.parametrize("parameters", [1, 2, 3, 17, 4096, 10**6 + 1])
def test_inputs_within_a_number_of_parameters(order, parameters):
    def needed(N):
        return 2**N if order is None else couplings_count(N, order).total if N else 0

    found = inputs_within(parameters, order)
    assert needed(found) <= parameters < needed(found + 1)


@pytest.mark.parametrize("N", [1, 2, 3])
def test_flow_and_action_hold_as_many_numbers(N):
    """Random inputs, three layers, so that nothing is equal by accident or by the simple shape of layer two."""
    x = np.random.default_rng(N).normal(size=(N, 7))
    last = rf.flow(rf.mlp([7, 20, 30, 25, 3], activation="tanh", C_W=1.3, C_b=0.2), x, order=2, progress=False)[-1]
    count = couplings_count(N, 2).by_order
    assert tuple(distinct_entries(t) for t in (last.kernel, last.vertex, last.sextic)) == count
    n = last.n_in
    cumulants = GramCumulants(
        last.kernel,
        last.kernel_correction / n,
        last.vertex / n,
        last.kernel_correction2 / n**2,
        last.vertex_correction / n**2,
        last.sextic / n**2,
    )
    couplings = NeuralDistribution(4, 3, cumulants).couplings()
    assert tuple(distinct_entries(t) for t in (couplings.quadratic, couplings.quartic, couplings.sextic)) == count


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
    assert distinct_entries(cumulant) == couplings_count(N, 2).by_order[2]


def test_what_one_output_sees_of_the_vertex():
    """The connected four-point function of one output is V summed over its three pairings."""
    x = np.random.default_rng(0).normal(size=(4, 7))
    vertex = rf.flow(rf.mlp([7, 20, 30, 1], activation="tanh", C_W=1.3, C_b=0.2), x, order=1)[-1].vertex.numpy()
    four_point = vertex + vertex.transpose(0, 2, 1, 3) + vertex.transpose(0, 3, 2, 1)
    assert distinct_entries(four_point) == couplings_count(4, 1, neurons=1).by_order[1] == 35


def test_repeated_inputs_have_fewer():
    x = np.random.default_rng(0).normal(size=(2, 7))[[0, 1, 1]]
    vertex = rf.flow(rf.mlp([7, 20, 30, 3], activation="tanh", C_W=1.3, C_b=0.2), x, order=1)[-1].vertex
    assert distinct_entries(vertex, 1e-7) == couplings_count(2, 1).by_order[1] < couplings_count(3, 1).by_order[1]


def test_distinct_forgives_rounding_alone():
    assert distinct_entries([1.0, 1.0 + 1e-14, -2.0, -2.0 + 1e-6, 0.0, 1e-15]) == 3
    assert distinct_entries(np.zeros((2, 2))) == 0
    for bad in ([], [1.0, math.nan]):
        with pytest.raises(ValueError, match="finite"):
            distinct_entries(bad)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: couplings_count(0, 1), ValueError, "inputs must be 1 or more, got 0"),
        (lambda: couplings_count(2.5, 1), TypeError, "inputs must be a whole number, got 2.5"),
        (lambda: couplings_count(True, 1), TypeError, "inputs"),
        (lambda: couplings_count(2, -1), ValueError, "order must be 0 or more"),
        (lambda: couplings_count(2, 1, neurons=0), ValueError, "neurons must be 1 or more"),
        (lambda: inputs_within(0, 1), ValueError, "parameters must be 1 or more"),
        (lambda: inputs_within(10, -1), ValueError, "order must be 0 or more"),
    ],
)
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
