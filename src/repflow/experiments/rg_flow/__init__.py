"""Layers as steps of a renormalisation group."""

from repflow.experiments.rg_flow.experiment import rg_flow

__all__ = ["rg_flow"]
