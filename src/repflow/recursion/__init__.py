"""The theory: recursions of kernels and vertices from layer to layer."""

from repflow.recursion.chosen import vertex_at
from repflow.recursion.flow import Flow, FlowLayer, flow
from repflow.recursion.fluctuation import KernelFluctuation, kernel_fluctuation

__all__ = ["Flow", "FlowLayer", "KernelFluctuation", "flow", "kernel_fluctuation", "vertex_at"]
