"""A chain, data that it can learn, and a plain training loop."""

import pytest
from tests.integration import setting


@pytest.fixture
def model():
    return setting.make()


@pytest.fixture
def x():
    return setting.data()[0]


@pytest.fixture
def y():
    return setting.data()[1]
