"""Depth to width at criticality."""

from __future__ import annotations


def optimal_aspect_ratio(nu: float, outputs: int) -> float:
    """The information-theoretic optimum of L/n, r* = 4/((20 + 3 n_L) nu) (PDLT appendix A).

    Parameters
    ----------
    nu
        Growth of the fluctuations a layer, of :func:`repflow.critical`.
    outputs
        n_L.
    """
    return 4.0 / ((20 + 3 * outputs) * nu)
