"""Criticality: susceptibilities, fixed points of the kernel, universality classes, couplings (PDLT chapter 5)."""

from repflow.criticality.aspect_ratio import optimal_aspect_ratio
from repflow.criticality.compromise import Compromise, best_compromise
from repflow.criticality.finite_width import Correction
from repflow.criticality.fixed_points import CorrelationLengths, FixedPoint, correlation_lengths, fixed_points
from repflow.criticality.flow_diagram import FlowDiagram, flow_diagram
from repflow.criticality.phase import PhaseDiagram, phase_diagram
from repflow.criticality.points import Approach, CriticalPoint, critical_points
from repflow.criticality.relevance import Relevance, Running, relevance
from repflow.criticality.result import Critical, critical
from repflow.criticality.susceptibility import chi_parallel, chi_perpendicular, correlation_length, kernel_map
from repflow.criticality.trajectory import Trajectory, typical_behaviour

__all__ = [
    "Approach",
    "Compromise",
    "Correction",
    "CorrelationLengths",
    "Critical",
    "CriticalPoint",
    "FixedPoint",
    "FlowDiagram",
    "PhaseDiagram",
    "Relevance",
    "Running",
    "Trajectory",
    "best_compromise",
    "chi_parallel",
    "chi_perpendicular",
    "correlation_length",
    "correlation_lengths",
    "critical",
    "critical_points",
    "fixed_points",
    "flow_diagram",
    "kernel_map",
    "optimal_aspect_ratio",
    "phase_diagram",
    "relevance",
    "typical_behaviour",
]
