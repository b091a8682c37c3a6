"""Depth and width for a budget: against a search over all of them, and what the design builds."""

import math

import pytest
import torch
from torch import nn

import repflow as rf
from repflow.tuning.shapes import best_shape, count, widest


def optimum(nu, outputs):
    return 4 / ((20 + 3 * outputs) * nu)


@pytest.mark.parametrize(("n_in", "n_out", "budget"), [(64, 10, 20_000), (3, 1, 500), (784, 10, 300_000), (64, 10, 90)])
@pytest.mark.parametrize("nu", [5.0, 2 / 3])
def test_the_shape_is_the_best_of_all(n_in, n_out, budget, nu):
    target = optimum(nu, n_out)
    found = []
    for hidden in range(1, 200):
        width = 0
        while count(n_in, n_out, hidden, width + 1) <= budget:
            width += 1
        if width:
            found.append((abs(math.log(hidden / width / target)), hidden, width))
    _, hidden, width = min(found)
    shape = best_shape(n_in, n_out, budget, target)
    assert (shape.hidden, shape.width) == (hidden, width)


def test_parameters_are_those_of_the_module():
    for hidden, width in ((1, 5), (2, 7), (6, 3)):
        parts = []
        for a, b in zip([4, *[width] * hidden], [width] * hidden):
            parts += [nn.Linear(a, b), nn.ReLU()]
        model = nn.Sequential(*parts, nn.Linear(width, 2))
        assert count(4, 2, hidden, width) == sum(p.numel() for p in model.parameters())
        exact = widest(4, 2, hidden, count(4, 2, hidden, width))
        assert exact is not None
        assert exact.width == width
        below = widest(4, 2, hidden, count(4, 2, hidden, width) - 1)
        assert below is not None
        assert below.width == width - 1


def test_a_design_builds_a_network_that_trains(digits):
    x, y = digits
    found = rf.design(64, 10, parameters=30_000, activation="relu", data=(x, y.argmax(1)), loss="cross_entropy")
    assert found.optimum == pytest.approx(optimum(5.0, 10))
    assert found.parameters <= 30_000
    model = found.module(torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in model.parameters()) == found.parameters
    assert (found.depth, len(found.widths)) == (found.shape.hidden + 1, found.depth + 1)
    assert found.network().widths == found.widths
    assert found.fluctuation**2 == pytest.approx(5.0 * found.aspect_ratio, rel=0.1)
    assert found.plan.loss == "cross_entropy"
    optimizer = torch.optim.Adam(found.plan.param_groups(model, optimizer="adam"))
    x, y = x.float(), y.argmax(1)
    before = nn.functional.cross_entropy(model(x), y).item()
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert nn.functional.cross_entropy(model(x), y).item() < 0.5 * before
    again = found.module(torch.Generator().manual_seed(0))
    assert torch.equal(again[0].weight, found.module(torch.Generator().manual_seed(0))[0].weight)


def test_the_plan_is_that_of_the_module_itself(digits):
    x, y = digits
    found = rf.design(64, 10, parameters=20_000, activation="tanh", data=(x, y.argmax(1)))
    direct = rf.tune(found.module(), x, y.argmax(1))
    assert found.scaling == direct.scaling
    assert [entry.sgd for entry in found.plan.parameters] == [entry.sgd for entry in direct.parameters]
    assert rf.design(64, 10, 20_000, "tanh", data=(x, y.argmax(1)), scaling=0.25).scaling == 0.25


def test_the_activation_is_the_one_of_the_rule():
    found = rf.design(16, 2, parameters=3_000)
    smooth = [name for name in ("tanh", "gelu", "gelu_tanh", "silu", "mish") if rf.critical(name).nu is not None]
    assert found.activation.name == min(smooth, key=lambda name: rf.critical(name).nu)
    assert found.activation.name in found.why
    assert "given" in rf.design(16, 2, parameters=3_000, activation="relu").why


@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        ("tanh", nn.Tanh),
        ("leaky_relu:0.2", nn.LeakyReLU),
        ("elu:0.5", nn.ELU),
        ("gelu_tanh", nn.GELU),
        (nn.GELU(), nn.GELU),
        ("erf", None),
        ("monomial:1", nn.Identity),
        (lambda z: torch.tanh(2 * z), None),
    ],
)
def test_modules_compute_their_activation(activation, kind):
    found = rf.design(8, 2, parameters=400, activation=activation)
    model = found.module()
    if kind is not None:
        assert type(model[1]) is kind
    z = torch.linspace(-3, 3, 31, dtype=torch.float64)
    assert torch.allclose(model[1](z), found.activation(z), atol=1e-12)
    assert model(torch.zeros(3, 8)).shape == (3, 2)
    assert rf.trace(model).activations[0](z) == pytest.approx(found.activation(z))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, z):
        return torch.tanh(self.scale * z)


def test_a_module_of_ones_own_is_copied():
    given = Own()
    model = rf.design(8, 2, parameters=400, activation=given).module()
    assert type(model[1]) is Own
    assert model[1] is not given


def test_tables_and_files(tmp_path):
    found = rf.design(64, 10, parameters=100_000, activation="tanh")
    rows = found.table("dict")
    assert [row["hidden"] for row in rows if row["chosen"]] == [found.shape.hidden]
    assert len(rows) > 5
    assert all(row["parameters"] <= 100_000 for row in rows)
    assert sorted(row["fluctuation"] for row in rows) == [row["fluctuation"] for row in rows]
    assert rows[found.table("dict").index(next(row for row in rows if row["chosen"]))]["fluctuation"] == pytest.approx(
        found.fluctuation, rel=0.05
    )
    assert "->" in found.table()
    assert "<table" in found._repr_html_()
    assert found.table("markdown").startswith("|")
    found.save(tmp_path / "design.json")
    again = rf.load(tmp_path / "design.json")
    assert isinstance(again, rf.Design)
    assert again.to_json() == found.to_json()
    assert again.module(torch.Generator().manual_seed(1))[0].weight.equal(
        found.module(torch.Generator().manual_seed(1))[0].weight
    )
    with pytest.raises(ValueError, match="format"):
        found.table("pdf")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"parameters": 84}, ValueError, "85 or more"),
        ({"parameters": 0}, ValueError, "parameters"),
        ({"parameters": 1e5}, TypeError, "parameters"),
        ({"n_in": 0}, ValueError, "n_in"),
        ({"n_out": -1}, ValueError, "n_out"),
        ({"activation": "sigmoid"}, ValueError, "sigmoid"),
        ({"activation": "nope"}, ValueError, "nope"),
        ({"data": torch.zeros(5, 3)}, ValueError, "data"),
        ({"loss": "hinge"}, ValueError, "loss"),
        ({"scaling": 2.0}, ValueError, "scaling"),
    ],
)
def test_arguments(settings, error, message):
    with pytest.raises(error, match=message):
        rf.design(**{"n_in": 64, "n_out": 10, "parameters": 10_000, "activation": "relu", **settings})
