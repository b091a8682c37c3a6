"""``trace``: from an ``nn.Module`` to a ``Network`` where it is a chain, else to a ``Graph``."""

from __future__ import annotations

import math
import warnings
from typing import Any, overload

from torch import Tensor, nn

from repflow.graph.chain import mean_square, read_chain, rows_of
from repflow.graph.graph import Graph, read_graph
from repflow.network import Network
from repflow.wrappers import unwrapped

#: How far a layer's kurtosis may lie from a Gaussian's 3 before ``trace`` says so: in standard errors, and at least
#: this much.
_KURTOSIS_ERRORS, _KURTOSIS_SHIFT = 5.0, 0.3


@overload
def trace(module: nn.Module, example_input: None = None) -> Network: ...


@overload
def trace(module: nn.Module, example_input: Any) -> Network | Graph: ...


def trace(module: nn.Module, example_input: Any = None) -> Network | Graph:
    """A module as a :class:`~repflow.network.Network` if it is a chain, else as a :class:`~repflow.graph.graph.Graph`.

    C_W of a layer is its weights' mean square times the fan-in, C_b the biases' mean square, as they are. Theory of
    the result assumes Gaussian weights: where a chain's weights are clearly not (``nn.Linear``'s own are uniform), a
    warning says so, since that changes the answer at order 1/n. The order 0 of a graph doesn't depend on it.

    Parameters
    ----------
    module
        Any module. It stays as it is: what runs is a copy, at evaluation.
    example_input
        What the module is called with: a tensor (N, ...), a tuple of arguments or a dictionary of keywords, whose
        entries may be None or integer tensors. Not needed for a chain, of which only its shape is looked at.

    Returns
    -------
    Network or Graph

    Raises
    ------
    TypeError, ValueError
        ``module`` is no chain (the message names the step) and there is no ``example_input`` to run it on; it fails on
        it; or it is a chain that has no weights yet or does not take ``example_input``.

    Examples
    --------
    >>> trace(nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 10)))   # doctest: +SKIP
    """
    try:
        chain = read_chain(unwrapped(module) if isinstance(module, nn.Module) else module)
    except ValueError as error:
        if example_input is None:
            raise ValueError(f"{error}; with example inputs, trace(module, x), it becomes a Graph") from error
        return read_graph(module, example_input)
    if example_input is not None:
        rows_of(example_input, chain.widths[0], "example_input")
    network = chain.network()
    odd = [layer.name or "the layer" for layer in chain.layers if _far_from_gaussian(layer.linear.weight)]
    if odd:
        named = odd[0] if len(odd) == 1 else f"{odd[0]} and {len(odd) - 1} more"
        warnings.warn(
            f"the weights of {named} are not Gaussian by their fourth moment: theory assumes that they are, and "
            "differs at order 1/n",
            stacklevel=2,
        )
    return network


def _far_from_gaussian(weight: Tensor) -> bool:
    """Whether the fourth moment over the square of the second is clearly not 3."""
    values = weight.detach().flatten()
    if len(values) < 8:
        return False
    second = mean_square(values)
    if second == 0:
        return False
    kurtosis = mean_square(values**2) / second**2
    return abs(kurtosis - 3.0) > max(_KURTOSIS_SHIFT, _KURTOSIS_ERRORS * math.sqrt(24.0 / len(values)))
