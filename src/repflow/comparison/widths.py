"""``compare``: a flow against an ensemble of the same network, or against two widths at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from repflow.comparison.chi_square import Array
from repflow.comparison.quantities import QUANTITIES, sizes, unit
from repflow.comparison.result import Comparison
from repflow.comparison.rule import Components, chi_square_of
from repflow.ensemble import Ensemble, Estimate


class FlowLayerLike(Protocol):
    """What is asked of one layer of a flow."""

    @property
    def n_in(self) -> int:
        """n_{l-1}."""

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of what was computed."""

    def statistic(self, name: str, order: int | None = None) -> Any:
        """A statistic to this order, widths put in: (N, N) for a mean, (N, N, N, N), or (N,)*6 for a third cumulant."""


class FlowLike(Protocol):
    """What is asked of a flow: its layers at two orders, and what it was computed from."""

    @property
    def network(self) -> Any:
        """The network."""

    @property
    def x(self) -> Any:
        """Inputs, (N, n_0)."""

    @property
    def order(self) -> int:
        """Highest order computed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> FlowLayerLike: ...


def compare(flow: FlowLike, ensemble: Ensemble, other: tuple[FlowLike, Ensemble] | None = None) -> Comparison:
    """Test every statistic that both sides have, in every layer, against theory, component by component.

    The mean and the covariance of G always, its third cumulant at order 2; the mean of the NTK and A, B, D, F where
    flow and ensemble were made with ``tangent=True``; P, Q, R, S, T, U of the output layer where both have the
    differentials too.

    One width: theory to the flow's order, with a tolerance of r_l times the last order kept for the orders that are
    not. Two widths: the coefficient of the flow's order, extrapolated from both ensembles. See
    :mod:`repflow.comparison.rule`.

    Parameters
    ----------
    flow
        ``repflow.flow(network, x, order=1)`` or higher.
    ensemble
        ``repflow.sample`` of the same network and inputs; two networks at least.
    other
        Flow and ensemble of the same network at another width: all hidden widths multiplied by one factor.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError, TypeError
        The flow is of order 0, an ensemble holds one network only, or flow, ensemble and the other pair do not
        belong together.
    """
    _check_pair(flow, ensemble, "")
    pairs = [(flow, ensemble)] if other is None else [(flow, ensemble), _as_pair(other)]
    if len(pairs) == 2 and len(pairs[1][1]) != len(ensemble):
        raise ValueError(f"other: it has {len(pairs[1][1])} layers, the first {len(ensemble)}; only widths may differ")
    places = [
        (layer, name)
        for layer in range(1, len(ensemble) + 1)
        for name in QUANTITIES
        if all(name in one[layer].statistics and name in two[layer].statistics for one, two in pairs)
    ]
    if other is None:
        found = [_one_width(flow, ensemble, layer, name) for layer, name in places]
        return Comparison(tuple(found), flow.order, ensemble.networks, (_width(ensemble),))
    factor = _check_scaled(flow, ensemble, other)
    small, large = ((flow, ensemble), other) if factor > 1 else (other, (flow, ensemble))
    found = [_two_widths(small, large, layer, name) for layer, name in places]
    networks = min(ensemble.networks, other[1].networks)
    return Comparison(tuple(found), flow.order, networks, (_width(small[1]), _width(large[1])))


@dataclass(frozen=True)
class _Point:
    """One quantity of one layer: estimate, theory at order k and k - 1, and r_l."""

    estimate: Estimate
    theory: Array
    lower: Array
    scale: float
    r: float
    n: int


def _point(flow: FlowLike, ensemble: Ensemble, layer: int, name: str) -> _Point:
    order = _order(flow, name)
    estimate = ensemble[layer].estimate(name)
    place = tuple(estimate.index.T)
    theory, lower = (_numpy(flow[layer].statistic(name, order=k))[place] for k in (order, order - 1))
    kernel = _numpy(flow[layer].statistic("mean_kernel", order=0))
    ntk = _numpy(flow[layer].statistic("mean_ntk", order=0)) if QUANTITIES[name].powers[1] else None
    diagonal = np.diagonal(kernel)
    inputs = np.arange(len(diagonal))
    variance = _numpy(flow[layer].statistic("kernel_covariance", order=1))[inputs, inputs, inputs, inputs]
    live = diagonal > 0
    r = float((variance[live] / diagonal[live] ** 2).max(initial=0.0))
    if (variance[~live] > 0).any():  # a kernel that vanishes at infinite width and fluctuates
        r = np.inf
    return _Point(estimate, theory, lower, unit(name, kernel, ntk), r, flow[layer].n_in)


def _order(flow: FlowLike, name: str) -> int:
    """The order to which a flow has a statistic: the tangent kernel's stop at 1."""
    return min(flow.order, 1) if QUANTITIES[name].powers[1] else flow.order


def _one_width(flow: FlowLike, ensemble: Ensemble, layer: int, name: str) -> Components:
    point = _point(flow, ensemble, layer, name)
    estimate = point.estimate
    stderr = estimate.stderr()
    tolerance = point.r * sizes(name, estimate.index, lambda statistic: _kept(flow, layer, statistic))
    chi2 = chi_square_of(
        estimate.value - point.theory, stderr, tolerance, point.scale, estimate.covariance(), estimate.independent
    )
    return Components(
        layer, name, estimate.index, point.theory, estimate.value, stderr, tolerance, point.scale, point.r, chi2
    )


def _kept(flow: FlowLike, layer: int, name: str) -> Array:
    """The last order kept of a statistic, with its power of 1/n."""
    order = _order(flow, name)
    return _numpy(flow[layer].statistic(name, order=order)) - _numpy(flow[layer].statistic(name, order=order - 1))


def _two_widths(
    small: tuple[FlowLike, Ensemble], large: tuple[FlowLike, Ensemble], layer: int, name: str
) -> Components:
    if layer == 1:  # the inputs' width is the same at both: nothing to extrapolate, and nothing fluctuates
        return _one_width(*large, layer, name)
    order = _order(small[0], name)
    one, two = _point(*small, layer, name), _point(*large, layer, name)
    coefficients, covariances = [], []
    for point in (one, two):
        unit = float(point.n) ** order
        coefficients.append(unit * (point.estimate.value - point.lower))
        covariances.append(unit**2 * point.estimate.covariance())
    n1, n2 = one.n, two.n
    c1, c2 = coefficients
    lead = (n2 * c2 - n1 * c1) / (n2 - n1)
    covariance = (n2**2 * covariances[1] + n1**2 * covariances[0]) / (n2 - n1) ** 2
    stderr = np.sqrt(np.diagonal(covariance))
    tolerance = 0.35 * np.abs(c2 - c1) + 0.002 * np.abs(lead).max()
    theory = float(n1) ** order * (one.theory - one.lower)
    independent = min(one.estimate.independent, two.estimate.independent)
    scale = one.scale * float(n1) ** order
    chi2 = chi_square_of(lead - theory, stderr, tolerance, scale, covariance, independent)
    return Components(layer, name, one.estimate.index, theory, lead, stderr, tolerance, scale, one.r, chi2)


def _numpy(values: Any) -> Array:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def _width(ensemble: Ensemble) -> int:
    """Narrowest hidden layer; the output's for a network without one."""
    widths = ensemble.network.widths
    return min(widths[1:-1] or widths[-1:])


def _as_pair(other: Any) -> tuple[FlowLike, Ensemble]:
    """``other``, once it is known to be a flow and its ensemble."""
    if not isinstance(other, tuple) or len(other) != 2:
        raise TypeError(f"other must be a pair (flow, ensemble), got {type(other).__name__}")
    _check_pair(*other, "other: ")
    return other


def _check_pair(flow: Any, ensemble: Any, where: str) -> None:
    if not isinstance(ensemble, Ensemble):
        raise TypeError(f"{where}ensemble must be what repflow.sample returns, got {type(ensemble).__name__}")
    if not all(hasattr(flow, name) for name in ("network", "x", "order", "__getitem__")):
        raise TypeError(f"{where}flow must be what repflow.flow returns, got {type(flow).__name__}")
    if flow.order < 1:
        raise ValueError(f"{where}flow must be of order 1 or more, got order={flow.order}; flow(network, x, order=1)")
    if ensemble.networks < 2:
        raise ValueError(f"{where}ensemble must hold 2 networks or more, got {ensemble.networks}")
    if flow.network != ensemble.network:
        raise ValueError(f"{where}flow and ensemble are of different networks: {flow.network} and {ensemble.network}")
    if not np.array_equal(_numpy(flow.x), ensemble.x):
        raise ValueError(f"{where}flow and ensemble were given different inputs x")


def _check_scaled(flow: FlowLike, ensemble: Ensemble, other: tuple[FlowLike, Ensemble]) -> float:
    """The factor between the two networks' hidden widths."""
    other_flow, other_ensemble = other
    here, there = ensemble.network, other_ensemble.network
    if flow.order != other_flow.order:
        raise ValueError(f"other: its flow is of order {other_flow.order}, the first of order {flow.order}")
    if not np.array_equal(ensemble.x, other_ensemble.x):
        raise ValueError("other: it was given different inputs x")
    same = here.depth == there.depth and all(
        (a.C_W, a.C_b, a.lambda_W, a.lambda_b, a.activation) == (b.C_W, b.C_b, b.lambda_W, b.lambda_b, b.activation)
        for a, b in zip(here.layers, there.layers, strict=False)
    )
    hidden = list(zip(here.widths[1:-1], there.widths[1:-1], strict=False))
    if not same or not hidden:
        raise ValueError("other: only the hidden widths may differ between the two networks")
    first, second = hidden[0]
    if first == second or any(a * second != b * first for a, b in hidden):
        raise ValueError(
            f"other: hidden widths must differ by one factor, got {here.widths[1:-1]} and {there.widths[1:-1]}"
        )
    return second / first
