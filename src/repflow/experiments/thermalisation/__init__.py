"""Simple laws make states that look random to every local observable."""

from repflow.experiments.thermalisation.experiment import thermalisation

__all__ = ["thermalisation"]
