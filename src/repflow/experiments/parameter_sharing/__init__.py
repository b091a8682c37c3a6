"""Locality and translation invariance in spins, in networks, and in their weights."""

from repflow.experiments.parameter_sharing.experiment import parameter_sharing

__all__ = ["parameter_sharing"]
