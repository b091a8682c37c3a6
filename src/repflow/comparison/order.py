"""Where each order of 1/n stops being enough, from the terms of the series themselves.

A statistic of G^(l) is sum_j c_j (L/n)^j with coefficients that are fixed by the ratios of the widths, since its term
of order j scales as 1/n^j exactly when all widths are scaled. So the terms at one width say what every order leaves out
at any width, and at which L/n that reaches a share of the whole:

    error_k(L/n) = |sum_{j > k} c_j (L/n)^j| / |sum_j c_j (L/n)^j|                                                (1)

over the terms that are known. L/n is the sum of 1/n_l over the hidden layers below. Beyond the highest order known one
more term is guessed: by the ratio of the last two, or, where there is only one or the ratio is out of the ordinary, as
r_l = V/(n K^2) times the last, as in the agreement rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repflow.network import LayerMaps
from repflow.recursion import Flow, flow, vertex_at
from repflow.recursion.expansion import expansion
from repflow.recursion.expansion_result import Expansion, ExpansionLayer
from repflow.recursion.inputs import as_inputs

FloatArray = NDArray[np.float64]
Statistic = Literal["mean", "variance"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
#: Where an error comes from: terms of the series that are known; one more guessed by their ratio; guessed by r_l.
Basis = Literal["next terms", "ratio", "r_l"]
_KNOWN: Basis = "next terms"

#: Coefficients of (L/n)^j below this times the leading one are rounding: the statistic has no term of that order.
_NEGLIGIBLE = 1e-9
#: Largest share that the last term has in what is left out where a series has settled.
_SETTLED = 0.25
#: Inputs that are judged, those with the largest r_l, and terms beyond the highest order judged.
_MOST_INPUTS, _BEYOND = 8, 2


@dataclass(frozen=True)
class OrderError:
    """What one order of 1/n leaves out of one statistic.

    Attributes
    ----------
    statistic
        ``"mean"`` of G_aa, E[z_a^2], or its ``"variance"`` between networks.
    order
        k: terms up to 1/n^k are kept.
    error
        Relative error at this network's widths, (1), for the input where it is largest.
    limit
        L/n at which it reaches the accuracy asked for, for the input where that comes first; infinite where it never
        does.
    basis
        ``"next terms"``: computed from terms beyond the order; ``"ratio"``: from one term guessed by the ratio of the
        last two; ``"r_l"``: from one guessed as r_l times the last.
    settled
        Whether the series has settled at the limit: the last term known is below a quarter of what is left out. The
        series is asymptotic; where it has not, the limit is a rough one.
    """

    statistic: Statistic
    order: int
    error: float
    limit: float
    basis: Basis
    settled: bool = True


@dataclass(frozen=True, repr=False)
class WhichOrder:
    """What :func:`which_order` returns.

    Attributes
    ----------
    errors
        One :class:`OrderError` for each statistic and order.
    aspect_ratio
        L/n of the layer: the sum of 1/n over the hidden layers below it.
    accuracy
        Relative error that counts as enough.
    layer
        l.
    """

    errors: tuple[OrderError, ...]
    aspect_ratio: float
    accuracy: float
    layer: int

    def of(self, statistic: Statistic, order: int) -> OrderError:
        """One of the errors.

        Raises
        ------
        ValueError
            It was not judged.
        """
        for entry in self.errors:
            if (entry.statistic, entry.order) == (statistic, order):
                return entry
        judged = ", ".join(f"{entry.statistic} at order {entry.order}" for entry in self.errors)
        raise ValueError(f"statistic and order must be one of {judged}; got {statistic!r} at order {order!r}")

    def enough(self, statistic: Statistic) -> int | None:
        """The lowest order that is within the accuracy at these widths; None where none of those judged is."""
        for entry in self.errors:
            if entry.statistic == statistic and entry.limit >= self.aspect_ratio:
                return entry.order
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON but for infinite limits."""
        return {
            "errors": [asdict(entry) for entry in self.errors],
            "aspect_ratio": self.aspect_ratio,
            "accuracy": self.accuracy,
            "layer": self.layer,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WhichOrder:
        """Read what :meth:`to_dict` wrote."""
        errors = tuple(OrderError(**entry) for entry in data["errors"])
        return cls(errors, float(data["aspect_ratio"]), float(data["accuracy"]), int(data["layer"]))

    def __str__(self) -> str:
        lines = [f"layer {self.layer}, L/n = {self.aspect_ratio:.4g}; an order is enough within {self.accuracy:.3g}"]
        for entry in self.errors:
            guessed = (
                f"  (guessed: {entry.basis})" if entry.basis != _KNOWN else "" if entry.settled else "  (unsettled)"
            )
            lines.append(
                f"{entry.statistic:8s} order {entry.order}: error {entry.error:.2g}, enough up to L/n = "
                f"{entry.limit:.3g}{guessed}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        found = ", ".join(f"{name}: {self.enough(name)}" for name in STATISTICS)
        return f"WhichOrder(layer {self.layer}, L/n={self.aspect_ratio:.4g}, order enough: {found})"


def which_order(
    source: LayerMaps | Flow | Expansion, x: Any = None, *, order: int = 2, accuracy: float = 0.1, layer: int = -1
) -> WhichOrder:
    """Which order of 1/n is enough for the mean and the variance of G_aa, and up to which L/n each order is.

    Parameters
    ----------
    source
        A network, with ``x``: its series is computed two orders beyond the highest one judged, input by input. Or a
        flow of order 1 or more, or an expansion, as it is: what lies beyond their last term is guessed, and said to be.
    x
        Inputs of the network, shape (N, n_0); of more than 8 those with the largest r_l are judged.
    order
        Of a network: the highest order judged.
    accuracy
        Relative error that is enough, between 0 and 1.
    layer
        l, from 1 to L, or from the end.

    Returns
    -------
    WhichOrder
        The worst input counts for every number.

    Raises
    ------
    TypeError, ValueError
        An argument is not of the form above, a flow has order 0, or the series overflows.

    Examples
    --------
    >>> import numpy as np, repflow as rf
    >>> network = rf.mlp([4, 100, 100, 100, 1], activation="relu", C_W=2.0, C_b=0.0)
    >>> found = which_order(network, np.ones((1, 4)))
    >>> found.enough("mean"), found.enough("variance")
    (0, 1)
    """
    if isinstance(accuracy, bool) or not isinstance(accuracy, (int, float)) or not 0 < accuracy < 1:
        raise ValueError(f"accuracy must be a number between 0 and 1, got {accuracy!r}")
    if isinstance(source, (Flow, Expansion)):
        if x is not None:
            raise ValueError("x must not be given with a flow or an expansion, which have their inputs")
        if source.order == 0:
            raise ValueError(
                "source must be a flow of order 1 or more, got order 0, which says nothing of what it leaves out"
            )
        network, index = source.network, source[layer].index
        series = _of_flow(source, index) if isinstance(source, Flow) else _of_expansion(source, index, source.order)
    else:
        index = _index(source, layer)
        network, series = source, _of_network(source, x, order, index)
    ratio = sum(1.0 / width for width in network.widths[1:index])
    errors = []
    for statistic, found in series.items():
        judged = [one.judge(ratio, accuracy) for one in found]
        for same in zip(*judged, strict=True):
            first = min(same, key=lambda entry: entry.limit)
            largest = max(entry.error for entry in same)
            errors.append(OrderError(statistic, first.order, largest, first.limit, first.basis, first.settled))
    return WhichOrder(tuple(errors), ratio, float(accuracy), index)


@dataclass(frozen=True)
class _Series:
    """A statistic of one input: terms by power of 1/n with the widths put in, and the highest order to be judged."""

    statistic: Statistic
    terms: FloatArray
    highest: int
    relative_fluctuation: float

    def judge(self, ratio: float, accuracy: float) -> list[OrderError]:
        """What every order leaves out, at this L/n and at others."""
        # In powers of L/n, from the statistic's own leading order on.
        lead = STATISTICS.index(self.statistic)
        c = self.terms / (ratio or 1.0) ** np.arange(len(self.terms))
        if not np.isfinite(c).all():
            raise ValueError(f"the series of the {self.statistic} is not finite: signals overflow; take a smaller C_W")
        c[np.abs(c) <= _NEGLIGIBLE * abs(c[lead])] = 0.0
        found = []
        for order in range(self.highest + 1):
            # Only the last one known has nothing but a guess beyond it.
            terms, basis = (c, _KNOWN) if order < len(c) - 1 else self._with_guess(c, ratio)
            beyond = np.where(np.arange(len(terms)) > order, terms, 0.0)
            limit, error = _first_reaching(beyond, terms, accuracy), _share(beyond, terms, ratio)
            settled = basis == _KNOWN and _last_share(beyond, limit) < _SETTLED
            found.append(OrderError(self.statistic, order, error, limit, basis, settled))
        return found

    def _with_guess(self, c: FloatArray, ratio: float) -> tuple[FloatArray, Basis]:
        """One coefficient more.

        A term that is small by accident makes the ratio of the last two large; then r_l stands in.
        """
        most = self.relative_fluctuation / (ratio or 1.0)
        if len(c) > 2 and 0.0 < abs(c[-1]) <= most * abs(c[-2]):
            return np.append(c, c[-1] ** 2 / c[-2]), "ratio"
        return np.append(c, c[-1] * most), "r_l"


def _share(beyond: FloatArray, c: FloatArray, ratio: float) -> float:
    """(1) at one L/n."""
    powers = ratio ** np.arange(len(c))
    part, whole = abs(float(beyond @ powers)), abs(float(c @ powers))
    return part / whole if whole > 0 else (math.inf if part > 0 else 0.0)


def _last_share(beyond: FloatArray, limit: float) -> float:
    """The last term over all that is left out, at the limit; 0 where the limit is 0 or infinite."""
    if not 0.0 < limit < math.inf:
        return 0.0
    parts = beyond * limit ** np.arange(len(beyond))
    left_out = abs(float(parts.sum()))
    return abs(float(parts[-1])) / left_out if left_out > 0 else math.inf


def _first_reaching(beyond: FloatArray, c: FloatArray, accuracy: float) -> float:
    """The least L/n > 0 at which (1) is the accuracy: a root of beyond +- accuracy c; infinite where there is none."""
    if not beyond.any():
        return math.inf
    lead = int(np.flatnonzero(c)[0])
    if beyond[lead] == c[lead]:
        return 0.0  # the order keeps nothing
    least = math.inf
    for sign in (1.0, -1.0):
        roots = np.roots((beyond - sign * accuracy * c)[lead:][::-1])
        real = roots[np.abs(roots.imag) <= 1e-9 * np.abs(roots)].real
        least = min([least, *(float(root) for root in real if root > 0)])
    return least


_AllSeries = dict[Statistic, list[_Series]]


def _index(network: Any, layer: object) -> int:
    """The layer's number, from 1 to L."""
    if not isinstance(network, LayerMaps):
        kind = type(network).__name__
        raise TypeError(f"source must be a network, a flow or an expansion, got {kind}; rf.mlp builds a network")
    if isinstance(layer, bool) or not isinstance(layer, int) or layer == 0 or abs(layer) > network.depth:
        raise ValueError(f"layer must be from 1 to {network.depth}, or negative from the end, got {layer!r}")
    return layer if layer > 0 else network.depth + 1 + layer


def _of_network(network: LayerMaps, x: Any, order: object, index: int) -> _AllSeries:
    """Input by input, with terms to spare, so that none has to be guessed."""
    if x is None:
        raise ValueError("x must be given with a network: its inputs, shape (N, n_0)")
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or not 0 <= order <= 8:
        raise ValueError(f"order must be a whole number from 0 to 8, got {order!r}")
    inputs = as_inputs(x, network.widths[0], "cpu")
    kernel = flow(network, inputs, order=0)[index].kernel  # which raises where signals overflow
    found: _AllSeries = {"mean": [], "variance": []}
    for row in _most_fluctuating(network, inputs, kernel, index):
        single = expansion(network, row[None], int(order) + _BEYOND)
        for statistic, series in _of_expansion(single, index, int(order)).items():
            found[statistic] += series
    return found


def _most_fluctuating(network: LayerMaps, inputs: Tensor, kernel: Tensor, index: int) -> Tensor:
    """Those inputs of which r_l is largest."""
    if len(inputs) <= _MOST_INPUTS:
        return inputs
    numbers = np.arange(len(inputs))
    vertex = vertex_at(network, inputs, np.stack([numbers] * 4, axis=1))[index - 1]
    ratio = vertex / kernel.diagonal().clamp(min=1e-100) ** 2
    return inputs[ratio.argsort(descending=True)[:_MOST_INPUTS]]


def _of_expansion(source: Expansion, index: int, highest: int) -> _AllSeries:
    return _of_terms(source[index], highest)


def _of_terms(layer: ExpansionLayer, highest: int) -> _AllSeries:
    mean, covariance = layer.terms(1), layer.terms(2)
    found: _AllSeries = {"mean": [], "variance": []}
    for a in range(len(layer.kernel)):
        terms, spread = mean[:, a, a].numpy(), covariance[:, a, a, a, a].numpy()
        fluctuation = _relative(spread[1], terms[0])
        found["mean"].append(_Series("mean", terms, highest, fluctuation))
        found["variance"].append(_Series("variance", spread, highest, fluctuation))
    return found


def _of_flow(source: Flow, index: int) -> _AllSeries:
    layer, order = source[index], source.order
    if order > 2:
        return _of_terms(layer.expansion, order)  # differences of sums would lose small terms
    means = [layer.mean_kernel(k).diagonal().cpu().numpy() for k in range(order + 1)]
    spreads = [np.einsum("aaaa->a", layer.kernel_covariance(k).cpu().numpy()) for k in range(order + 1)]
    found: _AllSeries = {"mean": [], "variance": []}
    for a in range(len(source.x)):
        terms = np.diff([mean[a] for mean in means], prepend=0.0)
        spread = np.diff([value[a] for value in spreads], prepend=0.0)
        fluctuation = _relative(spread[1], terms[0])
        found["mean"].append(_Series("mean", terms, order, fluctuation))
        found["variance"].append(_Series("variance", spread, order, fluctuation))
    return found


def _relative(variance: float, kernel: float) -> float:
    return float(variance / kernel**2) if kernel else 0.0
