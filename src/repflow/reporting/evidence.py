"""The arrays behind the figures of a report: theory and ensemble, layer by layer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repflow.activation import Activation
from repflow.criticality import chi_parallel, chi_perpendicular, correlation_length, phase_diagram
from repflow.distribution import couplings_count
from repflow.network import Network
from repflow.reporting.criticality import Susceptibilities
from repflow.reporting.density import gaussian_density, nearly_gaussian_density
from repflow.reporting.fluctuations import relative_variance

if TYPE_CHECKING:
    from repflow.comparison import Comparison
    from repflow.ensemble import Ensemble
    from repflow.recursion import Flow

FloatArray = NDArray[np.float64]

#: Orders of 1/n whose couplings are counted.
HIGHEST_ORDER = 2
_PHASE_POINTS = 61
_LARGE_K = 1e6


@dataclass(frozen=True)
class Evidence:
    """Named arrays; see the functions below for their shapes.

    Attributes
    ----------
    arrays
        By name: ``kernel/order0``, ``kernel/order1``, ``kernel/ensemble``, ``kernel/ensemble_error`` (L, N, N);
        ``fluctuation/...`` and ``kurtosis/...`` with ``theory``, ``ensemble``, ``ensemble_error`` (L, N);
        ``susceptibility/parallel`` and ``susceptibility/perpendicular`` (L - 1, N); ``phase/...``; ``histogram/...``;
        ``agreement/mean_kernel/...`` and ``agreement/kernel_covariance/...`` with ``layer``, ``z`` and ``z_beyond``.
    dims
        Names of their axes.
    """

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, name: str, array: Any, *dims: str) -> None:
        """Take an array in."""
        self.arrays[name] = np.asarray(array, dtype=np.float64)
        self.dims[name] = dims

    def get(self, name: str) -> FloatArray | None:
        """An array, or None where it wasn't computed."""
        return self.arrays.get(name)


def to_numpy(value: Any) -> FloatArray:
    """A float64 NumPy array from a tensor or an array."""
    detached = value.detach().cpu() if hasattr(value, "detach") else value
    return np.asarray(detached, dtype=np.float64)


def diagonal(pairs: FloatArray) -> FloatArray:
    """The entries aa of arrays over pairs of inputs, (..., N, N) -> (..., N)."""
    return np.asarray(np.einsum("...aa->...a", pairs))


def quadruple_diagonal(quadruples: FloatArray) -> FloatArray:
    """The entries aaaa, (..., N, N, N, N) -> (..., N)."""
    return np.asarray(np.einsum("...aaaa->...a", quadruples))


def add_theory(evidence: Evidence, flow: Flow, chi: Susceptibilities) -> None:
    """Kernel at order 0 and 1, relative variance, excess kurtosis and susceptibilities of every layer."""
    order0 = np.stack([to_numpy(layer.mean_kernel(order=0)) for layer in flow])
    evidence.add("kernel/order0", order0, "layer", "input", "input'")
    order1 = np.stack([to_numpy(layer.mean_kernel()) for layer in flow])
    evidence.add("kernel/order1", order1, "layer", "input", "input'")
    variance = np.stack([quadruple_diagonal(to_numpy(layer.kernel_covariance())) for layer in flow])
    ratio = relative_variance(variance, diagonal(order0))
    evidence.add("fluctuation/theory", ratio, "layer", "input")
    # The fourth cumulant of z_i is 3 V/n, so that its excess kurtosis is 3 V/(n K^2) at leading order.
    evidence.add("kurtosis/theory", np.stack([to_numpy(layer.excess_kurtosis()) for layer in flow]), "layer", "input")
    evidence.add("susceptibility/parallel", chi.parallel, "step", "input")
    evidence.add("susceptibility/perpendicular", chi.perpendicular, "step", "input")


def add_ensemble(evidence: Evidence, ensemble: Ensemble) -> None:
    """Mean kernel, relative variance and excess kurtosis of every layer with standard errors.

    For z Gaussian given G, E z^4 = 3 E G_aa^2, hence the excess kurtosis is 3 Var G_aa / (E G_aa)^2 exactly, with a
    smaller error than the fourth moment of the z drawn.
    """
    mean = np.stack([to_numpy(layer.mean_kernel()) for layer in ensemble])
    mean_error = np.stack([to_numpy(layer.stderr("mean_kernel")) for layer in ensemble])
    evidence.add("kernel/ensemble", mean, "layer", "input", "input'")
    evidence.add("kernel/ensemble_error", mean_error, "layer", "input", "input'")
    variance = np.stack([quadruple_diagonal(to_numpy(layer.kernel_covariance())) for layer in ensemble])
    error = np.stack([quadruple_diagonal(to_numpy(layer.stderr("kernel_covariance"))) for layer in ensemble])
    kernel = diagonal(mean)
    ratio, ratio_error = relative_variance(variance, kernel), relative_variance(error, kernel)
    evidence.add("fluctuation/ensemble", ratio, "layer", "input")
    evidence.add("fluctuation/ensemble_error", ratio_error, "layer", "input")
    evidence.add("kurtosis/ensemble", 3.0 * ratio, "layer", "input")
    evidence.add("kurtosis/ensemble_error", 3.0 * ratio_error, "layer", "input")


def add_agreement(evidence: Evidence, comparison: Comparison) -> None:
    """Deviation of theory and ensemble of every component in standard errors, all of it and what is beyond t."""
    for quantity in ("mean_kernel", "kernel_covariance"):
        entries = [entry for entry in comparison if entry.quantity == quantity]
        layers = np.concatenate([np.full(len(entry.theory), entry.layer) for entry in entries])
        evidence.add(f"agreement/{quantity}/layer", layers, f"component of {quantity}")
        for name in ("z", "z_beyond"):
            scores = np.concatenate([getattr(entry, name) for entry in entries])
            evidence.add(f"agreement/{quantity}/{name}", scores, f"component of {quantity}")


def add_histogram(evidence: Evidence, edges: FloatArray, counts: FloatArray, total: float, a: int) -> None:
    """The distribution of output preactivations of input ``a``: drawn, Gaussian at infinite width, and at order 1.

    Parameters
    ----------
    edges, counts
        Of the histogram, shapes (B + 1,) and (B,).
    total
        Samples, those beyond the edges included.
    a
        The input.
    """
    K = float(evidence.arrays["kernel/order0"][-1, a, a])
    if not K > 0 or not counts.sum() > 0:
        return
    reach = 4.5 * np.sqrt(K)
    shown = np.flatnonzero((edges[:-1] >= -reach) & (edges[1:] <= reach))
    if not len(shown) or not counts[shown].sum() > 0:
        return
    evidence.add("histogram/edges", edges[shown[0] : shown[-1] + 2], "edge")
    evidence.add("histogram/counts", counts[shown], "bin")
    evidence.add("histogram/total", total)
    z = np.linspace(-reach, reach, 241)
    evidence.add("histogram/z", z, "point")
    evidence.add("histogram/gaussian", gaussian_density(z, K), "point")
    variance = float(evidence.arrays["kernel/order1"][-1, a, a])
    kurtosis = float(evidence.arrays["kurtosis/theory"][-1, a])
    if variance > 0:
        evidence.add("histogram/nearly_gaussian", nearly_gaussian_density(z, variance, kurtosis), "point")


def add_phase(evidence: Evidence, network: Network, critical: tuple[float, float]) -> str | None:
    """The phase diagram of the most common activation, around this network and its critical couplings.

    Parameters
    ----------
    evidence
        Takes ``phase/C_W``, ``phase/C_b``, ``phase/reach`` (C_W, C_b), ``phase/line_C_W``, ``phase/line_C_b``,
        ``phase/network`` and ``phase/critical`` (C_b, C_W each).
    network
        The network, of which layers 2..L count.
    critical
        (C_W, C_b).

    Returns
    -------
    str or None
        Name of the activation; None in a network without hidden layers.
    """
    activation = typical_activation(network)
    if activation is None:
        return None
    C_W = float(np.mean([layer.C_W for layer in network.layers[1:]]))
    C_b = float(np.mean([layer.C_b for layer in network.layers[1:]]))
    start = float(np.mean(diagonal(evidence.arrays["kernel/order0"][0])))
    grid_W = np.linspace(0.0, max(2.0, 1.6 * C_W, 1.6 * critical[0]), _PHASE_POINTS + 1)[1:]
    grid_b = np.linspace(0.0, max(0.5, 1.6 * C_b, 1.6 * critical[1]), _PHASE_POINTS)
    diagram = phase_diagram(activation, grid_W, grid_b, K1=float(np.clip(start, 1e-6, 1e4)))
    reach = np.minimum(diagram.xi_parallel, diagram.xi_perpendicular)
    # Where the kernel runs away its susceptibilities tend to those of large K.
    away = [grid_W * chi(activation, _LARGE_K, 1.0) for chi in (chi_parallel, chi_perpendicular)]
    lengths = np.minimum(*(correlation_length(values) for values in away))
    reach = np.where(np.isfinite(diagram.K_star), reach, lengths[:, None])
    evidence.add("phase/C_W", grid_W, "C_W")
    evidence.add("phase/C_b", grid_b, "C_b")
    evidence.add("phase/reach", reach, "C_W", "C_b")
    inside = (diagram.line_C_W <= grid_W[-1]) & (diagram.line_C_b <= grid_b[-1])
    evidence.add("phase/line_C_W", np.where(inside, diagram.line_C_W, np.nan), "point")
    evidence.add("phase/line_C_b", np.where(inside, diagram.line_C_b, np.nan), "point")
    evidence.add("phase/network", [C_b, C_W], "coupling")
    evidence.add("phase/critical", [critical[1], critical[0]], "coupling")
    return activation.name


def typical_activation(network: Network) -> Activation | None:
    """The activation of most hidden layers; None in a network without hidden layers."""
    if not network.activations:
        return None
    name = Counter(activation.name for activation in network.activations).most_common(1)[0][0]
    return next(activation for activation in network.activations if activation.name == name)


def coupling_counts(inputs: int, parameters: int) -> dict[str, int]:
    """Numbers that the output distribution on N_D inputs takes, order by order in 1/n, beside the parameters.

    ``order_0`` is the kernel, ``order_1`` the four-point vertex and ``order_2`` the six-point vertex, each counted
    exactly, symmetries taken out; ``general`` is 2^N_D, that of a general distribution of N_D binary variables.
    """
    count = couplings_count(inputs, HIGHEST_ORDER)
    orders = {f"order_{order}": number for order, number in enumerate(count.by_order)}
    return {"inputs": inputs, "general": count.general, **orders, "parameters": parameters}
