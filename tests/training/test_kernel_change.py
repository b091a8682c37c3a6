"""The measurement: against automatic differentiation network by network, and its own invariants."""

import numpy as np
import pytest
import torch

import repflow as rf
from repflow.training.full_batch import Stack, gradient_step, hidden_kernels, mean_tangent_kernel, outputs_of
from repflow.training.kernel_change import kernel_change

RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 2))
NETWORK = rf.mlp([4, 6, 5, 2], activation="gelu", C_W=1.5, C_b=0.3, lambda_W=0.6, lambda_b=1.7)


def one_network(seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(1, l.n_out, l.n_in, generator=generator, dtype=torch.float64) / 2 for l in NETWORK.layers]
    biases = [torch.randn(1, l.n_out, generator=generator, dtype=torch.float64) / 2 for l in NETWORK.layers]
    return Stack(NETWORK.layers, weights, biases)


def forward(parameters, x):
    for number, layer in enumerate(NETWORK.layers):
        x = x @ parameters[2 * number][0].T + parameters[2 * number + 1][0]
        if layer.activation is not None:
            x = torch.nn.functional.gelu(x)
    return x


def test_a_step_and_the_tangent_kernel_are_those_of_automatic_differentiation():
    stack, x, y = one_network(), torch.from_numpy(X), torch.from_numpy(Y)
    leaves = [p.clone().requires_grad_() for pair in zip(stack.weights, stack.biases) for p in pair]
    factors = [f for l in NETWORK.layers for f in (l.lambda_W / l.n_in, l.lambda_b)]
    jacobians = torch.autograd.functional.jacobian(lambda *p: forward(p, x), tuple(leaves))
    ntk = sum(f * torch.einsum("aip,bip->ab", j.flatten(2), j.flatten(2)) for f, j in zip(factors, jacobians)) / 2
    torch.testing.assert_close(mean_tangent_kernel(stack, x)[0], ntk)
    loss = 0.5 * ((forward(leaves, x) - y) ** 2).sum(1).mean()
    gradients = torch.autograd.grad(loss, leaves)
    torch.testing.assert_close(outputs_of(stack, x)[0], forward(leaves, x).detach())
    gradient_step(stack, x, y, 0.1)
    after = [p for pair in zip(stack.weights, stack.biases) for p in pair]
    for leaf, gradient, factor, moved in zip(leaves, gradients, factors, after):
        torch.testing.assert_close(moved, (leaf - 0.1 * factor * gradient).detach())


def test_hidden_kernels_are_means_over_neurons():
    stack, x = one_network(), torch.from_numpy(X)
    z = x @ stack.weights[0][0].T + stack.biases[0][0]
    torch.testing.assert_close(hidden_kernels(stack, x)[0, 0], z @ z.T / 6)


def change(networks=64, seed=3, x=X, y=Y, **more):
    given = {"learning_rate": 0.2, "steps": 3, "networks": networks, "seed": seed, "progress": False} | more
    return kernel_change(NETWORK, x, y, **given)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    one, two, other = change(), change(), change(seed=4)
    np.testing.assert_array_equal(one.kernels, two.kernels)
    np.testing.assert_array_equal(one.covariance, two.covariance)
    assert not np.array_equal(one.ntk, other.ntk)


def test_rotated_inputs_give_the_same_change_on_average():
    rotation = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    one, turned = change(2000), change(2000, x=X @ rotation, seed=9)
    error = np.hypot(one.ntk_stderr, turned.ntk_stderr)
    assert (np.abs(one.ntk - turned.ntk) < 5 * error).all()


def test_standard_errors_are_those_of_independent_runs():
    runs = [change(32, seed=seed) for seed in range(40)]
    spread = np.std([run.ntk for run in runs], axis=0, ddof=1)
    stated = np.sqrt(np.mean([run.ntk_stderr**2 for run in runs], axis=0))
    np.testing.assert_allclose(spread, stated, rtol=0.5)


def test_nothing_moves_without_steps():
    found = change(steps=0)
    assert not found.kernels.any()
    assert not found.norms()[0].any()
    assert found.loss[0] == found.loss[1]


def test_networks_that_diverge_are_left_out_or_refused():
    with pytest.raises(ValueError, match="learning_rate"):
        change(learning_rate=1e8, steps=60)
    with pytest.raises(ValueError, match="even number"):
        change(networks=5)


def test_targets_of_random_labels_differ_between_networks():
    assert change(y=None).loss[0] > 0.5
