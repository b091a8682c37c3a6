"""Tuning real models: initialisation, learning rates, depth to width."""

from repflow.tuning.aspect_ratio import AspectRatio
from repflow.tuning.coordinate.check import coordinate_check
from repflow.tuning.coordinate.result import CoordinateCheck
from repflow.tuning.design import Design, design
from repflow.tuning.diagnosis import diagnose
from repflow.tuning.plan import Plan
from repflow.tuning.tune import tune

__all__ = ["AspectRatio", "CoordinateCheck", "Design", "Plan", "coordinate_check", "design", "diagnose", "tune"]
