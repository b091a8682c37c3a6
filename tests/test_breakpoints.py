"""Kinks found from values alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from repflow.activation import activation_names, as_activation
from repflow.breakpoints import find_breakpoints

PARAMETERS = {"leaky_relu": ["leaky_relu", "leaky_relu:0.2", "leaky_relu:-0.5"], "elu": ["elu", "elu:0.5", "elu:2"]}
PARAMETERS["monomial"] = ["monomial:1", "monomial:2", "monomial:3", "monomial:6"]
REGISTERED = [spec for name in activation_names() for spec in PARAMETERS.get(name, [name])]


@pytest.mark.parametrize("name", REGISTERED)
def test_those_of_registered_activations(name):
    activation = as_activation(name)
    assert find_breakpoints(lambda z: activation(torch.as_tensor(z)).numpy()) == activation.breakpoints


@settings(max_examples=25)
@given(
    point=st.floats(-30, 30).map(lambda value: round(value, 4)),
    size=st.floats(0.05, 20),
    sign=st.sampled_from([-1, 1]),
    order=st.integers(0, 2),
)
def test_one_jump_of_any_derivative(point, size, sign, order):
    def values(z):
        right = np.maximum(z - point, 0.0) ** order / math.factorial(order) if order else (z > point).astype(float)
        return np.tanh(z) + sign * size * right

    ((found, found_order),) = find_breakpoints(values)
    assert found_order == order
    assert abs(found - point) < 2e-4


def test_short_decimals_are_found_exactly():
    assert find_breakpoints(lambda z: np.abs(z - 0.1) + np.maximum(z + 2.5, 0)) == ((-2.5, 1), (0.1, 1))


def test_other_points_are_found_to_the_resolution():
    ((point, order),) = find_breakpoints(lambda z: np.abs(z - math.pi))
    assert order == 1
    assert abs(point - math.pi) < 1e-7


def test_several_kinds_at_once():
    def values(z):
        return np.where(z > 2, 1.0, 0.0) + np.abs(z + 1) + np.maximum(z, 0.0) ** 2

    assert find_breakpoints(values) == ((-1.0, 1), (0.0, 2), (2.0, 0))


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 30.0])
@pytest.mark.parametrize("function", [np.tanh, np.sin, lambda z: 1 / (1 + z * z), lambda z: np.exp(-z * z)])
def test_steep_is_not_kinked(scale, function):
    assert find_breakpoints(lambda z: function(scale * z)) == ()


def test_a_staircase_has_a_jump_at_every_step():
    found = find_breakpoints(lambda z: np.floor(4 * z.clip(-10, 10)))
    assert found == tuple((index / 4, 0) for index in range(-39, 41))
