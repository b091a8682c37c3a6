"""The exact recursions that `wick_trees` finds by differentiating one layer, against derivatives of a real network."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tests.recursion.wick_trees import TREES, Forest, one_layer

LAMBDA_W, LAMBDA_B = 0.7, 0.4
WIDTHS = (3, 2, 3, 2)
INPUTS = 4


def _sigma(z: torch.Tensor, order: int = 0) -> torch.Tensor:
    return torch.sin(z + 0.4 + order * math.pi / 2)


def _preactivation(x: torch.Tensor, parameters: torch.Tensor, layers: int) -> torch.Tensor:
    """z of layer `layers`, shape (neurons, inputs), from all parameters in one vector."""
    signal, at = x.T, 0
    for l in range(layers):
        rows, columns = WIDTHS[l + 1], WIDTHS[l]
        weight = parameters[at : at + rows * columns].reshape(rows, columns)
        bias = parameters[at + rows * columns : at + rows * (columns + 1)]
        at += rows * (columns + 1)
        z = bias[:, None] + weight @ signal
        signal = _sigma(z)
    return z


def _tensors(x: torch.Tensor, parameters: torch.Tensor, rates: torch.Tensor, layers: int) -> dict[str, torch.Tensor]:
    """The trees at a layer, axes: neurons of the indices, for inputs 0, 1, 2, ... in every order (axes after them)."""

    def z(theta: torch.Tensor) -> torch.Tensor:
        return _preactivation(x, theta, layers)

    first = torch.func.jacrev(z)
    second = torch.func.jacfwd(first)
    third = torch.func.jacfwd(second)
    root = rates.sqrt()
    j = first(parameters) * root
    jj = second(parameters) * root * root[:, None]
    jjj = third(parameters) * root * root[:, None] * root[:, None, None]
    return {
        "H": torch.einsum("ias,jbs->ijab", j, j),
        "dH": torch.einsum("iast,jbs,kct->ijkabc", jj, j, j),
        "ddI": torch.einsum("iastu,jbs,kct,mdu->ijkmabcd", jjj, j, j, j),
        "ddII": torch.einsum("iast,jbsu,kct,mdu->ijkmabcd", jj, jj, j, j),
    }


@pytest.fixture(scope="module")
def network():
    """The trees of layers 2 and 3 of one network, by automatic differentiation; z of layer 2; the weights of layer 3."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(INPUTS, WIDTHS[0], generator=generator, dtype=torch.float64)
    parameters, rates = [], []
    for l in range(len(WIDTHS) - 1):
        rows, columns = WIDTHS[l + 1], WIDTHS[l]
        parameters.append(torch.randn(rows * (columns + 1), generator=generator, dtype=torch.float64))
        rates.append(torch.full((rows * columns,), LAMBDA_W / columns, dtype=torch.float64))
        rates.append(torch.full((rows,), LAMBDA_B, dtype=torch.float64))
    theta, rate = torch.cat(parameters), torch.cat(rates)
    weight = parameters[2][: WIDTHS[3] * WIDTHS[2]].reshape(WIDTHS[3], WIDTHS[2])
    below, above = (_tensors(x, theta, rate, layers) for layers in (2, 3))
    return below, above, _preactivation(x, theta, 2), weight


@pytest.mark.parametrize("name", ["H", "dH", "ddI", "ddII"])
def test_one_layer_of_a_network(name, network):
    below, above, z, weight = network
    size = TREES[name][0]
    found = torch.zeros((WIDTHS[3],) * size, dtype=torch.float64)
    eye, letters = torch.eye(WIDTHS[3], dtype=torch.float64), "abcd"
    for term in one_layer(Forest.of((name, range(size)))):
        hidden = dict(zip(range(size), "klmp"))
        hidden |= {v: hidden[u] for u, v in term.weight_edges}
        factors = [(letters[v] + hidden[v], weight) for v in term.weights]
        factors += [(hidden[v], _sigma(z[:, v], order)) for v, order in term.orders.items()]
        factors += [(letters[u] + letters[v], eye * LAMBDA_W / WIDTHS[2]) for u, v in term.weight_edges]
        factors += [(letters[u] + letters[v], eye * LAMBDA_B) for u, v in term.bias_edges]
        for tree in term.tensors:
            values = below[tree.name][(..., *tree.vertices)]
            factors.append(("".join(hidden[v] for v in tree.vertices), values))
        equation = ",".join(axes for axes, _ in factors) + "->" + letters[:size]
        found += torch.einsum(equation, *(values for _, values in factors))
    torch.testing.assert_close(found, above[name][(..., *range(size))], rtol=1e-10, atol=1e-10)


def test_the_tensors_are_not_trivial(network):
    """Every tree of every layer that the comparison uses is far from zero."""
    below, above, _, _ = network
    assert all(values.abs().max() > 1e-2 for values in itertools.chain(below.values(), above.values()))
