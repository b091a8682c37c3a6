"""The forms of x, its rows, and what counts as the output."""

import dataclasses

import numpy as np
import pytest
import torch

from repflow.empirical.call import as_call, output_of


def test_tensors_arrays_tuples_and_keywords():
    x, ids = torch.randn(5, 3), torch.arange(5)
    assert as_call(x).args[0] is not None
    assert as_call(np.ones((4, 2))).rows == 4
    call = as_call((x, None, ids))
    assert (call.rows, call.args[1]) == (5, None)
    call = as_call({"ids": ids, "mask": None, "scale": 2.0})
    assert call.kwargs["scale"] == 2.0
    assert call.kwargs["mask"] is None
    assert call.rows == 5


def test_rows_are_cut_from_what_has_them():
    x, table = torch.arange(10.0)[:, None], torch.arange(4)
    call, index = as_call((x, table)).evenly(3)
    assert index.tolist() == [0, 4, 9]
    assert call.args[0].flatten().tolist() == [0.0, 4.0, 9.0]
    assert torch.equal(call.args[1], table)
    assert call.rows == 3


def test_casting_leaves_integers_alone():
    call = as_call((torch.ones(2, 2), torch.arange(2))).cast(torch.float64)
    assert call.args[0].dtype == torch.float64
    assert call.args[1].dtype == torch.int64


def test_the_output_among_what_is_returned():
    @dataclasses.dataclass
    class Answer:
        loss: object = None
        hidden: object = None
        logits: object = None

    loss, logits, hidden = torch.tensor(0.5), torch.ones(2, 3), torch.zeros(2, 4)
    assert output_of(logits) is logits
    assert output_of((torch.arange(3), hidden, logits)) is hidden
    assert output_of({"loss": loss, "hidden": hidden, "logits": logits}) is logits
    assert output_of(Answer(loss, hidden, logits)) is logits
    assert output_of(Answer(loss, hidden)) is hidden
    assert output_of({"deep": [None, {"x": hidden}]}) is hidden
    assert output_of({"loss": loss}) is loss
    with pytest.raises(TypeError, match="model must return a floating tensor.*got a tuple of int, Tensor"):
        output_of((1, torch.arange(3)))


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        ("digits", TypeError, "x must be a tensor, an array, a tuple"),
        (torch.zeros(0, 3), ValueError, "x must be a batch with at least one row"),
        ((None, 3), ValueError, "x must hold a tensor with at least one row, got a tuple of NoneType, int"),
        ({}, ValueError, "got a dict of nothing"),
        ((torch.ones(2), torch.full((2,), float("nan"))), ValueError, "x must be finite"),
    ],
)
def test_other_forms(x, kind, message):
    with pytest.raises(kind, match=message):
        as_call(x)
