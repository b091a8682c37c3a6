"""Criticality: susceptibilities, fixed points of the kernel, universality classes, couplings (PDLT chapter 5)."""

from repflow.criticality.aspect_ratio import optimal_aspect_ratio
from repflow.criticality.compromise import Compromise, best_compromise
from repflow.criticality.double_scaling import DoubleScaling, double_scaling
from repflow.criticality.finite_width import Correction
from repflow.criticality.fixed_points import CorrelationLengths, FixedPoint, correlation_lengths, fixed_points
from repflow.criticality.flow_diagram import FlowDiagram, flow_diagram
from repflow.criticality.homogeneous import LayerFactor, ProductLaw, layer_factor
from repflow.criticality.phase import PhaseDiagram, phase_diagram
from repflow.criticality.points import Approach, CriticalPoint, critical_points
from repflow.criticality.relevance import Relevance, Running, relevance
from repflow.criticality.result import Critical, critical
from repflow.criticality.susceptibility import chi_parallel, chi_perpendicular, correlation_length, kernel_map
from repflow.criticality.trajectory import Trajectory, typical_behaviour
from repflow.criticality.typical import Typical, typical_network

__all__ = [
    "Approach",
    "Compromise",
    "Correction",
    "CorrelationLengths",
    "Critical",
    "CriticalPoint",
    "DoubleScaling",
    "FixedPoint",
    "FlowDiagram",
    "LayerFactor",
    "PhaseDiagram",
    "ProductLaw",
    "Relevance",
    "Running",
    "Trajectory",
    "Typical",
    "best_compromise",
    "chi_parallel",
    "chi_perpendicular",
    "correlation_length",
    "correlation_lengths",
    "critical",
    "critical_points",
    "double_scaling",
    "fixed_points",
    "flow_diagram",
    "kernel_map",
    "layer_factor",
    "optimal_aspect_ratio",
    "phase_diagram",
    "relevance",
    "typical_behaviour",
    "typical_network",
]
