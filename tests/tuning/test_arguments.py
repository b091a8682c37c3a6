"""The forms of x and y that ``tune`` takes, and what it says about others."""

import numpy as np
import pytest
import torch
from torch import nn

import repflow as rf


def text(plan):
    return plan.to_json()


def test_classes_targets_and_nothing(model, x):
    classes = torch.arange(20) % 3
    hot = nn.functional.one_hot(classes, 3)
    by_class = text(rf.tune(model, x, classes))
    for y in (classes.numpy(), classes.int(), classes.tolist(), hot, hot.double(), hot.numpy().astype(np.float32)):
        assert text(rf.tune(model, x, y)) == by_class
    assert text(rf.tune(model, x)) == text(rf.tune(model, x, None)) != by_class
    assert text(rf.tune(model, x, 2.0 * hot)) != by_class


def test_one_output(x):
    model = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 1))
    values = torch.linspace(-2, 2, 20)
    assert text(rf.tune(model, x, values)) == text(rf.tune(model, x, values[:, None]))
    assert text(rf.tune(model, x, (values > 0).long())) == text(rf.tune(model, x, (values > 0).double()))


def test_without_targets_random_balanced_labels_are_assumed(model, x):
    """y_b . y_c = 1/n_L on average over random labels: the kappa of random labels scatters around it."""
    rng = torch.Generator().manual_seed(0)
    kappas = [
        rf.tune(model, x, torch.randint(3, (20,), generator=rng), scaling=0.0) for _ in range(20)
    ]  # fmt: skip
    rates = torch.tensor([plan.parameters[0].gradient ** 2 for plan in kappas])
    assert float(rates.mean()) == pytest.approx(rf.tune(model, x, scaling=0.0).parameters[0].gradient ** 2, rel=0.1)


def test_inputs_of_more_axes_numpy_tuples_and_dictionaries(model, x):
    expected = text(rf.tune(model, x))
    for form in (x.reshape(20, 2, 3), x.numpy(), x.tolist(), (x,), {"input": x, "mask": None}, x.double()):
        assert text(rf.tune(model, form)) == expected
    assert text(rf.tune(model, x.reshape(4, 5, 6))) == expected
    classes = torch.arange(20) % 3
    assert text(rf.tune(model, x.reshape(4, 5, 6), classes.reshape(4, 5))) == text(rf.tune(model, x, classes))


def test_a_single_row_and_repeated_rows(model, x):
    for rows in (x[:1], x[:1].repeat(5, 1), torch.cat([x, torch.zeros(1, 6)])):
        plan = rf.tune(model, rows)
        assert all(0 <= entry.sgd < float("inf") for entry in plan.parameters)
        assert any(entry.sgd > 0 for entry in plan.parameters)


def test_many_rows_cost_no_more_than_64(model):
    x = torch.randn(5000, 6, generator=torch.Generator().manual_seed(0))
    rows = torch.linspace(0, 4999, 64, dtype=torch.float64).round().long()
    y = torch.arange(5000) % 3
    assert text(rf.tune(model, x, y)) == text(rf.tune(model, x[rows], y[rows]))


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"x": torch.zeros(5, 7)}, ValueError, r"x must have 6 values a row.*\(5, 7\)"),
        ({"x": torch.zeros(6)}, ValueError, r"x must be a batch of shape \(N, ...\), got shape \(6,\)"),
        ({"x": torch.zeros(0, 6)}, ValueError, "x must have at least one row"),
        ({"x": torch.zeros(4, 6)}, ValueError, "x is zero everywhere"),
        ({"x": torch.full((4, 6), float("inf"))}, ValueError, "x must be finite"),
        ({"x": "digits"}, TypeError, "x must be a tensor or array of numbers, got str"),
        ({"x": None}, TypeError, "x must be a tensor or array of numbers, got NoneType"),
        ({"x": (torch.ones(4, 6), torch.ones(4, 6))}, ValueError, "x must hold one tensor"),
        ({"y": torch.arange(20)}, ValueError, "y must hold class numbers from 0 to 2, got 0 to 19"),
        ({"y": -torch.ones(20, dtype=torch.long)}, ValueError, "got -1 to -1"),
        ({"y": torch.zeros(19, dtype=torch.long)}, ValueError, "y must have a row for each of the 20 rows of x, got 19"),
        ({"y": torch.zeros(21, 3)}, ValueError, "y must have a row for each of the 20 rows of x, got 21"),
        ({"y": torch.zeros(20)}, ValueError, r"y must be class numbers \(N,\) or targets \(N, 3\), got shape \(20,\)"),
        ({"y": torch.zeros(20, 4)}, ValueError, r"got shape \(20, 4\)"),
        ({"y": torch.full((20, 3), float("nan"))}, ValueError, "y must be finite"),
        ({"y": ["cat"] * 20}, TypeError, "y must hold class numbers or targets, got list"),
        ({"loss": "hinge"}, ValueError, "loss must be one of mse, mse_mean, cross_entropy, got 'hinge'"),
        ({"loss": None}, ValueError, "loss must be one of"),
        ({"scaling": 1.5}, ValueError, r"scaling must lie in \[0, 1\], or be None, got 1.5"),
        ({"scaling": "mup"}, ValueError, "scaling must lie in"),
        ({"scaling": float("nan")}, ValueError, "scaling must lie in"),
        ({"model": nn.Tanh}, TypeError, "module must be an nn.Module, got type"),
        ({"model": nn.Sequential(nn.Linear(6, 3), nn.LayerNorm(4))}, ValueError, "model fails on x in '1': "),
    ],
)  # fmt: skip
def test_bad_arguments(model, x, given, kind, message):
    with pytest.raises(kind, match=message) as error:
        rf.tune(**{"model": model, "x": x, **given})
    assert "\n" not in str(error.value)


def test_cross_entropy_needs_two_outputs(x):
    with pytest.raises(ValueError, match="needs two outputs or more, the model has 1"):
        rf.tune(nn.Linear(6, 1), x, loss="cross_entropy")


def test_nothing_to_train(model, x):
    with pytest.raises(ValueError, match="model has no trainable parameter"):
        rf.tune(model.requires_grad_(False), x)
