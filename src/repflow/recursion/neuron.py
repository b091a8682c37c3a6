"""The cumulants of one neuron's signal products s_a s_b under z ~ N(0, K), and how they move with the kernel.

Third order in the layer's width asks for E[s_a s_b s_c s_d s_e s_f], second order for E[s_a s_b s_c s_d] with its first
derivatives in the kernel's entries, and its second ones contracted with the vertex. Both are symmetric in their
inputs: one expectation for each choice of four or six inputs, in any order and with repetitions. They are computed for
four or six different inputs at a time, :func:`repflow.expectation.monomials.monomial_moments`; inputs that are equal or
collinear are one variable, so that nothing is differentiated that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from itertools import product as cartesian

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.kinked import COLLINEAR
from repflow.expectation.mehler import correlations
from repflow.expectation.monomials import monomial_moments
from repflow.expectation.products import Product
from repflow.recursion.pairs import Pairs

#: Relative difference of covariances below which two inputs count as equal.
_SAME = 1e-13


@dataclass
class Fourth:
    """E[s_a s_b s_c s_d], one entry for each multiset of four inputs.

    Attributes
    ----------
    values
        Shape (M,).
    gradient
        Derivatives in the kernel's entries, shape (M, P); None where nothing moves.
    curvature
        Second derivatives contracted with the vertex, shape (M,), or None.
    """

    values: Float64[Tensor, " M"]
    gradient: Float64[Tensor, "M P"] | None
    curvature: Float64[Tensor, " M"] | None


class Neuron:
    """Moments of one neuron's signals.

    Parameters
    ----------
    activation
        sigma.
    kernel
        K, shape (N, N).
    pairs
        The pairs of the N inputs.

    Attributes
    ----------
    error
        Largest error estimate so far, relative to Hölder's bound of the expectation.
    """

    def __init__(self, activation: Activation, kernel: Float64[Tensor, "N N"], pairs: Pairs) -> None:
        self.activation = activation
        self.kernel = kernel
        self.pairs = pairs
        self.error = 0.0
        self._codes: dict[int, Tensor] = {}
        variance = kernel.diagonal().clamp(min=0.0)
        scale = _SAME * torch.maximum(variance[:, None], variance)
        equal = ((kernel - variance[:, None]).abs() <= scale) & ((kernel - variance).abs() <= scale)
        equal.fill_diagonal_(True)
        first = equal.long().argmax(1)
        #: Different inputs: their numbers, and for each input the place of the one that it equals.
        self._inputs, self._place = torch.unique(first, return_inverse=True)
        rho = correlations(kernel)[self._inputs[:, None], self._inputs]
        rho.fill_diagonal_(1.0)
        collinear = ((1 - rho) * (1 + rho) < COLLINEAR).long().argmax(1).tolist()
        chosen = self._inputs.tolist()
        #: Variables: one of the inputs each; and for each different input its variable and ratio.
        self._variables = [chosen[place] for place in sorted(set(collinear))]
        numbers = {place: number for number, place in enumerate(sorted(set(collinear)))}
        self._variable_of = [numbers[place] for place in collinear]
        self._ratio = []
        for own, place in zip(chosen, collinear, strict=True):
            head = chosen[place]
            same = own == head or not float(variance[head])
            size = 1.0 if same else float((variance[own] / variance[head]).sqrt().copysign(kernel[own, head]))
            self._ratio.append(size)

    def index(self, *inputs: Tensor) -> Tensor:
        """Number of the multiset of inputs, given as index tensors that broadcast against each other."""
        places = torch.stack(torch.broadcast_tensors(*(self._place[part] for part in inputs)), dim=-1)
        places = places.sort(dim=-1).values
        count, degree = len(self._inputs), len(inputs)
        powers = torch.tensor([count ** (degree - 1 - slot) for slot in range(degree)], device=places.device)
        if degree not in self._codes:
            known = torch.tensor(list(combinations_with_replacement(range(count), degree)), device=places.device)
            self._codes[degree] = (known * powers).sum(1)
        return torch.searchsorted(self._codes[degree], (places * powers).sum(-1))

    def sixth(self) -> Float64[Tensor, " M"]:
        """E[s_a s_b s_c s_d s_e s_f], one entry for each multiset of six inputs."""
        chosen = list(combinations_with_replacement(range(len(self._inputs)), 6))
        values = self.kernel.new_empty(len(chosen))
        for subset, rows in self._by_subset(chosen, 6):
            request = _Requests(len(subset))
            for row in rows:
                request.add(self._ratios(chosen[row], subset), (0,) * len(subset))
            values[rows] = self._moments(subset, request)
        return values

    def fourth(self, vertex: Float64[Tensor, "P P"] | None) -> Fourth:
        """E[s_a s_b s_c s_d]; with a vertex by pairs also its derivatives."""
        chosen = list(combinations_with_replacement(range(len(self._inputs)), 4))
        values = self.kernel.new_empty(len(chosen))
        if vertex is None:
            gradient = curvature = None
        else:
            gradient = self.kernel.new_zeros(len(chosen), self.pairs.count)
            curvature = self.kernel.new_zeros(len(chosen))
        for subset, rows in self._by_subset(chosen, 4):
            request = _Requests(len(subset))
            weights = {} if vertex is None else self._weights(subset, vertex)
            moving = [v for v, head in enumerate(subset) if float(self.kernel[head, head]) > 0]
            slots: list[tuple[int, int, int, float]] = []  # request, multiset, pair or -1 for the curvature, factor
            for row in rows:
                ratios = self._ratios(chosen[row], subset)
                slots.append((request.add(ratios, (0,) * len(subset)), row, -2, 1.0))
                if vertex is None:
                    continue
                support = [v for v in moving if ratios[v]]
                for v, w in combinations_with_replacement(support, 2):
                    orders = tuple((k == v) + (k == w) for k in range(len(subset)))
                    pair = int(self.pairs.index[subset[v], subset[w]])
                    slots.append((request.add(ratios, orders), row, pair, 0.5 if v == w else 1.0))
                for orders, weight in weights.items():
                    if weight and all(v in support for v, order in enumerate(orders) if order):
                        slots.append((request.add(ratios, orders), row, -1, weight))
            found = self._moments(subset, request)
            where, row_of, kind, factor = (found.new_tensor(part) for part in zip(*slots, strict=True))
            where, row_of, kind = where.long(), row_of.long(), kind.long()
            parts = found[where] * factor
            values[row_of[kind == -2]] = parts[kind == -2]
            if gradient is not None and curvature is not None:
                gradient[row_of[kind >= 0], kind[kind >= 0]] = parts[kind >= 0]
                curvature.index_add_(0, row_of[kind == -1], parts[kind == -1])
        return Fourth(values, gradient, curvature)

    def _ratios(self, places: tuple[int, ...], subset: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
        """For each variable of a subset, given as inputs, the ratios of the multiset's inputs that belong to it."""
        heads = [self._variables[self._variable_of[place]] for place in places]
        found = []
        for head in subset:
            found.append(tuple(sorted(self._ratio[p] for p, own in zip(places, heads, strict=True) if own == head)))
        return tuple(found)

    def _by_subset(self, chosen: Sequence[tuple[int, ...]], most: int) -> Iterator[tuple[tuple[int, ...], list[int]]]:
        """Multisets by the subset of ``most`` variables, or all of fewer, that holds them: (inputs, rows)."""
        count = len(self._variables)
        size = min(most, count)
        rows: dict[tuple[int, ...], list[int]] = {subset: [] for subset in combinations(range(count), size)}
        for row, places in enumerate(chosen):
            support = sorted({self._variable_of[place] for place in places})
            others = (v for v in range(count) if v not in support)
            filled = sorted(support + [next(others) for _ in range(size - len(support))])
            rows[tuple(filled)].append(row)
        for subset, members in rows.items():
            if members:
                yield tuple(self._variables[v] for v in subset), members

    def _weights(self, subset: tuple[int, ...], vertex: Tensor) -> dict[tuple[int, ...], float]:
        """1/4 sum_ijkl V_(ij)(kl) over the ways to write d_i d_j d_k d_l as one derivative, by its orders."""
        index = self.pairs.index[torch.tensor(subset)[:, None], torch.tensor(subset)]
        table = vertex[index[:, :, None, None], index].tolist()
        found: dict[tuple[int, ...], float] = {}
        for i, j, k, m in cartesian(range(len(subset)), repeat=4):
            orders = tuple((v == i) + (v == j) + (v == k) + (v == m) for v in range(len(subset)))
            found[orders] = found.get(orders, 0.0) + table[i][j][k][m] / 4
        return found

    def _moments(self, subset: tuple[int, ...], request: _Requests) -> Tensor:
        chosen = torch.tensor(subset, device=self.kernel.device)
        found = monomial_moments(
            self.activation,
            self.kernel[chosen[:, None], chosen],
            request.functions,
            torch.tensor(request.wanted, device=self.kernel.device),
        )
        self.error = max(self.error, found.error)
        return found.values


class _Requests:
    """Expectations asked for, each once."""

    def __init__(self, variables: int) -> None:
        self.functions: list[list[Product]] = [[] for _ in range(variables)]
        self.wanted: list[tuple[int, ...]] = []
        self._numbers: list[dict[Product, int]] = [{} for _ in range(variables)]
        self._known: dict[tuple[int, ...], int] = {}

    def add(self, ratios: tuple[tuple[float, ...], ...], orders: tuple[int, ...]) -> int:
        """Number of E[prod_v d^order_v prod_c s(c z_v)]."""
        row = []
        for v, (own, order) in enumerate(zip(ratios, orders, strict=True)):
            chosen = Product(own, order)
            if chosen not in self._numbers[v]:
                self._numbers[v][chosen] = len(self.functions[v])
                self.functions[v].append(chosen)
            row.append(self._numbers[v][chosen])
        key = tuple(row)
        if key not in self._known:
            self._known[key] = len(self.wanted)
            self.wanted.append(key)
        return self._known[key]
