"""The exact recursions of one network, by differentiating one layer.

Every tensor of a network at one moment is a tree: a vertex is a preactivation z_{i;a}, an edge a parameter that both of
its ends are differentiated with respect to, contracted with the learning-rate tensor lambda.

    z = .        H = 1 - 2        dH = 1 - 0 - 2        ddI = a star, 0 in the middle        ddII = 3 - 1 - 2 - 4

One layer up, z'_i = b_i + sum_k W_ik sigma(z_k). An edge is a bias of the new layer, a weight of the new layer or a
parameter of the layers below. At each vertex the parameters below act through the chain rule (Faa di Bruno): a sum over
the ways to divide its edges into blocks, with one more derivative of sigma for each block. A block is a vertex of the
trees of layer l. So a tree of layer l+1 is a sum of products of new weights, derivatives of sigma and trees of layer l,
and nothing else is known or assumed about the tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Edge = tuple[int, int]

# The trees that occur, each with its vertices in the order of its indices.
TREES: dict[str, tuple[int, tuple[Edge, ...]]] = {
    "z": (1, ()),
    "H": (2, ((0, 1),)),
    "dH": (3, ((0, 1), (0, 2))),
    "ddI": (4, ((0, 1), (0, 2), (0, 3))),
    "ddII": (4, ((0, 1), (0, 2), (1, 3))),
}


@dataclass(frozen=True)
class Forest:
    """A product of tensors: vertex v carries input v; `edges` join vertices of one tensor."""

    vertices: tuple[int, ...]
    edges: tuple[Edge, ...]

    @staticmethod
    def of(*tensors: tuple[str, Sequence[int]]) -> Forest:
        """From names of trees and their vertices: `Forest.of(("dH", (0, 1, 2)), ("z", (3,)))`."""
        vertices: list[int] = []
        edges: list[Edge] = []
        for name, own in tensors:
            assert len(own) == TREES[name][0]
            vertices.extend(own)
            edges.extend((own[u], own[v]) for u, v in TREES[name][1])
        assert len(set(vertices)) == len(vertices)
        return Forest(tuple(vertices), tuple(edges))

    def __add__(self, other: Forest) -> Forest:
        return Forest(self.vertices + other.vertices, self.edges + other.edges)


@dataclass(frozen=True)
class Tensor:
    """A tree of layer l: its name and, in the order of its indices, the vertices of layer l+1 it hangs from.

    Vertex v stands for the neuron k_v that v's new weight selects and for the input of v.
    """

    name: str
    vertices: tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """One term of a forest of layer l+1.

    Attributes
    ----------
    weights
        Vertices that carry W_{i k}, for Wick's theorem.
    biases
        Vertices that carry b_i, likewise.
    weight_edges
        Pairs joined by a new weight: delta_ij sum_k lambda_W / n.
    bias_edges
        Pairs joined by a new bias: delta_ij lambda_b.
    orders
        For each vertex with a hidden neuron, the derivative of sigma there.
    tensors
        The trees of layer l.
    """

    weights: tuple[int, ...]
    biases: tuple[int, ...]
    weight_edges: tuple[Edge, ...]
    bias_edges: tuple[Edge, ...]
    orders: dict[int, int]
    tensors: tuple[Tensor, ...]


def one_layer(forest: Forest) -> Iterator[Product]:
    """Every term of the forest's exact recursion."""
    for kinds in itertools.product("bWt", repeat=len(forest.edges)):
        edges = {kind: [edge for edge, of in zip(forest.edges, kinds) if of == kind] for kind in "bWt"}
        touched = {v: [edge for edge in forest.edges if v in edge] for v in forest.vertices}
        last = [v for edge in edges["b"] + edges["W"] for v in edge]
        if len(set(last)) < len(last):
            continue  # z' is linear in the new parameters: no vertex has two of them
        by_bias = [v for edge in edges["b"] for v in edge]
        if any(len(touched[v]) > 1 for v in by_bias):
            continue  # dz'/db is a constant
        bare = [v for v in forest.vertices if not touched[v]]
        for count in range(len(bare) + 1):
            for biases in itertools.combinations(bare, count):
                hidden = [v for v in forest.vertices if v not in by_bias and v not in biases]
                below = {v: [edge for edge in edges["t"] if v in edge] for v in hidden}
                for divided in itertools.product(*(list(divisions(below[v])) for v in hidden)):
                    blocks = dict(zip(hidden, divided))
                    yield Product(
                        weights=tuple(v for v in hidden if v not in last),
                        biases=biases,
                        weight_edges=tuple(edges["W"]),
                        bias_edges=tuple(edges["b"]),
                        orders={v: len(blocks[v]) for v in hidden},
                        tensors=_tensors(blocks, edges["t"]),
                    )


def divisions(items: Sequence) -> Iterator[tuple[tuple, ...]]:
    """All ways to divide a set into blocks."""
    if not items:
        yield ()
        return
    first, *rest = items
    for smaller in divisions(rest):
        yield ((first,), *smaller)
        for at, block in enumerate(smaller):
            yield (*smaller[:at], (first, *block), *smaller[at + 1 :])


def _tensors(blocks: dict[int, tuple[tuple[Edge, ...], ...]], edges: Sequence[Edge]) -> tuple[Tensor, ...]:
    """The trees whose vertices are the blocks."""
    where = {(v, edge): (v, at) for v, divided in blocks.items() for at, block in enumerate(divided) for edge in block}
    joined = [(where[edge[0], edge], where[edge[1], edge]) for edge in edges]
    left, found = set(where.values()), []
    while left:
        tree, grown = set(), {min(left)}
        while grown:
            tree |= grown
            grown = {b for pair in joined for a, b in (pair, pair[::-1]) if a in grown} - tree
        left -= tree
        found.append(_named(tree, [pair for pair in joined if pair[0] in tree]))
    return tuple(found)


def _named(tree: set, joined: list) -> Tensor:
    """The name of a tree, and its vertices in the order of the indices."""
    for name, (size, shape) in TREES.items():
        if size != len(tree) or len(shape) != len(joined):
            continue
        for order in itertools.permutations(sorted(tree)):
            if {frozenset((order[u], order[v])) for u, v in shape} == {frozenset(pair) for pair in joined}:
                return Tensor(name, tuple(v for v, _ in order))
    raise AssertionError("a tree with more than three edges")
