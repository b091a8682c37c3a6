"""Tangent kernels and the response of the last features, against autograd's own Jacobians."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, jvp

from repflow.empirical import kernels as module_under_test
from repflow.empirical.call import as_call
from repflow.empirical.kernels import tangent_kernels
from repflow.empirical.reach import reaches
from repflow.empirical.response import Features, response
from repflow.empirical.sharpness import largest_tangent_eigenvalue
from repflow.empirical.twin import Twin


def learning(module):
    return {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}


def averaged(module, x, draws, **options):
    twin, values = Twin(module), learning(module)
    found = [
        tangent_kernels(twin, values, as_call(x), torch.Generator().manual_seed(i), **options) for i in range(draws)
    ]
    return {name: torch.stack([kernels[name] for kernels in found]).mean(0) for name in values}


def exact(module, x):
    values = {name: p.detach() for name, p in module.named_parameters()}
    jacobians = jacrev(lambda p: functional_call(module, p, (x,)))(values)
    return {name: torch.einsum("aip,bip->ab", *[j.flatten(2)] * 2) / j.shape[1] for name, j in jacobians.items()}


def test_tangent_kernels_of_a_residual_network(residual, x):
    expected, found = exact(residual, x[:4]), averaged(residual, x[:4], 120)
    for name, kernel in expected.items():
        assert torch.allclose(found[name].float(), kernel, atol=0.15 * float(kernel.diagonal().max())), name


def test_a_module_that_takes_no_single_row_is_measured_by_batch(x):
    class Batch(nn.Linear):
        def forward(self, inputs):
            if len(inputs) == 1:
                raise RuntimeError("no batch of one")
            return super().forward(inputs)

    torch.manual_seed(0)
    module = Batch(6, 2)
    plain = nn.Linear(6, 2)
    plain.load_state_dict(module.state_dict())
    for name, kernel in averaged(plain, x, 1).items():
        assert torch.allclose(averaged(module, x, 1)[name], kernel, rtol=1e-5)


def test_large_tensors_are_sampled_without_bias(x, monkeypatch):
    torch.manual_seed(0)
    module = nn.Linear(6, 50)
    whole = averaged(module, x[:4], 200)["weight"]
    monkeypatch.setattr(module_under_test, "ENTRIES", 60)
    assert torch.allclose(averaged(module, x[:4], 400)["weight"], whole, atol=0.15 * float(whole.diagonal().max()))


def test_outputs_that_are_no_rows_are_refused(x):
    class Sum(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs).sum()

    with pytest.raises(ValueError, match="model must return one row of outputs a row of x"):
        tangent_kernels(Twin(Sum(6, 2)), learning(Sum(6, 2)), as_call(x), torch.Generator())


def test_response_is_the_derivative_of_the_features(residual, x):
    values = {name: p.detach() for name, p in residual.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    direction = {name: torch.randn(p.shape, generator=generator) for name, p in values.items() if "head" not in name}

    def features(p):
        return functional_call(headless, p, (x,))

    headless = nn.Module()
    for name, part in residual.named_children():
        headless.add_module(name, part)
    headless.head = nn.Identity()
    headless.forward = type(residual).forward.__get__(headless)
    inner = {name: p for name, p in values.items() if "head" not in name}
    h, change = jvp(features, (inner,), (direction,))
    expected = float(change.norm() / h.norm())
    assert response(Twin(residual), values, as_call(x), direction, Features("head")) == pytest.approx(
        expected, rel=0.01
    )
    assert response(Twin(residual), values, as_call(x), {}, Features("head")) == 0.0


def test_reach_of_one_tensor_is_its_response(residual, x):
    twin, values = Twin(residual), learning(residual)
    step = torch.randn(16, 16, generator=torch.Generator().manual_seed(2))
    one = response(twin, values, as_call(x), {"branches.1.1.weight": step}, Features("head"))
    found = reaches(
        twin, values, as_call(x), Features("head"), {"branches.1.1.weight": [step, 2 * step], "head.bias": [torch.ones(3)]},
        torch.Generator().manual_seed(0), functionals=400,
    )  # fmt: skip
    assert found["branches.1.1.weight"] == pytest.approx([one, 2 * one], rel=0.15)
    assert found["head.bias"] == [0.0]


def test_largest_eigenvalue_over_all_outputs(residual, x):
    rates = {name: 0.5 + 0.1 * i for i, (name, _) in enumerate(residual.named_parameters())}
    values = {name: p.detach() for name, p in residual.named_parameters()}
    jacobians = jacrev(lambda p: functional_call(residual, p, (x,)))(values)
    flat = {name: j.flatten(2).flatten(0, 1) for name, j in jacobians.items()}
    expected = float(torch.linalg.eigvalsh(sum(rates[name] * j @ j.T for name, j in flat.items()))[-1])
    twin, found = Twin(residual), learning(residual)
    top = largest_tangent_eigenvalue(twin, found, as_call(x), rates, torch.Generator().manual_seed(0))
    assert top == pytest.approx(expected, rel=0.02)
    assert largest_tangent_eigenvalue(twin, found, as_call(x), {}, torch.Generator()) == 0.0


def test_the_kernel_of_several_positions_is_that_of_their_mean(x):
    class Positions(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs.view(-1, 3, 2))

    class Mean(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs.view(-1, 3, 2)).mean(1)

    torch.manual_seed(0)
    several, mean = Positions(2, 4), Mean(2, 4)
    mean.load_state_dict(several.state_dict())
    for name, kernel in averaged(mean, x, 1).items():
        assert torch.allclose(averaged(several, x, 1)[name], kernel, rtol=1e-4)
