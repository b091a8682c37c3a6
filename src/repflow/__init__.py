"""Effective theory of deep neural networks: finite-width theory, ensembles, and their comparison.

>>> import repflow as rf
>>> net = rf.mlp([64, 128, 128, 10], activation="tanh", C_W=1.0, C_b=0.0)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from repflow import theories
    from repflow.activation import Activation, activation_names, as_activation
    from repflow.build import mlp
    from repflow.comparison import Comparison, compare, which_order
    from repflow.criticality import Critical, Relevance, critical, relevance
    from repflow.data import Dataset, load_data
    from repflow.empirical import EmpiricalNTK, empirical_ntk
    from repflow.ensemble import Ensemble, sample
    from repflow.exact import gram_density
    from repflow.graph import Graph, GraphFlow, trace
    from repflow.network import Layer, LayerMaps, Network, NodeMaps
    from repflow.recursion import Flow, FlowLayer, KernelFluctuation, flow, kernel_fluctuation, vertex_at
    from repflow.reporting import Report, report
    from repflow.results import load
    from repflow.training import RepresentationLearning, representation_learning
    from repflow.tuning import AspectRatio, CoordinateCheck, Design, Plan, coordinate_check, design, diagnose, tune

__all__ = [
    "Activation",
    "AspectRatio",
    "Comparison",
    "CoordinateCheck",
    "Critical",
    "Dataset",
    "Design",
    "EmpiricalNTK",
    "Ensemble",
    "Flow",
    "FlowLayer",
    "Graph",
    "GraphFlow",
    "KernelFluctuation",
    "Layer",
    "LayerMaps",
    "Network",
    "NodeMaps",
    "Plan",
    "Relevance",
    "Report",
    "RepresentationLearning",
    "activation_names",
    "as_activation",
    "compare",
    "coordinate_check",
    "critical",
    "design",
    "diagnose",
    "empirical_ntk",
    "flow",
    "gram_density",
    "kernel_fluctuation",
    "load",
    "load_data",
    "mlp",
    "relevance",
    "report",
    "representation_learning",
    "sample",
    "theories",
    "trace",
    "tune",
    "vertex_at",
    "which_order",
]

# Names are imported when first used: the command line answers --help without waiting for torch.
_HOMES = {
    "activation": ("Activation", "activation_names", "as_activation"),
    "build": ("mlp",),
    "comparison": ("Comparison", "compare", "which_order"),
    "criticality": ("Critical", "Relevance", "critical", "relevance"),
    "empirical": ("EmpiricalNTK", "empirical_ntk"),
    "data": ("Dataset", "load_data"),
    "ensemble": ("Ensemble", "sample"),
    "exact": ("gram_density",),
    "graph": ("Graph", "GraphFlow", "trace"),
    "network": ("Layer", "LayerMaps", "Network", "NodeMaps"),
    "recursion": ("Flow", "FlowLayer", "KernelFluctuation", "flow", "kernel_fluctuation", "vertex_at"),
    "reporting": ("Report", "report"),
    "results": ("load",),
    "training": ("RepresentationLearning", "representation_learning"),
    "tuning": ("AspectRatio", "CoordinateCheck", "Design", "Plan", "coordinate_check", "design", "diagnose", "tune"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "theories":
        return importlib.import_module("repflow.theories")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'repflow' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"repflow.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
