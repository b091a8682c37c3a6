"""E[f_1(z_1) ... f_V(z_V)] for many choices of f_v at once: products of powers of one activation and derivatives.

The kernel is split into common and private variance (:mod:`repflow.expectation.factors`); activations with kinks are
averaged over the private part exactly (:mod:`repflow.expectation.products`), smooth ones need none. The common
variables are integrated over by a product rule whose number of nodes is found for each axis on its own, the others at
three nodes each, and checked by one step coarser on all axes. All products at once are matrix products: half of the
variables against the other half, nodes in between. Where the nodes would be too many, randomised quasi-Monte Carlo
takes over, with its own error estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.axes import LADDER, axis, product, scrambled
from repflow.expectation.factors import factorise
from repflow.expectation.products import Product, Products, Table

#: Accuracies looked for along each axis, relative to Hölder's bound; the first whose nodes are few enough is taken.
_TOLERANCES = (3e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
#: What the check may find before all axes are refined, and how often they are.
_ACCEPTED, _ROUNDS = 3e-9, 3
_MOST_NODES = 6_000_000
#: Up to so many dimensions a product rule that is too coarse is still better than sampling.
_FEW = 2
_CHUNK = 4_096
#: From so many variables on private variance is taken out of smooth functions as well: it saves a dimension.
_MANY = 4
#: Sobol points of one scrambling, as a power of two, and how many scramblings.
_SOBOL, _REPLICATES = 17, 12


@dataclass
class Moments:
    """Values (Q,), and the largest error estimate relative to Hölder's bound prod_v <|f_v|^k>^(1/k)."""

    values: Tensor
    error: float


def monomial_moments(
    activation: Activation,
    kernel: Float64[Tensor, "V V"],
    functions: Sequence[Sequence[Product]],
    wanted: Int64[Tensor, "Q V"],
) -> Moments:
    """E[prod_v f_v(z_v)] under z ~ N(0, K).

    Parameters
    ----------
    activation
        sigma.
    kernel
        K of the V variables, positive semidefinite. No two of them may be collinear if sigma has kinks: such inputs
        are one variable, see :class:`Product`.
    functions
        The functions of each variable.
    wanted
        For each expectation the number of its function of each variable.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        A derivative that is a delta function is asked of a variable without variance of its own.
    """
    grid = _Grid(activation, kernel, functions, wanted)
    steps = grid.choose()
    fine = product(steps, _MOST_NODES) if steps is not None else None
    if steps is None or fine is None:
        return grid.by_sampling()
    coarse = product([max(step - 1, 0) for step in steps], _MOST_NODES)
    assert coarse is not None
    values = grid.integrate(*fine)
    error = grid.distance(values, grid.integrate(*coarse))
    for _ in range(_ROUNDS):
        if error < _ACCEPTED:
            break
        steps = [min(step + 1, len(LADDER) - 1) for step in steps]
        finer = product(steps, _MOST_NODES)
        if finer is None:
            break
        before, values = values, grid.integrate(*finer)
        error = grid.distance(values, before)
    return Moments(values, error)


class _Grid:
    """The integrand at nodes of the common variables."""

    def __init__(
        self, activation: Activation, kernel: Tensor, functions: Sequence[Sequence[Product]], wanted: Tensor
    ) -> None:
        self.kernel = kernel
        self.device = kernel.device
        factors = factorise(kernel, not activation.smooth or len(kernel) >= _MANY, activation.smooth)
        self.loading, self.rank = factors.loading, factors.loading.shape[1]
        self._wanted = wanted.to(self.device)
        self._evaluate: list[Callable[[Tensor], Tensor]] = []
        for v, chosen in enumerate(functions):
            products = Products(activation, chosen)
            spread = float(factors.private[v].sqrt())
            if not spread and products.singular:
                raise ValueError(
                    f"the activation {activation.name!r} has kinks, and preactivations of one input are linear "
                    "combinations of those of others, so that derivatives of expectations do not exist; leave that "
                    "input out, or use a smooth activation"
                )
            self._evaluate.append(_evaluator(products, spread, self.loading[v]))
        self._split(functions)
        self._bound = self._bounds()

    def _split(self, functions: Sequence[Sequence[Product]]) -> None:
        """Expectations as entries of products of left and right halves, grouped so that the products are full."""
        count = self._wanted.shape[1]
        half = (count + 1) // 2
        self._left, self._left_of = torch.unique(self._wanted[:, :half], dim=0, return_inverse=True)
        if half < count:
            self._right, self._right_of = torch.unique(self._wanted[:, half:], dim=0, return_inverse=True)
        else:
            self._right, self._right_of = self._wanted[:1, half:], torch.zeros_like(self._left_of)
        # Halves of one degree and one number of derivatives go with all that complete them.
        labels = []
        for row in self._left.tolist():
            chosen = [functions[v][f] for v, f in enumerate(row)]
            labels.append((sum(len(p.ratios) for p in chosen), sum(p.order for p in chosen)))
        numbers = {label: n for n, label in enumerate(sorted(set(labels)))}
        label_of = torch.tensor([numbers[label] for label in labels], device=self.device)[self._left_of]
        self._blocks = []
        for number in range(len(numbers)):
            entries = torch.nonzero(label_of == number).ravel()
            rows, row_of = torch.unique(self._left_of[entries], return_inverse=True)
            columns, column_of = torch.unique(self._right_of[entries], return_inverse=True)
            self._blocks.append((entries, rows, row_of, columns, column_of))

    def _bounds(self) -> Tensor:
        """Hölder's bound of each expectation, (Q,)."""
        u, w = axis(len(LADDER) - 8)
        live = self._wanted.new_zeros(self._wanted.shape, dtype=torch.bool)
        absolute: list[Tensor] = []
        for v, evaluate in enumerate(self._evaluate):
            spread = self.loading[v].norm()
            values = evaluate(spread * u.to(self.device))
            constant = (values - values[:, :1]).abs().amax(1) == 0
            live[:, v] = ~constant[self._wanted[:, v]]
            absolute.append(values.abs())
        active = live.sum(1).clamp(min=1)
        bound = torch.ones(len(self._wanted), dtype=torch.float64, device=self.device)
        for k in active.unique().tolist():
            chosen = active == k
            for v, values in enumerate(absolute):
                norm = ((values**k) @ w.to(self.device)) ** (1.0 / k)
                plain = values[:, 0]
                here = self._wanted[chosen, v]
                bound[chosen] *= torch.where(live[chosen, v], norm[here], plain[here])
        return bound

    def integrate(self, nodes: Tensor, weights: Tensor) -> Tensor:
        """All expectations by one rule, (Q,)."""
        found = torch.zeros(len(self._wanted), dtype=torch.float64, device=self.device)
        for part in torch.arange(len(nodes)).split(_CHUNK):
            z = nodes[part].to(self.device) @ self.loading.T
            values = [evaluate(z[:, v]) for v, evaluate in enumerate(self._evaluate)]
            half = self._left.shape[1]
            left = _product_of(values[:half], self._left) * weights[part].to(self.device)
            right = _product_of(values[half:], self._right) if len(values) > half else None
            for entries, rows, row_of, columns, column_of in self._blocks:
                if right is None:
                    found[entries] += left[rows].sum(1)[row_of]
                else:
                    found[entries] += (left[rows] @ right[columns].T)[row_of, column_of]
        return found

    def distance(self, one: Tensor, other: Tensor) -> float:
        """Largest difference relative to the bound."""
        scale = torch.where(self._bound > 0, self._bound, 1.0)
        return float(((one - other).abs() / scale).max()) if len(one) else 0.0

    def choose(self) -> list[int] | None:
        """A ladder step for each axis at the best accuracy that the number of nodes allows, or None."""
        changes: list[list[float]] = []
        for k in range(self.rank):
            along: list[float] = []
            before = None
            for step in range(len(LADDER)):
                rule = product([step if other == k else 1 for other in range(self.rank)], _MOST_NODES)
                if rule is None:
                    break
                values = self.integrate(*rule)
                if before is not None:
                    along.append(self.distance(values, before))
                    if along[-1] < _TOLERANCES[0]:
                        break
                before = values
            changes.append(along)
        for tolerance in _TOLERANCES[1 if self.rank >= _MANY - 1 else 0 :]:
            steps = [next((n + 1 for n, change in enumerate(along) if change < tolerance), None) for along in changes]
            found = [step for step in steps if step is not None]
            if len(found) == len(steps) and product(found, _MOST_NODES) is not None:
                return found
        if self.rank <= _FEW:  # of all that fits, the finest: the check says how good it is
            steps = [min(len(LADDER) - 1, len(along)) for along in changes]
            found = [step for step in steps if step is not None]
            while product(found, _MOST_NODES) is None:
                found[max(range(len(found)), key=lambda k: found[k])] -= 1
            return found
        return None

    def by_sampling(self) -> Moments:
        """All expectations by randomised quasi-Monte Carlo, in antithetic pairs."""
        found = []
        for nodes, weights in scrambled(self.rank, _SOBOL, _REPLICATES, 0):
            found.append(0.5 * (self.integrate(nodes, weights) + self.integrate(-nodes, weights)))
        values = torch.stack(found)
        scale = torch.where(self._bound > 0, self._bound, 1.0)
        error = 3.0 * values.std(0) / len(found) ** 0.5 / scale
        return Moments(values.mean(0), float(error.max()))


def _product_of(values: Sequence[Tensor], rows: Tensor) -> Tensor:
    """prod_v values[v][rows[:, v]], (rows, nodes)."""
    found = values[0][rows[:, 0]]
    for v in range(1, len(values)):
        found = found * values[v][rows[:, v]]
    return found


def _evaluator(products: Products, spread: float, loading: Tensor) -> Callable[[Tensor], Tensor]:
    """The functions of one variable at means (n,), averaged over its private part; (F, n)."""
    if not spread:
        return products.at
    if products.activation.slopes is not None:
        return lambda mean: products.averaged(mean, spread)
    reach = 12.5 * float(loading.norm()) + spread
    return Table(products, reach, spread, loading.device)
