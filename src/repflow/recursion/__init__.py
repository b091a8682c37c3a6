"""The theory: recursions of kernels and vertices from layer to layer."""

from repflow.recursion.chosen import vertex_at
from repflow.recursion.flow import flow
from repflow.recursion.fluctuation import KernelFluctuation, kernel_fluctuation
from repflow.recursion.layer import FlowLayer
from repflow.recursion.result import Flow

__all__ = ["Flow", "FlowLayer", "KernelFluctuation", "flow", "kernel_fluctuation", "vertex_at"]
