"""One layer as a step of the renormalisation group: its neurons integrated out, against the next layer's sample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.gram_chain import simulate

FloatArray = NDArray[np.float64]


def rg_step(width: int, hidden: int, networks: int, key: tuple[int, ...]) -> dict[str, Any]:
    """Integrate the neurons of one layer out of sampled tanh networks and compare with the next layer's sample.

    Given G the next layer has mean F(G), variance C2(G)/n and third cumulant C3(G)/n^2, F, C2 and C3 Gaussian
    expectations. Averaged over the sampled G of layer l, by the law of total cumulance, these are the first three
    cumulants of layer l + 1. Each is compared with the sample of layer l + 1, whose networks are the same, so that the
    difference has a small error.
    """
    from scipy.interpolate import CubicSpline
    from scipy.stats import chi2

    from repflow.criticality.susceptibility import moments
    from repflow.criticality.typical import higher_moments

    chains = simulate("tanh", 1.0, 0.0, 1.0, width, [hidden + 1, hidden + 2], networks, key, np.ones(hidden + 1))
    g, after = chains.gram
    K = np.asarray(np.geomspace(0.9 * float(g.min()), 1.1 * float(g.max()), 300), dtype=np.float64)
    at = moments_of(K, moments, higher_moments)
    F, C2, C3 = CubicSpline(np.log(K), at)(np.log(g)).T
    F, C2, C3 = F * g, C2 * g**2 / width, C3 * g**3 / width**2
    rest = after - F
    found: dict[str, Any] = {"width": width, "hidden_layers": hidden}
    scores = []
    centre = F - F.mean()
    predicted = (
        float(F.mean()),
        float(C2.mean() + (centre**2).mean()),
        float(C3.mean() + 3.0 * (centre * C2).mean() + (centre**3).mean()),
    )
    own = after - after.mean()
    sampled = (float(after.mean()), float((own**2).mean()), float((own**3).mean()))
    # What vanishes on average if the step is right: G' cumulants given G, and their products with functions of G.
    differences = (rest, rest**2 - C2 + 2.0 * rest * centre, own**3 - C3 - 3.0 * centre * C2 - centre**3)
    for name, difference, ours, theirs in zip(("mean", "variance", "third cumulant"), differences, predicted, sampled):
        error = float(difference.std(ddof=1)) / math.sqrt(networks)
        scores.append((theirs - ours) / error)
        found[name] = {"integrated": ours, "sampled": theirs, "stderr": error, "z": scores[-1]}
    found["p_value"] = float(chi2.sf(sum(score**2 for score in scores), len(scores)))
    return found


def moments_of(K: FloatArray, moments: Any, higher_moments: Any) -> FloatArray:
    """F/K, C2/K^2 and C3/K^3 of tanh at C_W = 1, shape (A, 3)."""
    from repflow.activation import as_activation

    sigma = as_activation("tanh")
    at = moments(sigma, K)
    sixth = np.array([higher_moments(sigma, float(value))[1] for value in K])
    C3 = sixth - 3.0 * at.fourth * at.square + 2.0 * at.square**3
    return np.column_stack([at.square / K, (at.fourth - at.square**2) / K**2, C3 / K**3])
