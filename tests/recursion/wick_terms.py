"""Sums of products with exact coefficients: the few rules of algebra that the derivation needs.

A `Sum` maps a sorted tuple of atoms to a rational coefficient. Atoms are

    ("C_W",), ("1/n",), ...     a number
    ("s", 2, 1)                 sigma'(z_2), of the neuron at hand and input 2
    ("<>", (1, 0), (2, 1))      <sigma(z_1) sigma'(z_2)>, an expectation over z ~ N(0, K)
    ("F", 1, 3, 2, 4)           a tensor and its inputs, brought to one order by its symmetries

so two expressions are equal exactly where their dictionaries are.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import cache

Atom = tuple
Term = tuple[Atom, ...]

# Exchanges of slots that leave a tensor as it is; each follows from the definition and generates the others.
SYMMETRIES: dict[str, tuple[tuple[int, ...], ...]] = {
    "Theta": ((1, 0),),
    "G1": ((1, 0),),
    "H1": ((1, 0),),
    "V": ((1, 0, 2, 3), (2, 3, 0, 1)),
    "A": ((1, 0, 2, 3), (2, 3, 0, 1)),
    "B": ((1, 0, 3, 2), (2, 3, 0, 1)),
    "D": ((1, 0, 2, 3), (0, 1, 3, 2)),
    "F": ((2, 3, 0, 1),),
    "P": ((0, 2, 1, 3),),
    "Q": (),
    "R": ((0, 1, 3, 2),),
    "S": ((1, 0, 3, 2),),
    "T": ((2, 3, 0, 1),),
    "U": ((2, 3, 0, 1),),
}


@cache
def orbit(name: str, inputs: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """All orders of the inputs that name the same entry, the smallest first."""
    found, new = {inputs}, [inputs]
    while new:
        images = {tuple(one[slot] for slot in swap) for one in new for swap in SYMMETRIES[name]}
        new = [image for image in images if image not in found]
        found.update(new)
    return tuple(sorted(found))


class Sum(dict[Term, Fraction]):
    """A sum of products; zero terms are never stored."""

    @staticmethod
    def of(pairs: Iterable[tuple[Term, Fraction]]) -> Sum:
        """The sum of coefficient times term, like terms collected."""
        total = Sum()
        for term, coefficient in pairs:
            total[term] = total.get(term, Fraction(0)) + coefficient
        for term in [term for term, coefficient in total.items() if not coefficient]:
            del total[term]
        return total

    @staticmethod
    def number(value: int | Fraction) -> Sum:
        """A constant."""
        return Sum.of([((), Fraction(value))])

    def __add__(self, other: Sum) -> Sum:
        return Sum.of(itertools.chain(self.items(), other.items()))

    def __neg__(self) -> Sum:
        return Sum({term: -coefficient for term, coefficient in self.items()})

    def __sub__(self, other: Sum) -> Sum:
        return self + (-other)

    def __mul__(self, other: Sum | int | Fraction) -> Sum:
        if not isinstance(other, Sum):
            other = Sum.number(other)
        return Sum.of(
            (tuple(sorted(a + b)), p * q) for (a, p), (b, q) in itertools.product(self.items(), other.items())
        )

    __rmul__ = __mul__

    def __pow__(self, power: int) -> Sum:
        return product([self] * power)

    def order(self, k: int) -> Sum:
        """The terms with k factors 1/n and 1/m together."""
        return Sum({term: value for term, value in self.items() if order_of(term) == k})

    def up_to(self, k: int) -> Sum:
        """Without the terms that have more than k factors 1/n and 1/m."""
        return Sum({term: value for term, value in self.items() if order_of(term) <= k})

    def replaced(self, images: Mapping[Atom, Term]) -> Sum:
        """Each atom replaced by a product of others."""
        return Sum.of(
            (tuple(sorted((image for atom in term for image in images.get(atom, (atom,))))), value)
            for term, value in self.items()
        )

    def relabelled(self, names: Mapping[int, int]) -> Sum:
        """The same expression of other inputs."""
        return total(
            product([_relabelled(atom, names) for atom in term], Sum.number(value)) for term, value in self.items()
        )

    def __str__(self) -> str:
        return "\n".join(f"{value!s:>5}  " + " ".join(expanded(term)) for term, value in sorted(self.items()))


def order_of(term: Term) -> int:
    """Number of factors 1/n and 1/m."""
    return sum(atom in (("1/n",), ("1/m",)) for atom in term)


def total(terms: Iterable[Sum]) -> Sum:
    """The sum of sums."""
    return Sum.of(itertools.chain.from_iterable(term.items() for term in terms))


def product(factors: Iterable[Sum], start: Sum | None = None) -> Sum:
    """The product of sums."""
    result = Sum.number(1) if start is None else start
    for factor in factors:
        result = result * factor
    return result


def symbol(name: str, *inputs: int) -> Sum:
    """A number such as C_W, or the entry of a tensor."""
    return Sum.of([(((name, *(orbit(name, inputs)[0] if inputs else ())),), Fraction(1))])


def s(label: int, order: int = 0) -> Sum:
    """A derivative of sigma at input `label` of the neuron at hand."""
    return Sum.of([((("s", label, order),), Fraction(1))])


def d(label: int, function: Sum) -> Sum:
    """The derivative with respect to z at input `label`."""
    return Sum.of(
        (tuple(sorted((*term[:at], ("s", label, atom[2] + 1), *term[at + 1 :]))), value)
        for term, value in function.items()
        for at, atom in enumerate(term)
        if atom[:2] == ("s", label)
    )


def mean(function: Sum) -> Sum:
    """The expectation over one neuron, z ~ N(0, K)."""

    def averaged(term: Term) -> Term:
        inside = tuple(sorted(atom[1:] for atom in term if atom[0] == "s"))
        outside = [atom for atom in term if atom[0] != "s"]
        return tuple(sorted([*outside, ("<>", *inside)] if inside else outside))

    return Sum.of((averaged(term), value) for term, value in function.items())


def slots(function: Sum) -> tuple[int, ...]:
    """The inputs that a function of one neuron depends on."""
    return tuple(sorted({atom[1] for term in function for atom in term if atom[0] == "s"}))


def spelled(atom: Atom) -> str:
    """An atom as a reader would write it."""
    if atom[0] == "<>":
        return "<" + " ".join(f"s{label}" + "'" * order for label, order in atom[1:]) + ">"
    return atom[0] + ("_" + "".join(map(str, atom[1:])) if len(atom) > 1 else "")


def expanded(term: Term) -> Iterator[str]:
    """The factors of a term, powers collected."""
    for atom, power in Counter(term).items():
        yield spelled(atom) + (f"^{power}" if power > 1 else "")


def _relabelled(atom: Atom, names: Mapping[int, int]) -> Sum:
    if atom[0] == "<>":
        return Sum.of([((("<>", *sorted((names[label], order) for label, order in atom[1:])),), Fraction(1))])
    if atom[0] == "s":
        return s(names[atom[1]], atom[2])
    return symbol(atom[0], *(names[label] for label in atom[1:]))
