"""``flow``: the theory of a network on a data set, layer by layer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import ActivationLike
from repflow.blocks import progress_bar
from repflow.expectation.single import quadrature_error
from repflow.network import LayerMaps, Network, NodeMaps
from repflow.recursion.forward import State, first_layer, next_layer
from repflow.recursion.inputs import as_inputs, check_network
from repflow.recursion.memory import require
from repflow.recursion.pairs import Pairs
from repflow.results import Payload, Result, result_schema

#: Relative error of an expectation above which the user is warned.
ERROR_LIMIT = 1e-4

_CALLS = {
    "vertex": "flow(network, x, order=1)",
    "kernel_correction": "flow(network, x, order=1)",
    "ntk": "flow(network, x, tangent=True)",
}


@dataclass(frozen=True, repr=False)
class FlowLayer:
    """The statistics of one layer's preactivations z^(l) over the networks of the ensemble.

    Attributes
    ----------
    index
        l, from 1 to L.
    n_in
        n_{l-1}, the width whose inverse is the expansion parameter of this layer's statistics.
    n_out
        n_l.
    kernel
        K, the infinite-width kernel E[z_{i;a} z_{i;b}], shape (N, N).
    """

    index: int
    n_in: int
    n_out: int
    kernel: Float64[Tensor, "N N"]
    _vertex: Tensor | None = field(default=None)
    _correction: Tensor | None = field(default=None)
    _ntk: Tensor | None = field(default=None)

    def _missing(self, name: str) -> AttributeError:
        return AttributeError(f"{name} was not computed; call {_CALLS[name]}")

    @property
    def _pairs(self) -> Pairs:
        return Pairs(len(self.kernel), self.kernel.device)

    @property
    def vertex(self) -> Float64[Tensor, "N N N N"]:
        """V, the four-point vertex: Cov(G_ab, G_cd) = V_abcd/n_{l-1} + O(1/n^2), shape (N, N, N, N).

        The connected four-point function of neurons is E[z_i1 z_i2 z_i3 z_i4]_c = (d_{i1i2} d_{i3i4} V_(12)(34) + 2
        permutations)/n_{l-1} (PDLT equation 4.43).
        """
        if self._vertex is None:
            raise self._missing("vertex")
        return self._pairs.expand_square(self._vertex)

    @property
    def kernel_correction(self) -> Float64[Tensor, "N N"]:
        """G1, the next-to-leading kernel: E[z_a z_b] = K + G1/n_{l-1} + O(1/n^2), shape (N, N) (PDLT section 4.3)."""
        if self._correction is None:
            raise self._missing("kernel_correction")
        return self._pairs.expand(self._correction)

    @property
    def ntk(self) -> Float64[Tensor, "N N"]:
        """Theta, the infinite-width neural tangent kernel, shape (N, N) (PDLT equation 9.5)."""
        if self._ntk is None:
            raise self._missing("ntk")
        return self._ntk

    @property
    def order(self) -> int:
        """The highest order computed."""
        return 0 if self._vertex is None else 1

    def _order(self, order: int | None) -> int:
        if order is None:
            return self.order
        if order not in (0, 1):
            raise ValueError(f"order must be 0 or 1, got {order!r}")
        if order > self.order:
            raise self._missing("vertex")
        return order

    def mean_kernel(self, order: int | None = None) -> Float64[Tensor, "N N"]:
        """E[G^(l)] = E[z_a z_b] with the widths put in: K, or K + G1/n_{l-1}; shape (N, N).

        Parameters
        ----------
        order
            0 or 1; None for the highest computed.
        """
        return self.kernel if self._order(order) == 0 else self.kernel + self.kernel_correction / self.n_in

    def kernel_covariance(self, order: int | None = None) -> Float64[Tensor, "N N N N"]:
        """Cov(G_ab, G_cd) between networks: 0, or V/n_{l-1}; shape (N, N, N, N)."""
        n = len(self.kernel)
        return self.kernel.new_zeros(n, n, n, n) if self._order(order) == 0 else self.vertex / self.n_in

    def _variances(self) -> Tensor:
        """V_aaaa, shape (N,)."""
        if self._vertex is None:
            raise self._missing("vertex")
        own = self._pairs.index.diagonal()
        return self._vertex[own, own]

    def excess_kurtosis(self, order: int | None = None) -> Float64[Tensor, " N"]:
        """E[z^4]/E[z^2]^2 - 3 of a preactivation, one for each input: 0, or 3 V_aaaa/(n_{l-1} K_aa^2); shape (N,).

        It is 0 where K_aa is 0.
        """
        variance = self.kernel.diagonal()
        if self._order(order) == 0:
            return torch.zeros_like(variance)
        return torch.where(variance > 0, 3 * self._variances() / (self.n_in * variance**2), 0.0)

    @property
    def relative_fluctuation(self) -> float:
        """r_l = max_a V_aaaa/(n_{l-1} K_aa^2), the relative variance of a squared preactivation's scale between
        networks.

        Order 1 is to be trusted up to about 0.3. It is infinite where a kernel that vanishes fluctuates, and tends to
        nu (l - 1)/n at criticality.
        """
        variance = self.kernel.diagonal()
        spread = self._variances() / self.n_in
        if bool(((variance <= 0) & (spread > 0)).any()):
            return math.inf
        return float(torch.where(variance > 0, spread / variance.clamp(min=1e-300) ** 2, 0.0).max())

    def __repr__(self) -> str:
        parts = [f"layer {self.index}", f"n_in={self.n_in}", f"K_aa={_span(self.kernel.diagonal())}"]
        if self._correction is not None:
            parts.append(f"r={self.relative_fluctuation:.3g}")
        return f"FlowLayer({', '.join(parts)})"


def _span(values: Tensor) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g}..{high:.4g}"


@result_schema("flow", version=1)
class Flow(Result):
    """The representation group flow of a network on N inputs: ``flow[l]`` for l = 1..L, ``flow[-1]`` the output.

    Attributes
    ----------
    network
        What was asked about.
    x
        Inputs, shape (N, n_0), float64.
    order
        Highest order of 1/n computed.
    error
        Largest error estimate of an expectation, relative to its Cauchy-Schwarz bound.
    """

    def __init__(self, network: LayerMaps, x: Tensor, layers: tuple[FlowLayer, ...], order: int, error: float) -> None:
        self.network = network
        self.x = x
        self._layers = layers
        self.order = order
        self.error = error

    @property
    def tangent(self) -> bool:
        """Whether the neural tangent kernel was computed."""
        return self._layers[0]._ntk is not None

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[FlowLayer]:
        return iter(self._layers)

    def __getitem__(self, layer: int) -> FlowLayer:
        if not isinstance(layer, int):
            raise TypeError(f"layer must be a whole number from 1 to {len(self)}, got {type(layer).__name__}")
        if layer == 0 or layer > len(self) or layer < -len(self):
            raise IndexError(f"layer {layer} does not exist; layers are 1 to {len(self)}, or -1 for the output")
        return self._layers[layer - 1 if layer > 0 else layer]

    def __repr__(self) -> str:
        what = ["kernel"] + (["vertex", "kernel_correction"] if self.order else []) + (["ntk"] if self.tangent else [])
        text = f"Flow(depth={len(self)}, inputs={len(self.x)}, order={self.order}: {', '.join(what)})"
        if self.order:
            text += f" r_L={self[-1].relative_fluctuation:.3g}"
        return text

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{layer.index}</td><td>{layer.n_in}</td><td>{_span(layer.kernel.diagonal())}</td>"
            + (f"<td>{layer.relative_fluctuation:.3g}</td>" if self.order else "")
            + "</tr>"
            for layer in self
        )
        last = "<th>V/(n K&sup2;)</th>" if self.order else ""
        return (
            f"<table><caption>{self!r}</caption><tr><th>layer</th><th>n<sub>in</sub></th><th>K<sub>aa</sub></th>{last}</tr>"
            f"{rows}</table>"
        )

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset`` with dimensions layer, a, b (and c, d for the vertex)."""
        import xarray as xr

        layers = [layer.index for layer in self]
        data: dict[str, tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.float64]]]] = {
            "kernel": (("layer", "a", "b"), _stack(layer.kernel for layer in self))
        }
        if self.order:
            data["vertex"] = (("layer", "a", "b", "c", "d"), _stack(layer.vertex for layer in self))
            data["kernel_correction"] = (("layer", "a", "b"), _stack(layer.kernel_correction for layer in self))
        if self.tangent:
            data["ntk"] = (("layer", "a", "b"), _stack(layer.ntk for layer in self))
        return xr.Dataset(
            {name: (dims, values) for name, (dims, values) in data.items()},
            coords={"layer": layers, "n_in": ("layer", [layer.n_in for layer in self])},
            attrs={"order": self.order},
        )

    def _payload(self) -> Payload:
        if not isinstance(self.network, Network):
            raise TypeError(f"only the flow of a Network can be saved, this one is of a {type(self.network).__name__}")
        arrays = {"x": self.x.cpu().numpy(), "kernel": _stack(layer.kernel for layer in self)}
        if self.order:
            arrays["vertex_by_pairs"] = _stack(layer._vertex for layer in self if layer._vertex is not None)
            arrays["correction_by_pairs"] = _stack(layer._correction for layer in self if layer._correction is not None)
        if self.tangent:
            arrays["ntk"] = _stack(layer.ntk for layer in self)
        return Payload(arrays, {"network": self.network.to_dict(), "order": self.order, "error": self.error})

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, ActivationLike] | None = None) -> Flow:
        network = Network.from_dict(payload.meta["network"], activations)
        arrays = {name: torch.from_numpy(np.array(values)) for name, values in payload.arrays.items()}

        def entry(name: str, number: int) -> Tensor | None:
            return arrays[name][number] if name in arrays else None

        layers = tuple(
            FlowLayer(
                number + 1,
                layer.n_in,
                layer.n_out,
                arrays["kernel"][number],
                entry("vertex_by_pairs", number),
                entry("correction_by_pairs", number),
                entry("ntk", number),
            )
            for number, layer in enumerate(network.layers)
        )
        return cls(network, arrays["x"], layers, int(payload.meta["order"]), float(payload.meta["error"]))


def _stack(tensors: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.stack([tensor.cpu().numpy() for tensor in tensors])


KernelsT = TypeVar("KernelsT")


class _Default(int):
    """A default that can be told from the same number passed in: a graph's own is 0."""


_ORDER = _Default(1)


@overload
def flow(
    network: LayerMaps,
    x: Any,
    order: int = _ORDER,
    tangent: bool = False,
    device: torch.device | str | None = None,
    progress: bool | None = None,
    measure: None = None,
) -> Flow: ...


@overload
def flow(
    network: NodeMaps[KernelsT],
    x: Any,
    order: int = _ORDER,
    tangent: bool = False,
    device: torch.device | str | None = None,
    progress: bool | None = None,
    measure: Any = None,
) -> KernelsT: ...


def flow(
    network: LayerMaps | NodeMaps[Any],
    x: Any,
    order: int = _ORDER,
    tangent: bool = False,
    device: torch.device | str | None = None,
    progress: bool | None = None,
    measure: Any = None,
) -> Any:
    """Kernel, four-point vertex and next-to-leading kernel of every layer, for N inputs at once; kernels of a graph.

    Parameters
    ----------
    network
        A :class:`Network`, or anything with its ``layers``, ``depth`` and ``widths``; or a graph, as ``rf.trace``
        returns for a module that is no chain.
    x
        Inputs, shape (N, n_0), NumPy or torch. They may repeat, be collinear or zero, and N may exceed n_0. For a
        graph, what its module takes: a tensor, a tuple of arguments or a dictionary of keywords.
    order
        0 for the infinite-width kernel, 1 for the first order in 1/n: ``vertex`` and ``kernel_correction``, of N^4 and
        N^2 entries a layer. Not given: 1 for a chain of layers, 0 for a graph.
    tangent
        Also the infinite-width neural tangent kernel ``ntk``. Its corrections in 1/n are not computed.
    device
        Where to compute; the device of ``x``, or the CPU, unless given. Results stay there. A graph's theory runs on
        the CPU.
    progress
        Whether to show a progress bar on stderr; None: on a terminal, for order 1.
    measure
        For a graph: gives the kernels of the nodes that no rule covers (attention, batch norm, ...).

    Returns
    -------
    Flow
        ``flow[l]`` is layer l = 1..L. For a graph a ``GraphFlow``: ``flow["name"]`` is a node.

    Raises
    ------
    TypeError, ValueError
        ``network``, ``x`` or ``order`` is not of the form above, or order 1 or the tangent kernel is asked of a graph
        that is no chain (the message names the step).
    MemoryError
        The tensors of order 1 would not fit; the message has the bytes needed and what to call instead.

    Notes
    -----
    One layer maps K' = C_b + C_W <s s>_K; V and G1 follow from the covariance of a single neuron and the derivatives
    of that map, see :mod:`repflow.recursion.forward`. Source: PDLT chapter 4, rewritten without the kernel's inverse.
    """
    if isinstance(network, NodeMaps):
        if order is _ORDER:
            order = 0
        if isinstance(order, bool) or order not in (0, 1):
            raise ValueError(f"order must be 0 or 1, got {order!r}")
        if order == 0 and not tangent:
            return network.kernels(x, measure)
        network, x = _chain_of(network, x, "tangent=True" if order == 0 else "order=1")
    elif measure is not None:
        raise ValueError("measure is for graphs: every layer of a chain has its kernel from theory")
    check_network(network)
    if isinstance(order, bool) or order not in (0, 1):
        raise ValueError(f"order must be 0 or 1, got {order!r}")
    inputs = as_inputs(x, network.widths[0], device)
    if order:
        pairs = Pairs(len(inputs), inputs.device).count
        # One P x P matrix a layer is kept, ten more are in use at a time: moments, their index table, both sides of
        # the map.
        require(
            8 * pairs**2 * (network.depth + 10),
            f"order=1 for {len(inputs)} inputs and {network.depth} layers",
            "use order=0, vertex_at(network, x, quadruples) for chosen components, "
            "or kernel_fluctuation(network, x, A) for tr(A G)",
        )
    layers = network.layers
    state = first_layer(layers[0], inputs, order, tangent)
    found = [_layer(1, network, state)]
    shown = progress if order or progress else False
    with progress_bar(shown, "theory, layer by layer", len(layers), 1) as advance:
        for number in range(1, len(layers)):
            activation = layers[number - 1].activation
            assert activation is not None
            state = next_layer(state, layers[number], activation, layers[number - 1].n_in)
            if not activation.registered:
                state.error = max(state.error, quadrature_error(activation, found[-1].kernel.diagonal()))
            _check_finite(state, number + 1, activation.name)
            found.append(_layer(number + 1, network, state))
            advance(number + 1)
    if state.error > ERROR_LIMIT:
        warnings.warn(
            f"expectations of the activation are uncertain to {state.error:.1e} of their bound "
            f"(limit {ERROR_LIMIT:.0e}): it varies too quickly, or jumps, for the quadrature",
            stacklevel=2,
        )
    return Flow(network, inputs, tuple(found), int(order), state.error)


def _chain_of(graph: NodeMaps[Any], x: Any, what: str) -> tuple[LayerMaps, Any]:
    try:
        return graph.as_chain(x)
    except ValueError as error:
        raise ValueError(f"{what} needs a chain of layers, and this graph gives order 0 only: {error}") from error


def _check_finite(state: State, number: int, name: str) -> None:
    """Raise ValueError where a layer's statistics overflowed, or the activation has no finite derivative."""
    for what, tensor in (("kernel", state.kernel), ("vertex", state.vertex), ("kernel correction", state.correction)):
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"the {what} of layer {number} is not finite: signals overflow (smaller C_W or fewer layers), or the "
                f"activation {name!r} or one of its derivatives is not finite where they reach"
            )


def _layer(index: int, network: LayerMaps, state: State) -> FlowLayer:
    layer = network.layers[index - 1]
    return FlowLayer(index, layer.n_in, layer.n_out, state.kernel, state.vertex, state.correction, state.ntk)
