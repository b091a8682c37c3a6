"""Averages over one layer at order 1/n, by enumeration: where the recursions of the docs come from.

Written n for the width of layer l, m for that of layer l-1. The average of a product of trees of layer l+1 takes

1. `wick_trees.one_layer`: the exact recursion of one network;
2. Wick's theorem for the new parameters, C_W/n for a pair of weights, C_b for a pair of biases: `matched`;
3. sums over hidden neurons divided by which of them coincide, n (n - 1) ... terms each: `layer_average`;
4. the expectation over layer l of functions of distinct neurons times trees, at order 1/m: `expectation`.

Step 4 uses the lemma of docs/tangent-kernel.md: a joint cumulant that carries 2q neuron indices is of order m^(1-q), and
is a sum over the ways to pair them. So two indices give K, Theta and their corrections G1, H1, four give V, A, B, D, F, P,
Q, R, S, T, U, and more give nothing at order 1/m. A cumulant of p preactivations with trees acts on functions of z by p
derivatives (no inverse of K).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.recursion.wick_terms import Sum, d, mean, product, s, slots, symbol, total
from tests.recursion.wick_trees import Edge, Forest, Product, divisions, one_layer

ORDER = 1  # in 1/n; the lemma is used for no more
Matching = frozenset[frozenset[int]]
Neurons = tuple[tuple[int, int], ...]  # for each index of a tensor: the neuron and the input

# Which inputs a paired cumulant of four indices takes, by the places of its indices: the definitions of the tensors.
DEFINITIONS: dict[tuple[str, ...], dict[tuple[Edge, Edge], tuple[str, tuple[int, ...]]]] = {
    ("z", "z", "z", "z"): {
        ((0, 1), (2, 3)): ("V", (0, 1, 2, 3)),
        ((0, 2), (1, 3)): ("V", (0, 2, 1, 3)),
        ((0, 3), (1, 2)): ("V", (0, 3, 1, 2)),
    },
    ("H", "H"): {
        ((0, 1), (2, 3)): ("A", (0, 1, 2, 3)),
        ((0, 2), (1, 3)): ("B", (0, 2, 1, 3)),
        ((0, 3), (1, 2)): ("B", (0, 3, 1, 2)),
    },
    ("z", "z", "H"): {
        ((0, 1), (2, 3)): ("D", (0, 1, 2, 3)),
        ((0, 2), (1, 3)): ("F", (0, 2, 1, 3)),
        ((0, 3), (1, 2)): ("F", (0, 3, 1, 2)),
    },
    ("z", "dH"): {  # z is index 0, dH is indices 1, 2, 3
        ((0, 1), (2, 3)): ("P", (1, 2, 3, 0)),
        ((0, 3), (1, 2)): ("Q", (1, 2, 3, 0)),
        ((0, 2), (1, 3)): ("Q", (1, 3, 2, 0)),
    },
    ("ddI",): {
        ((0, 1), (2, 3)): ("R", (0, 1, 2, 3)),
        ((0, 2), (1, 3)): ("R", (0, 2, 3, 1)),
        ((0, 3), (1, 2)): ("R", (0, 3, 1, 2)),
    },
    ("ddII",): {
        ((0, 1), (2, 3)): ("S", (0, 1, 2, 3)),
        ((0, 2), (1, 3)): ("T", (0, 2, 1, 3)),
        ((0, 3), (1, 2)): ("U", (0, 3, 1, 2)),
    },
}


@dataclass(frozen=True)
class Statistic:
    """A tensor of layer l+1: the trees whose cumulant it is, its inputs as written, and the pairs of equal neurons."""

    trees: tuple[tuple[str, tuple[int, ...]], ...]
    inputs: tuple[int, ...]
    pairing: tuple[Edge, ...]

    def recursion(self) -> Sum:
        """The cumulant with these neurons paired, to order 1/n."""
        return cumulant(*self.trees)[joined(*self.pairing)]


_FOUR_Z, _Z_Z_H = (("z", (1,)), ("z", (2,)), ("z", (3,)), ("z", (4,))), (("z", (1,)), ("z", (2,)), ("H", (3, 4)))
_H_H, _DH_Z = (("H", (1, 2)), ("H", (3, 4))), (("dH", (0, 1, 2)), ("z", (3,)))
_DDI, _DDII = (("ddI", (0, 1, 2, 3)),), (("ddII", (1, 2, 3, 4)),)

STATISTICS = {
    "G1": Statistic((("z", (1,)), ("z", (2,))), (1, 2), ((1, 2),)),
    "V": Statistic(_FOUR_Z, (1, 2, 3, 4), ((1, 2), (3, 4))),
    "H1": Statistic((("H", (1, 2)),), (1, 2), ((1, 2),)),
    "A": Statistic(_H_H, (1, 2, 3, 4), ((1, 2), (3, 4))),
    "B": Statistic(_H_H, (1, 3, 2, 4), ((1, 3), (2, 4))),
    "D": Statistic(_Z_Z_H, (1, 2, 3, 4), ((1, 2), (3, 4))),
    "F": Statistic(_Z_Z_H, (1, 3, 2, 4), ((1, 3), (2, 4))),
    "P": Statistic(_DH_Z, (0, 1, 2, 3), ((0, 3), (1, 2))),
    "Q": Statistic(_DH_Z, (0, 1, 2, 3), ((0, 1), (2, 3))),
    "R": Statistic(_DDI, (0, 1, 2, 3), ((0, 1), (2, 3))),
    "S": Statistic(_DDII, (1, 2, 3, 4), ((1, 2), (3, 4))),
    "T": Statistic(_DDII, (1, 3, 2, 4), ((1, 3), (2, 4))),
    "U": Statistic(_DDII, (1, 4, 2, 3), ((1, 4), (2, 3))),
}


@functools.cache
def cumulant(*tensors: tuple[str, tuple[int, ...]]) -> dict[Matching, Sum]:
    """The joint cumulant of trees of layer l+1, to order 1/n, for each way to pair their neuron indices."""
    result: dict[Matching, Sum] = {}
    for blocks in divisions(tensors):
        sign = (-1) ** (len(blocks) - 1) * math.factorial(len(blocks) - 1)
        averages = [layer_average(Forest.of(*block)) for block in blocks]
        for choice in itertools.product(*(average.items() for average in averages)):
            matching = frozenset().union(*(pairs for pairs, _ in choice))
            part = product((value for _, value in choice), Sum.number(sign)).up_to(ORDER)
            result[matching] = result.get(matching, Sum()) + part
    return result


def leading(value: Sum) -> Sum:
    """The coefficient of 1/n; a term of order 1/m comes with the ratio n/m."""
    return value.order(1).replaced({("1/n",): (), ("1/m",): (("n/m",),)})


def layer_average(forest: Forest) -> dict[Matching, Sum]:
    """The average of a product of trees of layer l+1, to order 1/n, for each pairing of output neurons."""
    result: dict[Matching, Sum] = {}
    for term in one_layer(forest):
        for pairs, constants in matched(term):
            value = _over_hidden(term, pairs) * _constants(term, constants)
            everything = frozenset(map(frozenset, [*pairs, *constants, *term.bias_edges]))
            result[everything] = result.get(everything, Sum()) + value
    return result


def matched(term: Product) -> Iterator[tuple[tuple[Edge, ...], tuple[Edge, ...]]]:
    """Wick's theorem: pairs with a common hidden neuron (weights and weight edges), and pairs of biases."""
    for pairs in matchings(term.weights):
        for constants in matchings(term.biases):
            yield (*pairs, *term.weight_edges), constants


def matchings(items: Sequence[int]) -> Iterator[tuple[Edge, ...]]:
    """All ways to pair a set up; none if it is odd."""
    if not items:
        yield ()
        return
    first, *rest = items
    for at, other in enumerate(rest):
        for pairs in matchings(rest[:at] + rest[at + 1 :]):
            yield ((first, other), *pairs)


def _constants(term: Product, biases: Sequence[Edge]) -> Sum:
    """C_W/n, lambda_W/n for each pair with a hidden neuron (the 1/n are counted elsewhere), C_b, lambda_b for others."""
    powers = {
        "C_W": len(term.weights) // 2,
        "lambda_W": len(term.weight_edges),
        "C_b": len(biases),
        "lambda_b": len(term.bias_edges),
    }
    return product(symbol(name) ** power for name, power in powers.items())


def _over_hidden(term: Product, pairs: Sequence[Edge]) -> Sum:
    """n^-p times the sum over p hidden neurons, divided by which coincide."""
    parts = []
    for classes in divisions(list(pairs)):
        neuron = {v: at for at, members in enumerate(classes) for pair in members for v in pair}
        counted = _falling(len(classes), len(pairs))
        if not counted:
            continue
        function = {
            at: product(s(v, term.orders[v]) for pair in members for v in pair) for at, members in enumerate(classes)
        }
        trees = [(tree.name, tuple((neuron[v], v) for v in tree.vertices)) for tree in term.tensors]
        parts.append((counted * expectation(function, trees)).up_to(ORDER))
    return total(parts)


def _falling(distinct: int, factors: int) -> Sum:
    """n (n - 1) ... (n - distinct + 1) / n^factors to order 1/n."""
    powers = {0: 1}  # of 1/n, from the product of (1 - j/n)
    for j in range(distinct):
        powers = {k: powers.get(k, 0) - j * powers.get(k - 1, 0) for k in range(len(powers) + 1)}
    shift = factors - distinct
    return total(symbol("1/n") ** (k + shift) * c for k, c in powers.items() if k + shift <= ORDER)


def expectation(functions: Mapping[int, Sum], trees: Sequence[tuple[str, Neurons]]) -> Sum:
    """E[prod_k f_k(z_k) prod_t tree_t] over layer l to order 1/m, for distinct neurons k.

    Parameters
    ----------
    functions
        For each neuron the function of its preactivations.
    trees
        Names and, for each index, neuron and input.
    """
    inputs = [(neuron, label) for neuron, function in functions.items() for label in slots(function)]
    parts = [_averaged(functions) * product(_frozen(*tree) for tree in trees)]
    for count in range(len(trees) + 1):
        for chosen in itertools.combinations(range(len(trees)), count):
            inside = [trees[t] for t in chosen]
            frozen = product(_frozen(*tree) for t, tree in enumerate(trees) if t not in chosen)
            indices = sum(len(neurons) for _, neurons in inside)
            for size in (2, 4):
                derivatives = size - indices
                if not frozen or derivatives < 0:
                    continue
                for at in itertools.product(inputs, repeat=derivatives):
                    correction = _connected([*(("z", (one,)) for one in at), *inside])
                    if correction:
                        acted = _averaged(_differentiated(functions, at))
                        weight = Fraction(1, math.factorial(derivatives))
                        parts.append(symbol("1/m") * correction * acted * frozen * weight)
    return total(parts)


def _frozen(name: str, neurons: Neurons) -> Sum:
    """The value of a tree at infinite width."""
    if name == "H" and neurons[0][0] == neurons[1][0]:
        return symbol("Theta", neurons[0][1], neurons[1][1])
    return Sum()


def _connected(factors: Sequence[tuple[str, Neurons]]) -> Sum:
    """The coefficient of 1/m in the joint cumulant of preactivations and trees, at given neurons."""
    names = tuple(name for name, _ in factors)
    indices = [index for _, neurons in factors for index in neurons]
    if len(indices) == 2:
        correction = {("z", "z"): "G1", ("H",): "H1"}.get(names)
        same = indices[0][0] == indices[1][0]
        return symbol(correction, indices[0][1], indices[1][1]) if correction and same else Sum()
    parts = []
    for pairing, (name, order) in DEFINITIONS.get(names, {}).items():
        if all(indices[a][0] == indices[b][0] for a, b in pairing):
            parts.append(symbol(name, *(indices[at][1] for at in order)))
    return total(parts)


def _averaged(functions: Mapping[int, Sum]) -> Sum:
    """The expectation of a product of functions of distinct neurons at infinite width."""
    return product(mean(function) for function in functions.values())


def _differentiated(functions: Mapping[int, Sum], at: Sequence[tuple[int, int]]) -> dict[int, Sum]:
    """The functions after a derivative at each of the given neurons and inputs."""
    result = dict(functions)
    for neuron, label in at:
        result[neuron] = d(label, result[neuron])
    return result


def joined(*pairs: Sequence[int]) -> Matching:
    """A matching from its pairs."""
    return frozenset(map(frozenset, pairs))
