"""One small report, made once."""

import pytest

import repflow as rf
from repflow.data import load_data


@pytest.fixture(scope="session")
def small_report():
    x = load_data("digits", inputs=3).x
    network = rf.mlp([64, 24, 24, 24, 10], activation="tanh", init="critical", x=x)
    return rf.report(network, x, networks=2_000, seed=1, progress=False, data="three digits")
