"""``flow``: the theory of a network on a data set, layer by layer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar, overload

import torch

from repflow.activation import Activation
from repflow.blocks import progress_bar
from repflow.expectation.single import quadrature_error
from repflow.network import LayerMaps, NodeMaps
from repflow.recursion.expansion import HIGHEST, expansion
from repflow.recursion.expansion_result import Expansion
from repflow.recursion.inputs import as_inputs, check_network
from repflow.recursion.layer import FlowLayer
from repflow.recursion.memory import require
from repflow.recursion.result import Flow
from repflow.recursion.step import Statistics, Wanted, first_step, next_step

#: Relative error of an expectation above which the user is warned.
ERROR_LIMIT = 1e-4
#: Share of the last term in a sum above which the user is warned that the series has not settled.
UNSETTLED = 0.1

KernelsT = TypeVar("KernelsT")


#: Squares of it are finite.
_LARGEST = 1e150


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
    differentials: bool | None = None,
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
    differentials: bool | None = None,
) -> KernelsT: ...


def flow(
    network: LayerMaps | NodeMaps[Any],
    x: Any,
    order: int = _ORDER,
    tangent: bool = False,
    device: torch.device | str | None = None,
    progress: bool | None = None,
    measure: Any = None,
    differentials: bool | None = None,
) -> Any:
    """Kernel, vertices and their corrections in every layer, order by order in 1/n, for N inputs at once; kernels of a
    graph.

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
        N^2 entries a layer; 2 also for ``sextic``, ``vertex_correction`` and ``kernel_correction2``, of N^6, N^4 and
        N^2 entries; for one input any order up to 16, for two up to 6: ``flow[l].expansion``, ``flow[l].cumulant(m)``
        and the orders of ``mean_kernel`` and its like. Not given: 1 for a chain of layers, 0 for a graph. With
        P = N (N + 1)/2, order 2 takes about 8 P^3 (8 + L/6) bytes, and its time grows as the number of ways to choose
        six of N inputs: seconds for ten layers up to N = 4, about a second more for each six in each layer above.
    tangent
        Also the neural tangent kernel ``ntk``; from order 1 on its mean's correction ``ntk_correction``, its
        fluctuations ``A``, ``B`` and covariance with the preactivations ``D``, ``F``, each of N^4 entries a layer, all
        at order 1.
    device
        Where to compute; the device of ``x``, or the CPU, unless given. Results stay there. A graph's theory runs on
        the CPU.
    progress
        Whether to show a progress bar on stderr; None: on a terminal, from order 1 on.
    measure
        For a graph: gives the kernels of the nodes that no rule covers (attention, batch norm, ...).
    differentials
        With ``tangent`` from order 1 on, also the dNTK ``P``, ``Q`` and ddNTK ``R``, ``S``, ``T``, ``U``. They need
        activations that are smooth. None: where all are.

    Returns
    -------
    Flow
        ``flow[l]`` is layer l = 1..L. For a graph a ``GraphFlow``: ``flow["name"]`` is a node.

    Raises
    ------
    TypeError, ValueError
        ``network``, ``x`` or ``order`` is not of the form above, or order 1, 2, ... or the tangent kernel is asked of a
        graph that is no chain (the message names the step), ``differentials`` are asked of an activation with a
        kink, or order 2 or the tangent kernel at order 1 of one that jumps.
    MemoryError
        The tensors would not fit; the message has the bytes needed and what to call instead.

    Notes
    -----
    One layer maps K' = C_b + C_W <s s>_K; V and G1 follow from the covariance of a single neuron and the derivatives
    of that map, see :mod:`repflow.recursion.forward`; the tangent kernel in :mod:`repflow.recursion.tangent` and
    :mod:`repflow.recursion.differentials`. Source: PDLT chapters 4, 8 and 11, rewritten without the kernel's inverse.
    Order 2 is in :mod:`repflow.recursion.second_order`, what lies beyond in :mod:`repflow.recursion.expansion`.
    """
    if isinstance(network, NodeMaps):
        if order is _ORDER:
            order = 0
        _check_order(order)
        if order == 0 and not tangent:
            return network.kernels(x, measure)
        network, x = _chain_of(network, x, "tangent=True" if order == 0 else f"order={order}")
    elif measure is not None:
        raise ValueError("measure is for graphs: every layer of a chain has its kernel from theory")
    check_network(network)
    _check_order(order)
    inputs = as_inputs(x, network.widths[0], device)
    activations = [layer.activation for layer in network.layers[:-1] if layer.activation is not None]
    _check_inputs_of_order(order, len(inputs))
    wanted = Wanted(min(int(order), 2), tangent, _differentials(differentials, int(order), tangent, activations))
    _check_jumps(wanted, activations)
    _require_memory(wanted, len(inputs), network.depth)
    layers = network.layers
    state = first_step(layers[0], inputs, wanted)
    _check_finite(state, 1, activations[0].name if activations else "")
    found = [_layer(1, network, state)]
    shown = progress if order or progress else False
    with progress_bar(shown, "theory, layer by layer", len(layers), 1) as advance:
        for number, activation in enumerate(activations, start=1):
            state = next_step(state, layers[number], activation, layers[number - 1].n_in)
            if not activation.registered:
                forward = state.forward
                forward.error = max(forward.error, quadrature_error(activation, found[-1].kernel.diagonal()))
            _check_finite(state, number + 1, activation.name)
            found.append(_layer(number + 1, network, state))
            advance(number + 1)
    error = state.forward.error
    if error > ERROR_LIMIT:
        warnings.warn(
            f"expectations of the activation are uncertain to {error:.1e} of their bound "
            f"(limit {ERROR_LIMIT:.0e}): it varies too quickly, or jumps, for the quadrature",
            stacklevel=2,
        )
    if order > 2:
        series = expansion(network, inputs.cpu(), int(order))
        _warn_unsettled(series)
        found = [replace(layer, _expansion=terms) for layer, terms in zip(found, series, strict=True)]
    return Flow(network, inputs, tuple(found), int(order), error)


def _warn_unsettled(series: Expansion) -> None:
    """Warn where the last terms of mean or covariance are large, or rounding is: the series is asymptotic."""
    worst, place, rounding = 0.0, (0, 0), 0.0
    for layer in series:
        for m in (1, 2):
            terms, noise = layer.terms(m), layer.rounding(m)
            whole = float(terms.sum(0).abs().max()) or 1.0
            last = float(terms[-1].abs().max()) / whole
            if last > worst:
                worst, place = last, (layer.index, m)
            rounding = max(rounding, float(noise.abs().max()) / whole)
    if worst > UNSETTLED:
        index, m = place
        best = series[index].best_order(m)
        what = "mean" if m == 1 else "covariance"
        cut = f"cut it with order={best}" if best < series.order else "take a lower order or wider layers"
        warnings.warn(
            f"the series of the {what} in layer {index} has not settled at order {series.order}: its last term is "
            f"{100 * worst:.2g}% of the sum; {cut}, or take flow[{index}].expansion.resummed({m})",
            stacklevel=3,
        )
    elif rounding > ERROR_LIMIT:
        warnings.warn(
            f"rounding is {100 * rounding:.2g}% of a sum at order {series.order}; take a lower order", stacklevel=3
        )


def _differentials(asked: bool | None, order: int, tangent: bool, activations: Sequence[Activation]) -> bool:
    """Whether the dNTK and ddNTK are to be computed."""
    kinked = [activation.name for activation in activations if not activation.smooth]
    if asked is None:
        return bool(order and tangent and not kinked)
    if not isinstance(asked, bool):
        raise TypeError(f"differentials must be True, False or None, got {asked!r}")
    if asked and not (order and tangent):
        raise ValueError("differentials=True needs order=1 or 2 and tangent=True: dNTK and ddNTK begin at order 1")
    if asked and kinked:
        raise ValueError(
            f"differentials must be False or None for {kinked[0]!r}: dNTK and ddNTK need its third derivative, and it "
            "has a kink; gelu, silu or softplus are smooth"
        )
    return asked


def _check_order(order: Any) -> None:
    """Raise ValueError unless the order is known."""
    if isinstance(order, bool) or order not in range(max(HIGHEST.values()) + 1):
        raise ValueError(
            f"order must be 0, 1 or 2, for one input up to {HIGHEST[1]} and for two up to {HIGHEST[2]}, got {order!r}"
        )


def _check_inputs_of_order(order: int, count: int) -> None:
    """Raise ValueError unless so many inputs have that order."""
    highest = HIGHEST.get(count, 2)
    if order > highest:
        more = "" if count in HIGHEST else f"; one input has orders up to {HIGHEST[1]}, two up to {HIGHEST[2]}"
        raise ValueError(f"order must be at most {highest} for {count} input{'s' * (count != 1)}, got {order}{more}")


def _check_jumps(wanted: Wanted, activations: Sequence[Activation]) -> None:
    """Raise ValueError for order 2, or the tangent kernel at order 1, of an activation that jumps."""
    jumping = [activation.name for activation in activations if not activation.continuous]
    if wanted.order and wanted.tangent and jumping:
        raise ValueError(
            f"tangent=True needs order=0 for {jumping[0]!r}: it jumps, and the fluctuations of the NTK need "
            "<sigma' sigma'>, which does not exist there"
        )
    if wanted.order == 2 and jumping:
        raise ValueError(
            f"order must be 0 or 1 for {jumping[0]!r}: it jumps, and order 2 takes derivatives that do not exist where "
            "inputs are equal or nearly so; tanh and erf are smooth steps"
        )


def _require_memory(wanted: Wanted, n: int, depth: int) -> None:
    """Ask for what the orders keep and use at a time, in units of P x P x P, P x P and N^4 entries."""
    if not wanted.order:
        return
    pairs = n * (n + 1) // 2
    # One P x P matrix a layer is kept, ten more are in use at a time: moments, their index table, both sides of the
    # map. The tangent kernel keeps two and two of N^4, its differentials six of N^4.
    entries = pairs**2 * (depth + 10)
    what, remedies = "order=1", ["order=0", "vertex_at(network, x, quadruples) for chosen components"]
    if wanted.tangent:
        entries += pairs**2 * (2 * depth + 10) + n**4 * (2 * depth + 12)
        what += ", tangent=True"
        remedies = ["fewer inputs", "order=0 for the NTK at infinite width"]
    if wanted.differentials:
        entries += n**4 * (6 * depth + 12)
        what += ", differentials=True"
        remedies.insert(1, "differentials=False")
    if wanted.order == 2:
        # X is kept for i <= j <= k; a step holds the old and the new one, the terms of the new one and their indices.
        entries += pairs**3 * 8 + pairs * (pairs + 1) * (pairs + 2) // 6 * (depth + 4)
        what = what.replace("order=1", "order=2")
        remedies = ["fewer inputs (bytes grow as N^6)", "order=1", *(r for r in remedies if r != "fewer inputs")]
    require(
        8 * entries,
        f"{what} for {n} inputs and {depth} layers",
        f"use {', '.join(remedies)} or kernel_fluctuation(network, x, A) for tr(A G)",
    )


def _chain_of(graph: NodeMaps[Any], x: Any, what: str) -> tuple[LayerMaps, Any]:
    try:
        return graph.as_chain(x)
    except ValueError as error:
        raise ValueError(f"{what} needs a chain of layers, and this graph gives order 0 only: {error}") from error


def _check_finite(state: Statistics, number: int, name: str) -> None:
    """Raise ValueError where a layer's statistics overflowed, or the activation has no finite derivative."""
    for what, tensor in state.tensors():
        if not float(tensor.abs().max()) < _LARGEST:  # NaN too
            raise ValueError(
                f"the {what} of layer {number} is not finite: signals overflow (smaller C_W or fewer layers), or the "
                f"activation {name!r} or one of its derivatives is not finite where they reach"
            )


def _layer(index: int, network: LayerMaps, state: Statistics) -> FlowLayer:
    layer, forward = network.layers[index - 1], state.forward
    tensors = forward.kernel, forward.vertex, forward.correction, forward.ntk
    return FlowLayer(index, layer.n_in, layer.n_out, *tensors, state.tangent, state.differentials, state.second)
