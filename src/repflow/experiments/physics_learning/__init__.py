"""A theory is learned from as many experiments as it has couplings."""

from repflow.experiments.physics_learning.experiment import physics_learning

__all__ = ["physics_learning"]
