"""What to change, as numbers to copy: critical couplings, and the width or depth that puts r_L in its working range."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.build import mlp
from repflow.criticality import critical_points
from repflow.network import Network
from repflow.recursion import flow
from repflow.reporting.criticality import CriticalityVerdict, assess_criticality, susceptibilities
from repflow.reporting.fluctuations import FROZEN, TRUSTED

FloatArray = NDArray[np.float64]

# Couplings closer than this count as the same.
_SAME = 1e-6
# Up to this many inputs all are followed for the advised network.
_FOLLOWED = 8


@dataclass(frozen=True)
class Advice:
    """Numbers to copy.

    Attributes
    ----------
    changes_couplings
        Whether the couplings advised differ from those of the network.
    C_W, C_b
        Couplings of layers 1..L.
    weight_std, bias_std
        Standard deviations sqrt(C_W/n_{l-1}) and sqrt(C_b) of layers 1..L.
    critical
        Whether these are critical couplings; else the best compromise, where no critical point exists.
    reach
        min(xi_parallel, xi_perpendicular) with these couplings: the depth that differences between inputs survive.
    notes
        What there is to say about these couplings, such as that no critical point exists.
    ratio
        r_L of the network with these couplings, its own widths and depth.
    width_factor
        Factor on all hidden widths that brings r_L to 0.3; ``None`` where it is not above.
    hidden_widths
        The hidden widths after it, rounded up.
    depth
        With these couplings and the widths as they are, the largest depth with r_L <= 0.3, where that is less than L.
    deeper
        The depth from which features are no longer nearly frozen (r_L >= 0.02), where r_L is below.
    """

    changes_couplings: bool
    C_W: tuple[float, ...]
    C_b: tuple[float, ...]
    weight_std: tuple[float, ...]
    bias_std: tuple[float, ...]
    critical: bool
    reach: float
    notes: tuple[str, ...]
    ratio: float
    width_factor: float | None
    hidden_widths: tuple[int, ...] | None
    depth: int | None
    deeper: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return asdict(self)


def advise(network: Network, x: FloatArray, ratios: FloatArray, verdict: CriticalityVerdict) -> Advice:
    """Critical couplings for a network's widths, activations and inputs, and what they would bring.

    Parameters
    ----------
    network
        The network as it is.
    x
        Inputs, shape (N, n_0).
    ratios
        r_l of the network as it is for l = 1..L, which is the answer where its couplings are the advised ones already.
    verdict
        On the network as it is, for the same reason.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        best = mlp(
            list(network.widths),
            activation=list(network.activations) or "identity",
            init="critical",
            x=x if x.any() else None,  # no couplings bring a vanishing input to K*
        )
    notes = tuple(dict.fromkeys(" ".join(str(entry.message).split()) for entry in caught))
    best = _keeping_free_scale(network, best)
    C_W, C_b = (tuple(getattr(layer, name) for layer in best.layers) for name in ("C_W", "C_b"))
    changes = any(
        abs(getattr(ours, name) - getattr(theirs, name)) > _SAME * max(1.0, getattr(theirs, name))
        for ours, theirs in zip(network.layers, best.layers)
        for name in ("C_W", "C_b")
    )
    if changes:
        ratios, verdict = _ratios(best, x), _judged(best, x)
    reach = min(verdict.xi_parallel, verdict.xi_perpendicular)
    ratio = float(ratios[-1])
    factor = widths = shallower = deeper = None
    if ratio > TRUSTED:
        factor = ratio / TRUSTED
        widths = tuple(math.ceil(width * factor) for width in network.widths[1:-1]) if math.isfinite(factor) else None
        within = np.flatnonzero(ratios <= TRUSTED)
        shallower = int(within[-1]) + 1 if len(within) else 1
    elif 0.0 < ratio < FROZEN and network.depth > 1:
        # r grows in proportion to the number of activated layers at criticality.
        deeper = 1 + math.ceil((network.depth - 1) * FROZEN / ratio)
    return Advice(
        changes_couplings=changes,
        C_W=C_W,
        C_b=C_b,
        weight_std=tuple(math.sqrt(layer.C_W / layer.n_in) for layer in best.layers),
        bias_std=tuple(math.sqrt(layer.C_b) for layer in best.layers),
        critical=all(critical_points(activation) for activation in dict.fromkeys(network.activations)),
        reach=reach,
        notes=notes,
        ratio=ratio,
        width_factor=factor,
        hidden_widths=widths,
        depth=shallower,
        deeper=deeper,
    )


def _keeping_free_scale(network: Network, best: Network) -> Network:
    """Where every K is a fixed point the first layer's C_W only sets the scale, and stays as it is."""
    first = network.layers[0]
    free = all(activation.slopes is not None for activation in network.activations)
    if not (network.activations and free and first.C_W > 0 and first.C_b == 0):
        return best
    return Network((replace(best.layers[0], C_W=first.C_W), *best.layers[1:]))


def _judged(network: Network, x: FloatArray) -> CriticalityVerdict:
    """The verdict on the advised network; only its correlation lengths are asked for, so no power law is needed."""
    kernel = np.stack([layer.kernel.diagonal().numpy() for layer in flow(network, x, order=0)])
    return assess_criticality(network, kernel, susceptibilities(network, kernel), None)


def _ratios(network: Network, x: FloatArray) -> FloatArray:
    """r_l for l = 1..L. V_aaaa closes on one input, so that each is followed alone; of many, those of extreme norm."""
    norms = (x * x).sum(axis=1)
    chosen = range(len(x)) if len(x) <= _FOLLOWED else sorted({int(np.argmin(norms)), int(np.argmax(norms))})
    found = []
    for a in chosen:
        alone = flow(network, x[a : a + 1], order=1)
        found.append([_ratio(layer) for layer in alone])
    return np.max(np.asarray(found, dtype=np.float64), axis=0)


def _ratio(layer: Any) -> float:
    K, variance = float(layer.kernel[0, 0]), float(layer.kernel_covariance()[0, 0, 0, 0])
    return variance / K**2 if K > 0 else (math.inf if variance > 0 else 0.0)
