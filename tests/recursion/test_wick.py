"""The recursions of docs/tangent-*.md, written out by hand, against those that `wick` derives by enumeration.

Term by term and with exact coefficients: a missing permutation, factor or ratio of widths is a difference.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from fractions import Fraction

import pytest
from tests.recursion.wick import STATISTICS, cumulant, joined, leading
from tests.recursion.wick_terms import Sum, d, mean, orbit, s, slots, symbol, total
from tests.recursion.wick_trees import TREES, Forest, one_layer

C_W, C_b, lambda_W, lambda_b = (symbol(name) for name in ("C_W", "C_b", "lambda_W", "lambda_b"))
ratio = symbol("n/m")  # n is the width just activated, m the one before
Theta, V, G1, H1, A, B, D, F, P, Q, R, S, T, U = (
    functools.partial(symbol, name)
    for name in ["Theta", "V", "G1", "H1", "A", "B", "D", "F", "P", "Q", "R", "S", "T", "U"]
)
half = Fraction(1, 2)


def omega(a: int, b: int) -> Sum:
    """Omega_ab, whose mean is Theta' without its bias: a function of one neuron."""
    return lambda_W * s(a) * s(b) + C_W * s(a, 1) * s(b, 1) * Theta(a, b)


def d_omega(a: int, b: int) -> Sum:
    """Its derivative with respect to z_a that leaves Theta alone, as dH needs it."""
    return lambda_W * s(a, 1) * s(b) + C_W * s(a, 2) * s(b, 1) * Theta(a, b)


def cov(f: Sum, g: Sum) -> Sum:
    """The covariance over one neuron."""
    return mean(f * g) - mean(f) * mean(g)


def each(f: Sum, term: Callable[[int], Sum]) -> Sum:
    """sum_e <d_e f> term(e), over the inputs of f."""
    return total(mean(d(e, f)) * term(e) for e in slots(f))


def pairs(f: Sum, term: Callable[[int, int], Sum]) -> Sum:
    """f_a X_a with a over entries of the kernel: (1/2) sum_ef <d_e d_f f> X_ef (Price's theorem)."""
    return half * total(mean(d(e, d(g, f))) * term(e, g) for e, g in itertools.product(slots(f), repeat=2))


def curvature(f: Sum, term: Callable[[int, int, int, int], Sum]) -> Sum:
    """(1/2) f_ab X_ab with a, b over entries of the kernel: (1/8) sum_efgh <d_e d_f d_g d_h f> X_efgh."""
    return Fraction(1, 8) * total(
        mean(d(e, d(g, d(h, d(k, f))))) * term(e, g, h, k) for e, g, h, k in itertools.product(slots(f), repeat=4)
    )


phi_12, phi_34 = C_W * s(1) * s(2), C_W * s(3) * s(4)
slope_12, slope_34 = C_W * s(1, 1) * s(2, 1), C_W * s(3, 1) * s(4, 1)

# The recursions; which cumulant each tensor is stands in `wick.STATISTICS`.
TABLE = {
    "G1": (ratio * (pairs(phi_12, G1) + curvature(phi_12, V))),
    "V": (cov(phi_12, phi_34) + ratio * pairs(phi_12, lambda e, f: pairs(phi_34, lambda g, h: V(e, f, g, h)))),
    "H1": (
        ratio
        * (
            pairs(omega(1, 2), G1)
            + curvature(omega(1, 2), V)
            + mean(slope_12) * H1(1, 2)
            + pairs(slope_12, lambda c, d: D(c, d, 1, 2) + F(c, 1, d, 2) + F(c, 2, d, 1))
        )
    ),
    "A": (
        cov(omega(1, 2), omega(3, 4))
        + ratio
        * (
            pairs(omega(1, 2), lambda e, f: pairs(omega(3, 4), lambda g, h: V(e, f, g, h)))
            + pairs(omega(1, 2), lambda e, f: D(e, f, 3, 4)) * mean(slope_34)
            + pairs(omega(3, 4), lambda e, f: D(e, f, 1, 2)) * mean(slope_12)
            + mean(slope_12) * mean(slope_34) * A(1, 2, 3, 4)
        )
    ),
    "B": (
        mean(slope_12 * slope_34) * Theta(1, 2) * Theta(3, 4)
        + ratio * C_W**2 * mean(s(1, 1) * s(3, 1)) * mean(s(2, 1) * s(4, 1)) * B(1, 3, 2, 4)
    ),
    "D": (
        cov(phi_12, omega(3, 4))
        + ratio
        * (
            pairs(phi_12, lambda e, f: pairs(omega(3, 4), lambda g, h: V(e, f, g, h)))
            + pairs(phi_12, lambda e, f: D(e, f, 3, 4)) * mean(slope_34)
        )
    ),
    "F": (
        C_W**2 * mean(s(1) * s(3, 1) * s(2) * s(4, 1)) * Theta(3, 4)
        + ratio * C_W**2 * each(s(1) * s(3, 1), lambda e: each(s(2) * s(4, 1), lambda f: F(e, 3, f, 4)))
    ),
    "P": (
        C_W**2 * mean(s(0, 2) * s(1, 1) * s(2, 1) * s(3)) * Theta(0, 1) * Theta(0, 2)
        + ratio
        * C_W**2
        * mean(s(1, 1) * s(2, 1))
        * (mean(s(0, 2) * s(3)) * B(0, 0, 1, 2) + each(s(0, 1) * s(3), lambda e: P(0, 1, 2, e)))
    ),
    "Q": (
        C_W * mean(d_omega(0, 1) * s(2, 1) * s(3)) * Theta(0, 2)
        + ratio
        * (
            C_W * each(d_omega(0, 1), lambda e: each(s(2, 1) * s(3), lambda f: F(e, 0, f, 2)))
            + C_W**2 * mean(s(0, 1) * s(1, 1)) * each(s(2, 1) * s(3), lambda e: Q(0, 1, 2, e))
        )
    ),
    "R": (
        C_W * mean(d(0, d_omega(0, 1)) * s(2, 1) * s(3, 1)) * Theta(0, 2) * Theta(0, 3)
        + ratio
        * C_W
        * mean(s(2, 1) * s(3, 1))
        * (
            mean(d(0, d_omega(0, 1))) * B(0, 0, 2, 3)
            + each(d_omega(0, 1), lambda e: P(0, 2, 3, e))
            + C_W * mean(s(0, 1) * s(1, 1)) * R(0, 1, 2, 3)
        )
    ),
    "S": (
        C_W * mean(d(2, d_omega(1, 2)) * s(3, 1) * s(4, 1)) * Theta(1, 3) * Theta(2, 4)
        + ratio
        * C_W
        * mean(s(3, 1) * s(4, 1))
        * (mean(d(2, d_omega(1, 2))) * B(1, 2, 3, 4) + C_W * mean(s(1, 1) * s(2, 1)) * S(1, 2, 3, 4))
    ),
    "T": (
        mean(d_omega(1, 3) * d_omega(2, 4)) * Theta(1, 2)
        + ratio
        * (
            each(d_omega(1, 3), lambda e: each(d_omega(2, 4), lambda f: F(e, 1, f, 2)))
            + C_W * mean(s(2, 1) * s(4, 1)) * each(d_omega(1, 3), lambda e: Q(2, 4, 1, e))
            + C_W * mean(s(1, 1) * s(3, 1)) * each(d_omega(2, 4), lambda e: Q(1, 3, 2, e))
            + C_W**2 * mean(s(1, 1) * s(3, 1)) * mean(s(2, 1) * s(4, 1)) * T(1, 3, 2, 4)
        )
    ),
    "U": (
        C_W**2 * mean(s(1, 2) * s(4, 1) * s(2, 2) * s(3, 1)) * Theta(1, 2) * Theta(1, 3) * Theta(2, 4)
        + ratio * C_W**2 * mean(s(1, 1) * s(4, 1)) * mean(s(2, 1) * s(3, 1)) * U(1, 4, 2, 3)
    ),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_each_recursion_is_what_the_enumeration_finds(name):
    missing = leading(STATISTICS[name].recursion()) - TABLE[name]
    assert not missing, f"derived less written:\n{missing}"


def test_infinite_width():
    """The order 1/n^0: the kernel and the NTK; cumulants of four indices have none."""
    found = {name: statistic.recursion().order(0) for name, statistic in STATISTICS.items()}
    assert found.pop("G1") == C_b + mean(phi_12)
    assert found.pop("H1") == lambda_b + mean(omega(1, 2))
    assert not any(found.values())


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("V", [(1, 3, 2, 4), (1, 4, 2, 3)]),
        ("B", [(1, 4, 2, 3)]),
        ("F", [(1, 4, 2, 3)]),
        ("Q", [(0, 2, 1, 3)]),
        ("R", [(0, 2, 3, 1), (0, 3, 1, 2)]),
    ],
)
def test_the_other_pairings_are_the_same_tensor_of_other_inputs(name, images):
    """E.g. E ddI = d_{01} d_{23} R_0123 + d_{02} d_{31} R_0231 + d_{03} d_{12} R_0312: nothing else, nothing twice."""
    statistic = STATISTICS[name]
    found = cumulant(*statistic.trees)
    assert len(found) == 3
    for image in images:
        names = dict(zip(statistic.inputs, image))
        other = joined(*((names[u], names[v]) for u, v in statistic.pairing))
        assert other != joined(*statistic.pairing)
        assert found[other] == statistic.recursion().relabelled(names)


@pytest.mark.parametrize("name", STATISTICS)
def test_symmetries_of_layer_l_hold_in_the_next(name):
    """What `wick_terms.SYMMETRIES` takes for granted."""
    inputs = STATISTICS[name].inputs
    for image in orbit(name, inputs):
        assert TABLE[name].relabelled(dict(zip(inputs, image))) == TABLE[name], image


@pytest.mark.parametrize("name", sorted(set(TREES) - {"z"}))
def test_first_layer(name):
    """z = b + W x: H is lambda_b + lambda_W x x / n_0 in every network, and second derivatives vanish."""
    terms = [term for term in one_layer(Forest.of((name, range(TREES[name][0])))) if not term.tensors]
    assert len(terms) == (2 if name == "H" else 0)
    assert not any(term.weights or term.biases for term in terms)


def test_a_wrong_term_is_seen():
    """The comparison tells a wrong permutation, a wrong coefficient and a missing ratio of widths."""
    right = leading(STATISTICS["B"].recursion())
    swapped = TABLE["B"].replaced({("B", 1, 3, 2, 4): (("B", 1, 4, 2, 3),)})
    assert right == TABLE["B"] != swapped
    assert right != TABLE["B"].replaced({("n/m",): ()})
    assert right != TABLE["B"] * 2


SIX = [
    ("H", "H", "H"),
    ("z", "z", "H", "H"),
    ("z", "z", "z", "z", "H"),
    ("z", "z", "z", "dH"),
    ("z", "H", "dH"),
    ("dH", "dH"),
    ("z", "z", "ddI"),
    ("H", "ddI"),
    ("z", "z", "ddII"),
    ("H", "ddII"),
]
QUICK = [("dH", "dH"), ("z", "H", "dH")]


@pytest.mark.parametrize(
    "names",
    [pytest.param(names, marks=() if names in QUICK else pytest.mark.slow, id="-".join(names)) for names in SIX],
)
def test_six_indices_do_not_contribute_at_order_one(names):
    """The lemma of docs/tangent-kernel.md, one step: six indices are of order 1/n^2 if they were so a layer below."""
    labels = itertools.count()
    trees = [(name, tuple(itertools.islice(labels, TREES[name][0]))) for name in names]
    assert all(not value for value in cumulant(*trees).values())


@pytest.mark.parametrize(("name", "count"), [("H", 3), ("dH", 4), ("ddI", 11), ("ddII", 10)])
def test_one_network_has_as_many_terms_as_the_docs_write(name, count):
    """Equations (3) to (6) of docs/tangent-*.md."""
    assert len(list(one_layer(Forest.of((name, range(TREES[name][0])))))) == count
