"""Theory against a plain simulation of real networks, in NumPy alone, by the two-width rule of agreement.

With c_n = n (statistic) or n (mean - K) at widths n1 < n2: lead = (n2 c2 - n1 c1)/(n2 - n1), s its standard error,
t = 0.35 |c2 - c1| + 0.002 max|lead|; theory agrees where |theory - lead| <= 5 s + t for every component.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from repflow.recursion import flow

FUNCTIONS = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: 0.5 * z * (1 + erf(z / np.sqrt(2))),
}
X = np.array([[1.0, -0.4, 0.8], [0.2, 1.1, -0.9]])


def _simulate(name, width, depth, C_W, C_b, networks, seed, batches=20):
    """Mean and covariance of G^(L) by batches: arrays (batches, 2, 2) and (batches, 2, 2, 2, 2)."""
    generator = np.random.default_rng(seed)
    f = FUNCTIONS[name]
    grams = np.empty((networks, 2, 2))
    chunk = 20_000
    for start in range(0, networks, chunk):
        n = min(chunk, networks - start)
        signals = np.broadcast_to(X, (n, 2, 3))
        for _ in range(depth - 1):
            fan_in = signals.shape[2]
            weights = generator.standard_normal((n, fan_in, width)) * np.sqrt(C_W / fan_in)
            biases = generator.standard_normal((n, 1, width)) * np.sqrt(C_b)
            signals = f(signals @ weights + biases)
        grams[start : start + n] = C_b + C_W * signals @ signals.transpose(0, 2, 1) / width
    parts = grams.reshape(batches, -1, 2, 2)
    centred = grams - grams.mean(0)
    products = np.einsum("nab,ncd->nabcd", centred, centred).reshape(batches, -1, 2, 2, 2, 2)
    return parts.mean(1), products.mean(1)


def _check(network, name, depth, C_W, C_b, widths, networks):
    theory = None
    measured = []
    for number, width in enumerate(widths):
        theory = flow(network((3, *[width] * (depth - 1), 1), name, C_W, C_b), X)[-1]
        mean, covariance = _simulate(name, width, depth, C_W, C_b, networks, 100 + number)
        assert theory.relative_fluctuation <= 0.5
        measured.append((width * (mean - theory.kernel.numpy()), width * covariance))
    n1, n2 = widths
    for which, expected in ((0, theory.kernel_correction.numpy()), (1, theory.vertex.numpy())):
        c1, c2 = measured[0][which], measured[1][which]
        lead = (n2 * c2.mean(0) - n1 * c1.mean(0)) / (n2 - n1)
        errors = [c.std(0, ddof=1) / np.sqrt(len(c)) for c in (c1, c2)]
        s = np.hypot(n2 * errors[1], n1 * errors[0]) / (n2 - n1)
        t = 0.35 * np.abs(c2.mean(0) - c1.mean(0)) + 0.002 * np.abs(lead).max()
        assert (np.abs(expected - lead) <= 5 * s + t).all()
        if which:  # the rule has teeth: the statistical part is small beside the signal
            assert (5 * s).max() < 0.2 * np.abs(lead).max()


def test_tanh(network):
    _check(network, "tanh", 3, 1.2, 0.1, (8, 16), 40_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "depth", "C_W", "C_b"), [("gelu", 4, 1.98, 0.17), ("relu", 4, 2.0, 0.0), ("tanh", 5, 1.0, 0.0)]
)
def test_deeper(network, name, depth, C_W, C_b):
    _check(network, name, depth, C_W, C_b, (32, 64), 100_000)


def test_unequal_widths(network):
    """One width pair is scaled as a whole: (6, 12) and (12, 24); the fan-in of the last layer is what multiplies."""
    f = np.tanh
    measured, theory = [], None
    for scale in (1, 2):
        w1, w2 = 6 * scale, 12 * scale
        generator = np.random.default_rng(scale)
        n = 60_000
        s = f(X @ (generator.standard_normal((n, 3, w1)) * np.sqrt(1.4 / 3)))
        s = f(s @ (generator.standard_normal((n, w1, w2)) * np.sqrt(1.4 / w1)))
        g = 1.4 * s @ s.transpose(0, 2, 1) / w2
        theory = flow(network((3, w1, w2, 1), "tanh", 1.4), X)[-1]
        centred = (g - g.mean(0)).reshape(20, -1, 2, 2)
        measured.append((w2, w2 * np.einsum("knab,kncd->kabcd", centred, centred) / (n / 20)))
    (n1, c1), (n2, c2) = measured
    lead = (n2 * c2.mean(0) - n1 * c1.mean(0)) / (n2 - n1)
    s = np.hypot(n2 * c2.std(0), n1 * c1.std(0)) / (n2 - n1) / np.sqrt(19)
    t = 0.35 * np.abs(c2.mean(0) - c1.mean(0)) + 0.002 * np.abs(lead).max()
    assert (np.abs(theory.vertex.numpy() - lead) <= 5 * s + t).all()
