"""What is measured on one given module, on the user's data: nothing of the module changes."""

from repflow.empirical.measure import measure
from repflow.empirical.ntk import empirical_ntk
from repflow.empirical.ntk_result import EmpiricalNTK
from repflow.empirical.result import Measurement, ModuleMeasure, TensorMeasure

__all__ = ["EmpiricalNTK", "Measurement", "ModuleMeasure", "TensorMeasure", "empirical_ntk", "measure"]
