"""What is measured on one given module, on the user's data: nothing of the module changes."""

from repflow.empirical.measure import measure
from repflow.empirical.result import Measurement, ModuleMeasure, TensorMeasure

__all__ = ["Measurement", "ModuleMeasure", "TensorMeasure", "measure"]
