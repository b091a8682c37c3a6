"""``report``: theory, ensemble and their comparison on one network and data set, judged for a practitioner."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repflow.criticality import critical_points
from repflow.criticality.compromise import best_compromise
from repflow.criticality.points import CriticalPoint
from repflow.network import Network
from repflow.reporting.advice import advise
from repflow.reporting.agreement import agreement
from repflow.reporting.criticality import assess_criticality, susceptibilities
from repflow.reporting.evidence import (
    Evidence,
    add_agreement,
    add_ensemble,
    add_histogram,
    add_phase,
    add_theory,
    coupling_counts,
    diagonal,
    to_numpy,
    typical_activation,
)
from repflow.reporting.fluctuations import assess_fluctuations
from repflow.reporting.learning import assess_learning
from repflow.reporting.orders import assess_orders
from repflow.reporting.provenance import Timings, provenance
from repflow.reporting.result import Report
from repflow.results import Result

if TYPE_CHECKING:
    from repflow.ensemble import Ensemble


def report(
    network: Network,
    x: Any,
    networks: int = 20_000,
    seed: int = 0,
    method: str = "gram",
    progress: bool | None = None,
    data: str | None = None,
    configuration: Mapping[str, Any] | None = None,
    y: Any = None,
) -> Report:
    """Judge a network on inputs: is it critical for its depth, how much do initialisations differ, what to change.

    Parameters
    ----------
    network
        The network, with the couplings it is initialised with.
    x
        Inputs, shape (N, n_0), NumPy or torch. The four-point vertex is computed in full, so N is a few.
    networks
        Networks in the ensemble that theory is compared with, 2 or more.
    seed
        Its seed.
    method
        ``"gram"`` (the exact chain of Gram matrices) or ``"weights"`` (real networks).
    progress
        Whether to show a progress bar on stderr; None: only on a terminal.
    data
        What the inputs are, in words, for the page.
    configuration
        Options to record in the provenance.
    y
        Class numbers (N,) or targets (N, n_L) of the inputs, for what training will do to the features; random balanced
        labels are assumed where there are none that fit the outputs.

    Returns
    -------
    Report
        ``.save(directory)`` writes ``report.html``, ``report.json`` and the labelled results; it shows itself in a
        notebook.

    Raises
    ------
    ValueError, TypeError
        As :func:`repflow.flow` and :func:`repflow.sample`.

    Examples
    --------
    >>> import repflow as rf
    >>> net = rf.mlp([8, 32, 32, 2], activation="tanh", C_W=1.0, C_b=0.0)
    >>> rf.report(net, np.eye(2, 8), networks=200).criticality.critical
    True
    """
    from repflow.comparison import compare
    from repflow.ensemble import sample
    from repflow.recursion import flow

    if not isinstance(network, Network):
        raise TypeError(f"network must be a repflow Network, got {type(network).__name__}; rf.mlp builds one")
    if isinstance(networks, bool) or not isinstance(networks, int | np.integer) or networks < 2:
        raise ValueError(f"networks must be a whole number of 2 or more, got {networks!r}: a spread is measured")
    timings = Timings()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        with timings.stage("theory"):
            theory = flow(network, x, order=1, progress=progress)
        with timings.stage("ensemble"):
            ensemble = sample(network, x, networks=networks, seed=seed, method=method, progress=progress)
        with timings.stage("comparison"):
            comparison = compare(theory, ensemble)
        with timings.stage("verdict"):
            inputs = to_numpy(theory.x)
            evidence = Evidence()
            kernel = np.stack([diagonal(to_numpy(layer.mean_kernel(order=0))) for layer in theory])
            chi = susceptibilities(network, kernel)
            add_theory(evidence, theory, chi)
            add_ensemble(evidence, ensemble)
            add_agreement(evidence, comparison)
            point, couplings = _critical_couplings(network)
            criticality = assess_criticality(network, kernel, chi, point)
            fluctuation = assess_fluctuations(
                evidence.arrays["fluctuation/theory"][-1],
                (evidence.arrays["fluctuation/ensemble"][-1], evidence.arrays["fluctuation/ensemble_error"][-1]),
                point.nu if point is not None and len({entry.name for entry in network.activations}) == 1 else None,
                network.aspect_ratio,
            )
            orders = assess_orders(network, inputs[fluctuation.input_index])
            _add_output(evidence, ensemble, fluctuation.input_index)
            advice = advise(network, inputs, evidence.arrays["fluctuation/theory"].max(axis=1), criticality)
            activation = None if couplings is None else add_phase(evidence, network, couplings)
        with timings.stage("representation learning"):
            learning = assess_learning(network, inputs, y)
    results: dict[str, Result] = {"flow": theory, "ensemble": ensemble, "comparison": comparison}
    return Report(
        network=network,
        data=data or f"{len(inputs)} inputs of {inputs.shape[1]} features",
        criticality=criticality,
        fluctuation=fluctuation,
        advice=advice,
        learning=learning,
        agreement=agreement(comparison),
        orders=orders,
        counts=coupling_counts(len(inputs), network.n_parameters),
        evidence=evidence,
        activation=activation,
        networks=ensemble.networks,
        interrupted=ensemble.interrupted,
        warnings=tuple(dict.fromkeys(" ".join(str(entry.message).split()) for entry in caught)),
        provenance=provenance({**(configuration or {}), "networks": networks, "seed": seed, "method": method}, timings),
        results=results,
    )


def _critical_couplings(network: Network) -> tuple[CriticalPoint | None, tuple[float, float] | None]:
    """The critical point of the typical activation, and the (C_W, C_b) to aim for: its own, or the best compromise."""
    activation = typical_activation(network)
    if activation is None:
        return None, None
    points = critical_points(activation)
    if points:
        return points[0], (points[0].C_W, points[0].C_b)
    best = best_compromise(activation)
    return None, None if best is None else (best.C_W, best.C_b)


def _add_output(evidence: Evidence, ensemble: Ensemble, a: int) -> None:
    found = ensemble[-1].histogram()
    counts = np.asarray(found.counts[a], dtype=np.float64)
    outside = float(np.asarray(found.outside[a], dtype=np.float64).sum())
    add_histogram(evidence, to_numpy(found.edges[a]), counts, float(counts.sum()) + outside, a)
