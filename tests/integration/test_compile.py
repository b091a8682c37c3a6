"""torch.compile renames parameters (``_orig_mod.``); a plan applies before, after and inside."""

import pytest
import torch
from tests.integration.setting import generator, make, rates, train, values
from torch import nn

import repflow as rf

STEPS = 5


def plain_run(x, y, name="sgd", kind=torch.optim.SGD):
    """Weights and losses without torch.compile."""
    model = make()
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    losses = train(model, kind(plan.param_groups(model, optimizer=name)), x, y, STEPS)
    return plan, values(model), losses


@pytest.mark.parametrize("order", ["plan, then compile", "compile, then plan", "compile in place", "compile a part"])
def test_training_is_that_of_the_plain_model(order, x, y):
    plan, expected, losses = plain_run(x, y)
    model = make()
    if order == "plan, then compile":
        plan.initialize_(model, generator())
        groups = plan.param_groups(model)
        run = torch.compile(model, backend="eager")
    else:
        run = model
        if order == "compile, then plan":
            run = torch.compile(model, backend="eager")
            assert all(name.startswith("_orig_mod.") for name, _ in run.named_parameters())
            run(x)  # compiled by now
        elif order == "compile in place":
            model.compile(backend="eager")
        else:
            model[2] = torch.compile(model[2], backend="eager")
            assert "2._orig_mod.weight" in dict(model.named_parameters())
        assert plan.initialize_(run, generator()) is run
        groups = plan.param_groups(run)
    found = train(run, torch.optim.SGD(groups), x, y, STEPS)
    assert found == pytest.approx(losses, rel=1e-9)
    for a, b in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(a.detach(), b, rtol=1e-7, atol=1e-10)


def test_tuning_a_compiled_model_is_tuning_the_model(x, y):
    model = make()
    plain = rf.tune(model, x, y)
    compiled = torch.compile(model, backend="eager")
    assert rf.tune(compiled, x, y).to_json() == plain.to_json()
    compiled(x)
    assert rf.tune(compiled, x, y).to_json() == plain.to_json()
    # and a plan of the compiled model applies to the bare one
    assert rates(rf.tune(compiled, x, y).param_groups(model), model) == rates(plain.param_groups(model), model)


def test_another_compiled_model_is_refused_by_the_names_that_the_user_knows(x):
    plan = rf.tune(make(), x)
    with pytest.raises(ValueError, match=r"parameter '6.weight' has shape \(4, 40\)"):
        plan.param_groups(torch.compile(nn.Sequential(*make()[:-1], nn.Linear(40, 4))))


@pytest.mark.slow
def test_compiled_by_inductor(x, y):
    plan, expected, losses = plain_run(x, y, "adamw", torch.optim.AdamW)
    model = make()
    compiled = torch.compile(model)
    plan.initialize_(compiled, generator())
    optimizer = torch.optim.AdamW(plan.param_groups(compiled, optimizer="adamw"))
    try:
        found = train(compiled, optimizer, x, y, STEPS)
    except torch._dynamo.exc.BackendCompilerFailed as error:
        pytest.skip(f"torch.compile finds no C++ compiler: {error}")
    assert found == pytest.approx(losses, rel=1e-6)
    for a, b in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(a.detach(), b, rtol=1e-5, atol=1e-8)
