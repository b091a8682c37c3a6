"""The independent reference, and covariances that have been hard somewhere."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest


def _load():
    path = Path(__file__).with_name("reference.py")
    spec = importlib.util.spec_from_file_location("repflow_test_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_REFERENCE = _load()


@pytest.fixture(scope="session")
def reference():
    """``reference.py`` beside this file: expectations without repflow."""
    return _REFERENCE


def _correlated(seed, diagonal, mix):
    """Four variables that share one direction to the degree ``mix``, variances as given."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((4, 6))
    x /= np.linalg.norm(x, axis=1)[:, None]
    common = generator.standard_normal(6)
    x = math.sqrt(1 - mix) * x + math.sqrt(mix) * common / np.linalg.norm(common)
    x *= np.sqrt(diagonal)[:, None] / np.linalg.norm(x, axis=1)[:, None]
    return x @ x.T


def _quadruples():
    """Covariances of four variables by name."""
    cases = {
        "isotropic": np.full((4, 4), 0.3) + 0.7 * np.eye(4),
        "small": 0.05 * (np.full((4, 4), 0.5) + 0.5 * np.eye(4)),
        "large, uncorrelated": 20 * np.eye(4),
        "large": _correlated(1, [20] * 4, 0.5),
        "unequal": _correlated(2, [20, 0.05, 5, 0.3], 0.4),
        "unequal, correlated": _correlated(3, [20, 0.05, 5, 1], 0.9),
        "large, correlated": _correlated(4, [20, 15, 10, 20], 0.95),
        "0.99": _correlated(5, [3.5] * 4, 0.98),
        "0.999": _correlated(6, [20, 19, 18, 3], 0.999),
        "0.999999": _correlated(7, [2, 3, 4, 5], 1 - 1e-6),
    }
    signs = np.diag([1.0, -1.0, 1.0, -1.0])
    cases["negative"] = signs @ _correlated(8, [20, 3, 7, 1], 0.97) @ signs
    x = np.random.default_rng(9).standard_normal((4, 6))

    def changed(rows):
        y = x.copy()
        for target, values in rows.items():
            y[target] = values
        return y @ y.T / 2

    cases["repeated"] = changed({1: x[0]})
    cases["anti-parallel"] = changed({1: -0.5 * x[0]})
    cases["two repeated"] = changed({1: x[0], 3: x[2]})
    cases["nearly repeated"] = changed({1: x[0] + 1e-7 * x[1]})
    cases["repeated to 1e-3"] = changed({1: x[0] + 1e-3 * x[1]})
    cases["three repeated"] = changed({1: x[0], 2: x[0]})
    cases["one zero"] = changed({2: 0.0})
    cases["all collinear"] = 2 * x[:, :1] @ x[:, :1].T
    cases["plane"] = 3 * x[:, :2] @ x[:, :2].T
    return cases


_CASES = _quadruples()


@pytest.fixture(params=list(_CASES))
def covariance(request):
    """A covariance of four variables, each in turn."""
    return _CASES[request.param]


@pytest.fixture(scope="session")
def covariances():
    """All of them by name."""
    return _CASES


@pytest.fixture(scope="session")
def correlated():
    """Maker of a covariance: ``correlated(seed, variances, mix)``."""
    return _correlated
