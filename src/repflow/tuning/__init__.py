"""Tuning real models: initialisation, learning rates, depth to width."""

from repflow.tuning.plan import AspectRatio, Plan
from repflow.tuning.tune import tune

__all__ = ["AspectRatio", "Plan", "tune"]
