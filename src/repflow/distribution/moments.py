"""Moments of the preactivations from the cumulants of G: Wick's theorem for neurons that share a random covariance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from repflow.distribution.cumulants import GramCumulants

Pairing = tuple[tuple[int, int], ...]


def moment(cumulants: GramCumulants, neurons: Sequence[int], inputs: Sequence[int], order: int) -> float:
    """E[z_{i1;a1} z_{i2;a2} ...] of up to six factors, to an order of 1/n.

    Given G the neurons are independent Gaussians, so that the moment is the sum over pairings of equal neurons of the
    mean of a product of entries of G; that is a sum over cumulants, each kept to the order.
    """
    total = 0.0
    for pairing in _pairings(tuple(range(len(neurons)))):
        if all(neurons[a] == neurons[b] for a, b in pairing):
            entries = [(inputs[a], inputs[b]) for a, b in pairing]
            total += _product(cumulants, entries, order)
    return total


def _product(c: GramCumulants, entries: list[tuple[int, int]], order: int) -> float:
    """The mean of a product of up to three entries of G, terms beyond the order dropped."""

    def graded(place: tuple[int, ...], *terms: Tensor | None) -> list[float]:
        return [0.0 if term is None else float(term[place]) for term in terms[: order + 1]]

    means = [graded(p, c.kernel, c.mean1, c.mean2) for p in entries]
    cumulants = {
        2: lambda place: graded(place, None, c.covariance1, c.covariance2),
        3: lambda place: graded(place, None, None, c.third),
    }
    total = [1.0] + [0.0] * order
    if len(entries) == 1:
        total = means[0]
    elif len(entries) == 2:
        total = _add(_times(means[0], means[1]), cumulants[2](entries[0] + entries[1]))
    elif len(entries) == 3:
        total = _add(_times(_times(means[0], means[1]), means[2]), cumulants[3](entries[0] + entries[1] + entries[2]))
        for a, b, rest in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
            total = _add(total, _times(cumulants[2](entries[a] + entries[b]), means[rest]))
    return sum(total)


def _times(a: list[float], b: list[float]) -> list[float]:
    """Product of two series in 1/n, terms beyond their length dropped."""
    return [sum(a[i] * b[k - i] for i in range(k + 1)) for k in range(len(a))]


def _add(a: list[float], b: list[float]) -> list[float]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _pairings(places: tuple[int, ...]) -> Iterator[Pairing]:
    """All ways to put the places into pairs."""
    if not places:
        yield ()
        return
    first, rest = places[0], places[1:]
    for k, partner in enumerate(rest):
        for others in _pairings(rest[:k] + rest[k + 1 :]):
            yield ((first, partner), *others)
