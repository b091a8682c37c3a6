"""The errors at outputs of zero, in the outputs' shape."""

import pytest
import torch

from repflow.tuning.vectors import output_vectors

ROWS = torch.arange(6)


def errors(output, y, loss="mse", total=6):
    return output_vectors(output, y, ROWS, total, loss)


def test_class_numbers_and_values():
    output, labels = torch.zeros(6, 3), torch.arange(6) % 3
    hot = torch.nn.functional.one_hot(labels, 3).double()
    found = errors(output, labels)
    assert (found.axis, found.count, found.places) == (-1, 3, 6.0)
    assert torch.equal(found.pull(output, torch.Generator()), -hot / 6)
    assert torch.equal(errors(output, hot).pull(output, torch.Generator()), -hot / 6)
    assert found.size == pytest.approx((1 / 3) ** 0.5)
    crossed = errors(output, labels, "cross_entropy").pull(output, torch.Generator())
    assert torch.allclose(crossed, (1 / 3 - hot) / 6)


def test_cross_entropy_is_its_gradient_at_zero():
    logits, labels = torch.zeros(6, 4, 5, dtype=torch.float64, requires_grad=True), torch.randint(4, (6, 5))
    torch.nn.functional.cross_entropy(logits, labels).backward()
    found = errors(logits, labels, "cross_entropy")
    assert (found.axis, found.count, found.places) == (1, 4, 30.0)
    assert torch.allclose(found.pull(logits, torch.Generator()), logits.grad)


def test_positions_with_classes_last_and_ignored_labels():
    labels = torch.randint(5, (6, 4))
    labels[0] = -100
    logits = torch.zeros(6, 4, 5, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
    found = errors(logits, labels, "cross_entropy")
    assert found.places == 20.0
    assert torch.allclose(found.pull(logits, torch.Generator()), logits.grad)


def test_one_output_and_rows_that_are_chosen():
    found = output_vectors(torch.zeros(2), torch.linspace(0, 5, 6), torch.tensor([1, 4]), 6, "mse")
    assert torch.allclose(found.pull(torch.zeros(2), torch.Generator()), -torch.tensor([1.0, 4.0]).double() / 2)
    assert found.count == 1


def test_random_balanced_labels():
    output = torch.zeros(6, 3)
    found = errors(output, None)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([found.pull(output, generator) * 6 for _ in range(2000)])
    products = torch.einsum("dai,dbi->ab", draws, draws) / 2000
    expected = torch.full((6, 6), 0.2, dtype=torch.float64)  # each class twice: balanced, (2 - 1)/(6 - 1)
    expected.fill_diagonal_(1.0)
    assert torch.allclose(products, expected, atol=0.05)
    assert found.size == pytest.approx((1 / 3) ** 0.5)
    single = output_vectors(torch.zeros(6), None, ROWS, 6, "mse")
    assert torch.equal(single.pull(torch.zeros(6), generator).abs() * 6, torch.ones(6).double())


@pytest.mark.parametrize(
    ("output", "y", "message"),
    [
        (torch.zeros(5, 3), None, r"one row of outputs a row of x, got shape \(5, 3\) for 6 rows"),
        (torch.full((6, 3), float("nan")), None, "output on x has a NaN"),
        (torch.zeros(6, 3), torch.arange(6), "class numbers from 0 to 2, got 0 to 5"),
        (torch.zeros(6, 3), torch.zeros(6, 2), r"targets of shape \(6, 3\), as the model's output, got \(6, 2\)"),
        (torch.zeros(6, 3), torch.full((6, 3), float("inf")), "y must be finite"),
        (torch.zeros(6, 3), torch.tensor(1), "y must have a row for each of the 6 rows of x, got 0"),
    ],
)
def test_what_does_not_fit(output, y, message):
    with pytest.raises(ValueError, match=message):
        errors(output, y)
