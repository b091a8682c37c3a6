"""Whether a network is critical for its depth: correlation lengths against L, and the kernel against where it started.

A small difference between inputs is multiplied by chi_parallel (norm) or chi_perpendicular (direction) a layer. At a
fixed point K* both are constant and the difference goes as exp(+-l / xi), xi = 1/|log chi|.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.activation import Activation
from repflow.criticality.fixed_points import EVERY_K, fixed_points, reached
from repflow.criticality.points import K_STAR_ZERO, CriticalPoint
from repflow.criticality.susceptibility import chi_parallel, chi_perpendicular, kernel_map
from repflow.network import LayerMaps

FloatArray = NDArray[np.float64]

#: K^(l) may leave K^(1), or the power law of its class, by this factor; beyond, signals have faded or exploded.
KERNEL_FACTOR = 10.0
#: A perturbation counts as lost or blown up when it has shrunk or grown by this factor.
LOST = 1000.0
# Layers followed beyond the network's own before the last susceptibility is taken to stay.
_FOLLOWED = 200


@dataclass(frozen=True)
class CriticalityVerdict:
    """Is this network critical for its depth?

    Attributes
    ----------
    critical
        L <= min(xi_parallel, xi_perpendicular), and K^(l) within a factor 10 of K^(1) or of the power law of its class.
    depth
        L.
    xi_parallel, xi_perpendicular
        Correlation lengths in layers, infinite at criticality; the smallest over the inputs.
    source
        Where the lengths come from: the fixed point that the kernel reaches, or the layers of this network.
    K_star
        That fixed point; ``None`` where there is none, or where every K is one.
    kernel_factor, kernel_layer
        Largest factor between K^(l)_aa and its reference, and the layer where it occurs.
    reference
        ``"start"`` or ``"power law"``: what K^(l) was compared with.
    lost_parallel, lost_perpendicular
        Depth at which a difference in norm or direction has changed a thousandfold, counted along the layers of this
        network, the last one repeated as often as it takes; infinite where it never does.
    grows_parallel, grows_perpendicular
        Whether it grows there rather than shrinks.
    """

    critical: bool
    depth: int
    xi_parallel: float
    xi_perpendicular: float
    source: str
    K_star: float | None
    kernel_factor: float
    kernel_layer: int
    reference: str
    lost_parallel: float
    lost_perpendicular: float
    grows_parallel: bool
    grows_perpendicular: bool

    @property
    def lost_at(self) -> float:
        """Depth at which the first kind of perturbation has changed a thousandfold."""
        return min(self.lost_parallel, self.lost_perpendicular)

    @property
    def reaches(self) -> bool:
        """Whether L is within both correlation lengths."""
        return self.depth <= min(self.xi_parallel, self.xi_perpendicular)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return asdict(self)


@dataclass(frozen=True)
class Susceptibilities:
    """chi_parallel and chi_perpendicular of the map from layer l to l + 1 at each input's kernel, shape (L - 1, N)."""

    parallel: FloatArray
    perpendicular: FloatArray


def susceptibilities(network: LayerMaps, kernel: FloatArray) -> Susceptibilities:
    """Susceptibilities of every layer after the first.

    Parameters
    ----------
    network
        The layers.
    kernel
        K^(l)_aa for l = 1..L, shape (L, N).
    """
    parallel, perpendicular = np.empty((2, network.depth - 1, kernel.shape[1]))
    for l, (layer, following) in enumerate(zip(network.layers, network.layers[1:])):
        assert layer.activation is not None  # hidden
        parallel[l] = chi_parallel(layer.activation, kernel[l], following.C_W)
        perpendicular[l] = chi_perpendicular(layer.activation, kernel[l], following.C_W)
    return Susceptibilities(parallel, perpendicular)


def power_law(point: CriticalPoint | None, start: FloatArray, depth: int) -> FloatArray | None:
    """K^(l) of the K* = 0 class from K^(1) = start, shape (L, N); None in another class.

    K = c (l + l_0)^-p, with l_0 such that it starts where the kernel does; c / log(l + l_0) where the fall is
    logarithmic.
    """
    if point is None or point.universality_class != K_STAR_ZERO or point.approach.coefficient is None:
        return None
    if not (start > 0).all():
        return None
    later = np.arange(depth, dtype=np.float64)[:, None]
    c, p = point.approach.coefficient, point.approach.exponent
    if point.approach.logarithmic:
        return np.asarray(c / np.logaddexp(c / start, np.log(np.maximum(later, 1e-300))))
    if not p:
        return None
    return np.asarray(c * ((c / start) ** (1.0 / p) + later) ** -p)


def assess_criticality(
    network: LayerMaps, kernel: FloatArray, chi: Susceptibilities, point: CriticalPoint | None
) -> CriticalityVerdict:
    """The verdict.

    Parameters
    ----------
    network
        The layers.
    kernel
        K^(l)_aa for l = 1..L, shape (L, N).
    chi
        From :func:`susceptibilities`.
    point
        Critical point of the network's activation, whose power law the kernel may follow; None where it has none.
    """
    depth = network.depth
    if depth == 1:
        infinite = math.inf
        return CriticalityVerdict(
            True, 1, infinite, infinite, "a single layer", None, 1.0, 1, "start", infinite, infinite, False, False
        )
    xi_parallel, xi_perpendicular, source, K_star = _lengths(network, kernel, chi)
    factor, layer, reference = _kernel_factor(kernel, power_law(point, kernel[0], depth))
    lost, grows = _lost(network, kernel, chi)
    return CriticalityVerdict(
        critical=bool(depth <= min(xi_parallel, xi_perpendicular) and factor <= KERNEL_FACTOR),
        depth=depth,
        xi_parallel=xi_parallel,
        xi_perpendicular=xi_perpendicular,
        source=source,
        K_star=K_star,
        kernel_factor=factor,
        kernel_layer=layer,
        reference=reference,
        lost_parallel=lost[0],
        lost_perpendicular=lost[1],
        grows_parallel=grows[0],
        grows_perpendicular=grows[1],
    )


def _lengths(network: LayerMaps, kernel: FloatArray, chi: Susceptibilities) -> tuple[float, float, str, float | None]:
    """The shortest correlation lengths over the maps of the network and the inputs, where they come from, and K* there.

    Each map from layer to layer is judged at the fixed point that the kernel would reach if it were repeated; where the
    kernel would run away, along the layers that have it.
    """
    found: list[tuple[float, float, str, float | None]] = []
    for (activation, C_W, C_b), steps in _maps(network).items():
        points = fixed_points(activation, C_W, C_b)
        starts = kernel[steps[0]].tolist()
        ends = [reached(points, K) if K > 0 else None for K in starts]
        for end in dict.fromkeys(end for end in ends if end is not None):
            free = end.stability == EVERY_K
            source = "every K is a fixed point" if free else f"the fixed point K* = {end.K:.5g}"
            found.append((end.xi_parallel, end.xi_perpendicular, source, None if free else end.K))
        away = [a for a, end in enumerate(ends) if end is None]
        if away:
            lengths = [_mean_length(values[steps][:, away]) for values in (chi.parallel, chi.perpendicular)]
            found.append((lengths[0], lengths[1], "the mean over the layers of this network", None))
    _, _, source, K_star = min(found, key=lambda entry: min(entry[:2]))
    return min(entry[0] for entry in found), min(entry[1] for entry in found), source, K_star


def _maps(network: LayerMaps) -> dict[tuple[Activation, float, float], list[int]]:
    """The maps (activation, C_W, C_b) between layers, each with its steps: step l leads from layer l + 1 to l + 2."""
    found: dict[tuple[Activation, float, float], list[int]] = {}
    by_name: dict[str, Activation] = {}
    for step, (layer, following) in enumerate(zip(network.layers, network.layers[1:])):
        assert layer.activation is not None  # hidden
        activation = by_name.setdefault(layer.activation.name, layer.activation)
        found.setdefault((activation, following.C_W, following.C_b), []).append(step)
    return found


def _mean_length(chi: FloatArray) -> float:
    """Correlation length of the mean log chi over steps (rows), the shortest over inputs (columns)."""
    with np.errstate(divide="ignore"):
        rate = float(np.abs(np.log(np.abs(chi)).mean(axis=0)).max())
    return math.inf if rate < 1e-9 else 1.0 / rate


def _kernel_factor(kernel: FloatArray, law: FloatArray | None) -> tuple[float, int, str]:
    """The largest factor between K^(l) and its reference, the layer, and the reference that fits better."""
    found = []
    for name, reference in (("start", kernel[:1]), ("power law", law)):
        if reference is None:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.abs(np.log(kernel / reference))
        apart = np.where((kernel == 0) & (reference == 0), 0.0, np.where(np.isnan(apart), np.inf, apart)).max(axis=1)
        layer = int(np.argmax(apart))
        found.append((float(np.exp(min(apart[layer], 700.0))), layer + 1, name))
    return min(found, key=lambda entry: entry[0])


def _lost(
    network: LayerMaps, kernel: FloatArray, chi: Susceptibilities
) -> tuple[tuple[float, float], tuple[bool, bool]]:
    """Depth at which a perturbation of norm and of direction has changed a thousandfold, and whether it has grown."""
    last = network.layers[-2].activation
    assert last is not None  # hidden
    C_W, C_b = network.layers[-1].C_W, network.layers[-1].C_b
    K, parallel, perpendicular = kernel[-1], list(chi.parallel), list(chi.perpendicular)
    for _ in range(_FOLLOWED):
        parallel.append(chi_parallel(last, K, C_W))
        perpendicular.append(chi_perpendicular(last, K, C_W))
        K = np.clip(kernel_map(last, K, C_W, C_b), 0.0, 1e12)
    depths, grown = [], []
    for steps in (parallel, perpendicular):
        with np.errstate(divide="ignore"):
            rates = np.clip(np.log(np.abs(np.asarray(steps))), -700.0, 700.0)
        depth, grows = min((_first_passage(rates[:, a]) for a in range(rates.shape[1])), key=lambda entry: entry[0])
        depths.append(depth)
        grown.append(grows)
    return (depths[0], depths[1]), (grown[0], grown[1])


def _first_passage(rates: FloatArray) -> tuple[float, bool]:
    """The layer at which the sum of log chi leaves +-log 1000, the last rate repeated; layer 1 has taken no step."""
    total = np.cumsum(rates)
    beyond = np.flatnonzero(np.abs(total) >= math.log(LOST))
    if len(beyond):
        return float(beyond[0] + 2), bool(total[beyond[0]] > 0)
    final = float(rates[-1])
    if abs(final) < 1e-6:
        return math.inf, bool(total[-1] > 0)
    left = math.log(LOST) - math.copysign(1.0, final) * float(total[-1])
    return float(len(rates) + 1 + math.ceil(left / abs(final))), final > 0
