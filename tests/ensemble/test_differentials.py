"""dNTK and ddNTK of real networks against automatic differentiation over all parameters, and against closed forms."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch.func import jacfwd, jacrev, jvp, vmap

from repflow.activation import as_activation
from repflow.ensemble.differentials import NAMES, differentials
from repflow.network import Layer, Network


def _network(widths, activation="tanh", lambda_W=None, lambda_b=None):
    last = len(widths) - 2
    sigma = as_activation(activation)
    lambda_W = lambda_W or [1.0 + 0.3 * l for l in range(last + 1)]
    lambda_b = lambda_b or [0.5 + 0.2 * l for l in range(last + 1)]
    return Network(
        tuple(
            Layer(widths[l], widths[l + 1], 1.3, 0.2, lambda_W[l], lambda_b[l], sigma if l < last else None)
            for l in range(last + 1)
        )
    )


def _draw(network, count, inputs, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    weights = [normal(count, l.n_out, l.n_in) * (l.C_W / l.n_in) ** 0.5 for l in network.layers]
    biases = [normal(count, l.n_out) * l.C_b**0.5 for l in network.layers]
    return weights, biases, normal(inputs, network.widths[0])


def _function(network, weights, biases, x):
    """One network as a function of its flattened parameters, the parameters, and lambda of each."""
    tensors = [t for pair in zip(weights, biases, strict=True) for t in pair]
    rates = [r for l in network.layers for r in (l.lambda_W / l.n_in, l.lambda_b)]
    flat = torch.cat([t.reshape(-1) for t in tensors])
    learning = torch.cat(
        [torch.full((t.numel(),), r, dtype=torch.float64) for t, r in zip(tensors, rates, strict=True)]
    )

    def outputs(theta):
        pieces = iter(theta.split([t.numel() for t in tensors]))
        s = x
        for layer in network.layers:
            weight, bias = next(pieces).reshape(layer.n_out, layer.n_in), next(pieces)
            s = s @ weight.T + bias
            if layer.activation is not None:
                s = layer.activation.function(s)
        return s.T

    return outputs, flat, learning


def _from_tensors(network, weights, biases, x, outputs):
    """P to U of one network from all second and third derivatives with respect to its parameters."""
    function, theta, learning = _function(network, weights, biases, x)
    z, first = function(theta), jacrev(function)(theta)
    second = jacfwd(jacrev(function))(theta)
    third = jacfwd(jacfwd(jacrev(function)))(theta)
    g = first * learning
    h = torch.einsum("ixab,jyb->ijxya", second, g)
    dh = torch.einsum("ijxya,kza->ijxykz", h, g)
    sums = dict.fromkeys(NAMES, 0.0)
    for i, j in permutations(range(outputs), 2):
        sums["P"] += torch.einsum("abc,d->abcd", dh[i, j, :, :, j], z[i])
        sums["Q"] += torch.einsum("abc,d->abcd", dh[i, i, :, :, j], z[j])
        sums["R"] += torch.einsum("apqr,bp,cq,dr->abcd", third[i], g[i], g[j], g[j])
        sums["S"] += torch.einsum("acp,bdp,p->abcd", h[i, j], h[i, j], learning)
        sums["T"] += torch.einsum("abp,cdp,p->abcd", h[i, i], h[j, j], learning)
        sums["U"] += torch.einsum("adp,cbp,p->abcd", h[i, j], h[j, i], learning)
    return {name: value / (outputs * (outputs - 1)) for name, value in sums.items()}


def _from_directions(network, weights, biases, x):
    """P, Q, R of one network by nested Jacobian-vector products along gradients, for networks of two outputs."""
    function, theta, learning = _function(network, weights, biases, x)
    z = function(theta)
    g = jacrev(function)(theta) * learning

    def along(f, direction):
        return lambda at: jvp(f, (at,), (direction,))[1]

    def second(a, b):
        return along(along(function, a), b)(theta)

    def third(a, b, c):
        return along(along(along(function, a), b), c)(theta)

    def pairs(a, b):
        return vmap(lambda p: vmap(lambda q: second(p, q))(b))(a)

    def triples(a, b):
        return vmap(lambda p: vmap(lambda q: vmap(lambda r: third(p, q, r))(b))(b))(a)

    sums = dict.fromkeys("PQR", 0.0)
    for i, j in ((0, 1), (1, 0)):
        sums["P"] += torch.einsum("bca,d->abcd", pairs(g[j], g[j])[:, :, i], z[i]) / 2
        sums["Q"] += torch.einsum("bca,d->abcd", pairs(g[i], g[j])[:, :, i], z[j]) / 2
        sums["R"] += triples(g[i], g[j])[:, :, :, i].permute(3, 0, 1, 2) / 2
    return sums


@pytest.mark.parametrize(
    ("widths", "activation", "inputs"),
    [
        ((3, 4, 2), "tanh", 2),
        ((2, 4, 3, 3), "silu", 2),
        ((3, 4, 5, 3, 2), "tanh", 3),
        ((3, 1, 4, 2), "silu", 3),
        ((2, 5, 2), "monomial:3", 1),
    ],
)
def test_equals_all_derivatives_over_all_parameters(widths, activation, inputs):
    network = _network(widths, activation)
    weights, biases, x = _draw(network, 3, inputs)
    measured = differentials(network, weights, biases, x)
    assert tuple(measured) == NAMES
    for k in range(3):
        expected = _from_tensors(network, [w[k] for w in weights], [b[k] for b in biases], x, widths[-1])
        for name in NAMES:
            scale = expected[name].abs().max()
            assert scale > 0, name
            assert (measured[name][k] - expected[name]).abs().max() <= 1e-12 * scale, name


def test_equals_nested_jacobian_vector_products():
    network = _network((3, 6, 5, 2), "gelu")
    weights, biases, x = _draw(network, 1, 2)
    measured = differentials(network, weights, biases, x)
    expected = _from_directions(network, [w[0] for w in weights], [b[0] for b in biases], x)
    for name, value in expected.items():
        torch.testing.assert_close(measured[name][0], value, rtol=1e-10, atol=1e-12)


def test_a_chosen_number_of_outputs_is_the_first_ones():
    network = _network((2, 4, 6), "tanh")
    weights, biases, x = _draw(network, 1, 2)
    first = [w[0] for w in weights], [b[0] for b in biases]
    for outputs, asked in ((2, 2), (4, None), (6, 6)):
        measured = differentials(network, weights, biases, x, asked)
        expected = _from_tensors(network, *first, x, outputs)
        for name in NAMES:
            torch.testing.assert_close(measured[name][0], expected[name], rtol=1e-11, atol=1e-13)


def test_deep_linear_network_of_two_layers_in_closed_form():
    # z = V (W x + b) + c; the Hessian couples V with W, b alone, third derivatives vanish
    network = _network((3, 5, 2), "identity", [1.4, 0.8], [0.6, 0.3])
    weights, biases, x = _draw(network, 4, 3)
    (W, V), (b, _) = weights, biases
    measured = differentials(network, weights, biases, x)
    s = torch.einsum("bnk,xk->bxn", W, x) + b[:, None]
    z = torch.einsum("bin,bxn->bix", V, s) + biases[1][:, :, None]
    kappa = 1.4 / 3 * x @ x.T + 0.6
    rate = 0.8 / 5
    overlap = torch.einsum("bin,bjn->bij", V, V)

    def dh(i0, i1, i2):
        """dV_1 (dW_2 x + db_2) with dV_1 = rate s_1 in row i1, dW_2 x_0 + db_2 = kappa_02 V_i2, and 1 <-> 2."""
        one = torch.einsum("ac,bn,bkn->bkac", kappa, V[:, i2], s) * (i0 == i1)
        two = torch.einsum("ab,xn,xkn->xkab", kappa, V[:, i1], s) * (i0 == i2)
        return rate * (one.permute(0, 2, 1, 3) + two.permute(0, 2, 3, 1))

    P = sum(torch.einsum("nabc,nd->nabcd", dh(i, j, j), z[:, i]) for i, j in ((0, 1), (1, 0))) / 2
    Q = sum(torch.einsum("nabc,nd->nabcd", dh(i, i, j), z[:, j]) for i, j in ((0, 1), (1, 0))) / 2
    assert P.abs().max() == 0
    torch.testing.assert_close(measured["P"], P, rtol=0, atol=1e-14)
    torch.testing.assert_close(measured["Q"], Q, rtol=1e-12, atol=1e-13)
    assert measured["R"].abs().max() < 1e-14
    # h_{i;1|j;3}: in row i of V kappa_13 V_j, and in (W, b), for i = j alone, rate s_3 times (x_1, 1)
    S = rate * torch.einsum("ac,bd,n->nabcd", kappa, kappa, (overlap[:, 0, 0] + overlap[:, 1, 1]) / 2)
    torch.testing.assert_close(measured["S"], S, rtol=1e-12, atol=1e-14)
    T = torch.einsum("ac,nbk,ndk->nabcd", kappa, s, s) * rate**2
    # e_{i;1} moves by dV_i = rate s_3 whatever i is: the hidden layer gives kappa_12 (rate s_3) . (rate s_4)
    torch.testing.assert_close(measured["T"], T, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(measured["U"], torch.zeros_like(T), rtol=0, atol=1e-14)


def test_symmetries_and_permuted_inputs():
    network = _network((3, 6, 5, 3), "silu")
    weights, biases, x = _draw(network, 2, 3)
    measured = differentials(network, weights, biases, x)
    for name, axes in (
        ("P", (0, 1, 3, 2, 4)),
        ("R", (0, 1, 2, 4, 3)),
        ("S", (0, 2, 1, 4, 3)),
        ("T", (0, 3, 4, 1, 2)),
        ("U", (0, 3, 4, 1, 2)),
    ):
        torch.testing.assert_close(measured[name], measured[name].permute(axes), rtol=1e-11, atol=1e-14)
    order = [2, 0, 1]
    again = differentials(network, weights, biases, x[order])
    for name in NAMES:
        expected = measured[name][:, order][:, :, order][:, :, :, order][:, :, :, :, order]
        torch.testing.assert_close(again[name], expected, rtol=1e-11, atol=1e-14)


def test_bits_do_not_depend_on_the_batch(monkeypatch):
    network = _network((3, 7, 13, 3), "gelu")
    weights, biases, x = _draw(network, 20, 3)
    reference = differentials(network, weights, biases, x)
    monkeypatch.setattr("repflow.ensemble.differentials._BATCH_NUMBERS", 1)
    for part in (slice(0, 1), slice(3, 8), slice(None)):
        alone = differentials(network, [w[part] for w in weights], [b[part] for b in biases], x)
        for name in NAMES:
            assert torch.equal(alone[name], reference[name][part]), name


def test_one_layer_does_not_move():
    network = _network((3, 2))
    weights, biases, x = _draw(network, 2, 2)
    for value in differentials(network, weights, biases, x).values():
        assert value.shape == (2, 2, 2, 2, 2)
        assert not value.any()


def test_what_is_refused():
    network = _network((3, 4, 2))
    weights, biases, x = _draw(network, 2, 2)
    for activation, point in (("relu", "0"), ("hardtanh", "-1, 1"), ("elu", "0")):
        with pytest.raises(ValueError, match=f"'{activation}.*' of layer 1 is not smooth at {point}; dNTK and"):
            differentials(_network((3, 4, 2), activation), weights, biases, x)
    with pytest.raises(ValueError, match=r"outputs must be a whole number from 2 to the network's 2 outputs, got 3"):
        differentials(network, weights, biases, x, 3)
    one = _network((3, 4, 1))
    with pytest.raises(ValueError, match="pairs of different outputs"):
        differentials(one, *_draw(one, 1, 2))
    with pytest.raises(ValueError, match=r"x must be a tensor of shape \(N, 3\), got \(2, 2\)"):
        differentials(network, weights, biases, x[:, :2])
    with pytest.raises(ValueError, match="weights must hold one tensor for each of 2 layers, got 1"):
        differentials(network, weights[:1], biases, x)
    with pytest.raises(ValueError, match=r"biases\[1\] must have the shape \(2, 2\), got \(1, 2\)"):
        differentials(network, weights, [biases[0], biases[1][:1]], x)
    with pytest.raises(TypeError, match="network must be a repflow Network"):
        differentials("net", weights, biases, x)
